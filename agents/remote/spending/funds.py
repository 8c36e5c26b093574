"""What pays for calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .purse import Purse


@dataclass(slots=True)
class Funds:
    """What pays for the calls: the purse, and what it means that the budget is spent."""

    purse: Purse
    waits: bool = True  #: for the next period; else calls are sent away
    now: Callable[[], float] = time.time  #: seconds since epoch
    on_need: Callable[[], None] = lambda: None  #: called when the purse has something to write into the log
