"""The same word about the same thing, once: what is said again within a while is counted, and told with the next one.

While a broker is down, every client and every partition says so several times a second. The first line is written at
once. Its repetitions are counted; after a rest, which doubles each time, one line tells how many there were.
No I/O and no clock: callers pass `now`, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Line = TypeVar("Line")

#: seconds until repetitions are told for the first time, and at most
_FIRST_S, _LONGEST_S = 10.0, 300.0
#: texts that are remembered, so that memory is bounded
_MOST = 1000


@dataclass(slots=True)
class _Said(Generic[Line]):
    """One text, and what became of its repetitions."""

    since: float  #: when it was last written
    rest_s: float  #: until its repetitions are told
    line: Line  #: the last that was said, written or not
    again: int = 0  #: repetitions that were not written since


class Repeats(Generic[Line]):
    """Decides which lines are written."""

    def __init__(self) -> None:
        self._said: OrderedDict[Hashable, _Said[Line]] = OrderedDict()  # the last to be written stands last

    def heard(self, text: Hashable, line: Line, now: float) -> int | None:
        """None where the line is not to be written; otherwise how often its text was left out since the last time."""
        said = self._said.get(text)
        if said is None or now - said.since > 2 * said.rest_s:  # quiet since: it is news again
            return self._write(text, line, now, _FIRST_S, said.again if said is not None else 0)
        if now - said.since < said.rest_s:
            said.again += 1
            said.line = line
            return None
        return self._write(text, line, now, min(2 * said.rest_s, _LONGEST_S), said.again)

    def over(self, now: float) -> list[tuple[Line, int]]:
        """Lines whose repetitions are to be told although they are not said any more, and how many each has."""
        found = [(text, said) for text, said in self._said.items() if said.again and now - said.since >= said.rest_s]
        for text, said in found:
            self._write(text, said.line, now, said.rest_s, said.again)
        return [(said.line, said.again) for _, said in found]

    def forget(self, of: Callable[[Line], bool]) -> None:
        """These lines are over: what is left of them is told elsewhere, and the next one is news."""
        self._said = OrderedDict((text, said) for text, said in self._said.items() if not of(said.line))

    def _write(self, text: Hashable, line: Line, now: float, rest_s: float, again: int) -> int:
        self._said[text] = _Said(now, rest_s, line)
        self._said.move_to_end(text)
        if len(self._said) > _MOST:
            self._said.popitem(last=False)
        return again
