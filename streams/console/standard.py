"""Standard input, output and error of a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def hold_standard_places() -> None:
    """What is closed of them reads and writes nothing from now on. Else the next socket would take its number, and get
    what libraries, and processes that we start, write there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  # takes the lowest number: its own
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
