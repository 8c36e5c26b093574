"""When Python is not to look for cyclic garbage."""

from __future__ import annotations

import gc
from types import TracebackType


def settle_heap() -> None:
    """What is there before the first record lives as long as the worker: Python need not go through it again, which
    would hold up the event loop for as long as there are modules and models.

    Nor need it now, for that takes 0.3 s with torch. What is garbage by now stays: a fortieth of the objects, 7 MB.
    """
    gc.freeze()


class without_collecting:  # noqa: N801  # read as a word, as those of contextlib are
    """While very many objects are made that stay, or that refer to nothing in a circle.

    Python goes through all there is again and again as their number grows. A large JSON answer of 300,000 small lists
    holds up the event loop that way, and loading a torch model takes a fifth longer.
    """

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._was_on:
            gc.enable()
