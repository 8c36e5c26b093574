"""A fetched record and what has become of it, the right to answer some of them, and what one transaction sends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import msgspec

from ....schemas.records import Incoming, Outgoing
from .marks import Progress

PENDING, HELD, ANSWERED, SENT, DONE = range(5)

#: what a record costs besides its bytes, a rough constant
_RECORD_BYTES = 200


def sizes_of(records: Iterable[Incoming]) -> list[int]:
    """Bytes that each takes, roughly."""
    return [len(record.value or b"") + len(record.key or b"") + _RECORD_BYTES for record in records]


class Slot(msgspec.Struct, gc=False):  # refers to nothing that refers back, and there are thousands
    """One fetched record and what has become of it."""

    record: Incoming
    offset: int
    size: int  #: bytes, roughly
    called: bool  #: a call may have been made for it
    leads: bool = True  #: no record of its key before it waits for its outcome, as far as that is known
    state: int = PENDING
    tries: int = 0
    outcome: Outgoing | None = None


class Run(Sequence[Slot]):
    """Records that follow each other and share one fate. A slot is made only of those that somebody looks at."""

    __slots__ = ("_outcomes", "_slots", "records")

    def __init__(self, records: Sequence[Incoming], outcomes: Sequence[Outgoing] = ()) -> None:
        self.records = records
        self._outcomes = list(outcomes)
        self._slots: dict[int, Slot] = {}  # by place: those that were looked at

    @classmethod
    def joined(cls, runs: Collection[Run]) -> Run:
        """One of all of these, which follow each other."""
        if len(runs) == 1:
            return next(iter(runs))
        records = [record for run in runs for record in run.records]
        return cls(records, [outcome for run in runs for outcome in run.outcomes])

    def parted(self, first: int) -> tuple[Run, Run]:
        """The first so many, and the rest."""
        if first == len(self):
            return self, Run([])
        records, outcomes = self.records, self.outcomes
        return Run(records[:first], outcomes[:first]), Run(records[first:], outcomes[first:])

    @property
    def outcomes(self) -> list[Outgoing]:
        """One for each, in their order; none before they are answered. What was set in a slot since counts."""
        for place, slot in self._slots.items():
            if slot.outcome is not None:
                self._outcomes[place] = slot.outcome
        return self._outcomes

    def answered(self, outcomes: Sequence[Outgoing]) -> None:
        """Each has its outcome."""
        self._outcomes = list(outcomes)
        for place, slot in self._slots.items():
            slot.outcome = outcomes[place]

    def in_state(self, state: int) -> list[Slot]:
        """A slot of each, all in this state."""
        slots = list(self)
        for slot in slots:
            slot.state = state
        return slots

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, place: int) -> Slot: ...
    @overload
    def __getitem__(self, place: slice) -> list[Slot]: ...
    def __getitem__(self, place: int | slice) -> Slot | list[Slot]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        place = range(len(self))[place]  # counted from the end, or beyond it, too
        slot = self._slots.get(place)
        if slot is None:
            record, outcome = self.records[place], self._outcomes[place] if self._outcomes else None
            (size,) = sizes_of((record,))
            slot = self._slots[place] = Slot(record, record.offset, size, called=False, outcome=outcome)
        return slot


def records_of(slots: Sequence[Slot]) -> Sequence[Incoming]:
    """Those of a run need no slots."""
    return slots.records if isinstance(slots, Run) else [slot.record for slot in slots]


def bytes_of(slots: Sequence[Slot]) -> int:
    """What their records take, roughly."""
    return sum(sizes_of(slots.records) if isinstance(slots, Run) else [slot.size for slot in slots])


class Lessor(Protocol):
    """Who gives leases: a window."""

    closed: bool

    def discard(self, records: int, *, held: bool) -> None: ...
    def answer(self, slots: Sequence[Slot], outcomes: Sequence[Outgoing]) -> None: ...
    def give_back(self, slots: Sequence[Slot], *, failed: bool, alone: bool, now: float) -> None: ...


class Lease:
    """The right to answer some records, once, while their window is open.

    Whatever arrives for a closed window or for a lease that has ended is discarded and counted.
    """

    __slots__ = ("_window", "ended", "slots")

    def __init__(self, window: Lessor, slots: Sequence[Slot]) -> None:
        self._window = window
        self.slots = slots
        self.ended = False

    @property
    def open(self) -> bool:
        """An outcome would count."""
        return not self.ended and not self._window.closed

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        """One outcome per record, in order. Raises `ValueError` for a different number."""
        if len(outcomes) != len(self.slots):
            raise ValueError(f"{len(self.slots)} records need as many outcomes, not {len(outcomes)}")
        if self._end():
            self._window.answer(self.slots, outcomes)

    def release(self, *, failed: bool, alone: bool, now: float) -> None:
        """Give the records back, to be delivered again.

        `failed`: the agent raised on them; `alone`: there was one record and nothing else in the batch, so it
        is the one to blame.
        """
        if self._end():
            self._window.give_back(self.slots, failed=failed, alone=alone, now=now)

    def _end(self) -> bool:
        first, self.ended = not self.ended, True
        if first and not self._window.closed:
            return True
        self._window.discard(len(self.slots), held=first)
        return False


@dataclass(frozen=True, slots=True)
class Plan:
    """One transaction: the outcomes it sends and what it commits."""

    slots: Sequence[Slot]
    progress: Progress
    arms: bool = False  #: it sends nothing, and says that the next batch is tried

    @property
    def outcomes(self) -> list[Outgoing]:
        """One for each slot, in their order."""
        if isinstance(self.slots, Run):
            return self.slots.outcomes
        return [slot.outcome for slot in self.slots if slot.outcome is not None]
