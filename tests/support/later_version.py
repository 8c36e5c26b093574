"""A worker of a later record version: `RECORD_VERSION=3 python -m support.later_version worker --config FILE`.

The same command line, in whose records one more field is always written, as the next version would have it. What it
replaces it replaces before anything else reads it, so that codec, agents and data plane run as they are.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from bisupervised.schemas import records

VERSION = int(os.environ["RECORD_VERSION"])
#: the value of the field that is new
ADDED = f"since version {VERSION}"


def _added() -> str:
    return ADDED


def _with_more(kind: Any) -> Any:
    """The struct with the field `added`, under the same name."""
    added = ("added", str, msgspec.field(default_factory=_added))
    return msgspec.defstruct(
        kind.__name__, [added], bases=(kind,), frozen=True, omit_defaults=True, module=kind.__module__
    )


records.VERSION = VERSION
for _name in ("Verdict", "Facts", "Result"):  # Verdict first: the annotations of the others name it
    setattr(records, _name, _with_more(getattr(records, _name)))

if __name__ == "__main__":
    from bisupervised.streams.cli import main

    main()
