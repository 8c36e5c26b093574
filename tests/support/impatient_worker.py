"""A worker that sees within a second what others see within minutes: `python -m support.impatient_worker worker …`.

Added partitions are noticed within a second, not five minutes; a committed offset that stays missing is waited for two
seconds, not two minutes.
"""

from __future__ import annotations

import sys
from typing import Any

from bisupervised.streams.bulk import owner, reading
from bisupervised.streams.cli import run
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.plane.taking_over import TakingOver

_METADATA_MS = 1000
_MISSING_S = 2.0


def _hasten() -> None:
    options, begin = Connection.options, TakingOver.begin

    def hasty(self: Connection) -> dict[str, Any]:
        return options(self) | {"metadata_max_age_ms": _METADATA_MS}

    async def impatient(self: TakingOver) -> Any:
        self.missing_s = _MISSING_S
        return await begin(self)

    Connection.options = hasty  # type: ignore[method-assign]  # it has no setting
    owner._MISSING_S = reading.DOUBTED_S = _MISSING_S  # type: ignore[attr-defined]  # as above
    TakingOver.begin = impatient  # type: ignore[method-assign]  # as above


if __name__ == "__main__":
    _hasten()
    sys.exit(run(sys.argv[1:]))
