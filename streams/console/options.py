"""Exit codes, and the options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

#: what was asked for is done; could not be done; the command line or the settings are wrong; Ctrl-C or SIGTERM
DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


Config = Annotated[
    Path | None,
    Parameter(
        name=("--config", "-c"),
        help="TOML file with the settings. `BISUPERVISED_<TABLE>__<KEY>` in the environment overrides it.",
    ),
]


Json = Annotated[bool, Parameter(negative="", help="Print JSON, for scripts.")]
