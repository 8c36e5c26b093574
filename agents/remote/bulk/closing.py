"""When a batch is full. No I/O, no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

#: batches that one is split into at once, at most; the last may be split again
_MOST_PARTS = 100


@dataclass(frozen=True, slots=True)
class ClosePolicy:
    """How much goes into one batch. What is 0 is no bound."""

    records: int = 10_000
    bytes: int = 50_000_000  #: as the provider counts them
    tokens: int = 0
    money: int = 0  #: billionths of the currency's unit that it can cost at most
    age_s: float = 300.0  #: seconds from its first input on
    excluded: int = 2_000  #: inputs that have their outcome when it is closed

    def within(self, tokens: int) -> ClosePolicy:
        """The same, with no more tokens than these; 0 is no bound."""
        return self if not tokens or 0 < self.tokens <= tokens else replace(self, tokens=tokens)


@dataclass(slots=True)
class Gathered:
    """A batch that is being filled: a range of offsets, and what of it is to be asked about."""

    first: int
    began: float  #: when its first input was read, on any monotonic clock
    end: int = field(init=False)  #: offset after the last one that was read
    records: int = 0
    bytes: int = 0
    tokens: int = 0
    most: int = 0  #: what it can cost at most
    deadline_ms: int | None = None  #: the earliest deadline
    excluded: list[int] = field(default_factory=list)  #: offsets that are not asked about

    def __post_init__(self) -> None:
        self.end = self.first

    def has_room(self, size: int, tokens: int, most: int, policy: ClosePolicy) -> bool:
        """Whether an input of this size goes into it, too. The first one always does."""
        return not self.records or (
            self.records < policy.records
            and self.bytes + size <= policy.bytes
            and (not policy.tokens or self.tokens + tokens <= policy.tokens)
            and (not policy.money or self.most + most <= policy.money)
        )

    def add(self, offset: int, size: int, tokens: int, most: int, deadline_ms: int | None = None) -> None:
        """An input that is asked about."""
        self.end = offset + 1
        self.deadline_ms = earlier(self.deadline_ms, deadline_ms)
        self.records += 1
        self.bytes += size
        self.tokens += tokens
        self.most += most

    def leave_out(self, offset: int) -> None:
        """An input that has its outcome already."""
        self.end = offset + 1
        self.excluded.append(offset)

    def is_due(self, now: float, policy: ClosePolicy) -> bool:
        """Whether it is to be closed, though there is room."""
        if not self.records and not self.excluded:
            return False
        full = self.records >= policy.records or len(self.excluded) >= policy.excluded
        return full or now - self.began >= policy.age_s


class Part(NamedTuple):
    """What an input takes of a batch that is to be split."""

    offset: int
    size: int
    tokens: int
    most: int
    deadline_ms: int | None


def parts_of(first: int, end: int, inputs: Iterable[Part], policy: ClosePolicy, head: int = 0) -> list[Gathered]:
    """The range from `first` and before `end` as ranges without a gap between them, each with as many inputs as the
    policy allows, and one at least. `head`: inputs in the first range, at most; 0 is no bound.
    """
    found = [Gathered(first, 0.0)]
    for one in inputs:
        last = found[-1]
        full = bool(head) and len(found) == 1 and last.records >= head
        full = full or not last.has_room(one.size, one.tokens, one.most, policy)
        if full and len(found) < _MOST_PARTS:
            last.end = one.offset
            last = Gathered(one.offset, 0.0)
            found.append(last)
        last.add(one.offset, one.size, one.tokens, one.most, one.deadline_ms)
    found[-1].end = end
    return found


def clipped(parts: tuple[tuple[int, int], ...], first: int, end: int) -> tuple[tuple[int, int], ...]:
    """What of these ranges lies from `first` on and before `end`."""
    cut = ((max(first, begin), min(end, until)) for begin, until in parts)
    return tuple((begin, until) for begin, until in cut if begin < until)


def earlier(deadline_ms: int | None, other_ms: int | None) -> int | None:
    """The earlier one of two deadlines, either of which there may not be."""
    if deadline_ms is None or other_ms is None:
        return other_ms if deadline_ms is None else deadline_ms
    return min(deadline_ms, other_ms)


def joined(parts: tuple[tuple[int, int], ...], offsets: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """These ranges and these offsets, as ranges."""
    return ranges(sorted({*offsets_of(parts), *offsets}))


def offsets_of(parts: tuple[tuple[int, int], ...]) -> list[int]:
    """Every offset of these ranges."""
    return [offset for first, end in parts for offset in range(first, end)]


def ranges(offsets: list[int]) -> tuple[tuple[int, int], ...]:
    """Ascending offsets as ranges: each from, and before."""
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and found[-1][1] == offset:
            found[-1] = (found[-1][0], offset + 1)
        else:
            found.append((offset, offset + 1))
    return tuple(found)


def holds(parts: tuple[tuple[int, int], ...], offset: int) -> bool:
    """Whether an offset is in one of the ranges."""
    return any(first <= offset < end for first, end in parts)
