"""What commands have in common on the command line: their exit codes, and the options that most of them take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

# `manual.py` says the same in words, at the end of every `--help`
#: what was asked for is done
DONE = 0
#: it could not be done
FAILED = 1
#: the command line or the settings are wrong
MISUSED = 2
#: Ctrl-C or SIGTERM
INTERRUPTED = 130

Config = Annotated[
    Path | None,
    Parameter(
        name=("--config", "-c"),
        help="TOML file with the settings. `BISUPERVISED_<TABLE>__<KEY>` in the environment overrides it.",
    ),
]
Json = Annotated[bool, Parameter(negative="", help="Print JSON, for scripts.")]


def _finite(_: object, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise ValueError("must be a finite number")


Switch = Annotated[bool, Parameter(negative="")]
Finite = Annotated[float, Parameter(validator=_finite)]
NotNegative = Annotated[float, Parameter(validator=(validators.Number(gte=0), _finite))]
