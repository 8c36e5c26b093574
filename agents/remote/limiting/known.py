"""What a probe asks: an input that the remote answers when it is well. No I/O, no clock of its own."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Known(Generic[T]):
    """The smallest question that was answered, or the one of the settings.

    An answer of yesterday may be refused today for a reason of its own. So a probe that was refused is followed by one
    that asks something else: what waits.
    """

    def __init__(self, configured: T | None = None) -> None:
        self._question = configured
        self._size: float = float("inf")
        self._refused = False

    def __repr__(self) -> str:
        return f"<Known {self._size} bytes>" if self else "<Known nothing>"

    def __bool__(self) -> bool:
        """There is one."""
        return self._question is not None

    def answered(self, question: T, size: int) -> None:
        """It was; keep it, if it is no larger than the one that is kept."""
        self._refused = False
        if size <= self._size:
            self._question, self._size = question, size

    def refused(self) -> None:
        """The question of the last probe was."""
        self._refused = True

    def next(self) -> T | None:
        """What the next probe asks; None: one of those that wait."""
        skipped, self._refused = self._refused, False
        return None if skipped else self._question
