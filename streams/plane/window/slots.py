"""A fetched record and what has become of it, the right to answer some of them, and what one transaction sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from ....schemas.records import Incoming, Outgoing
from .marks import Progress

PENDING, HELD, ANSWERED, SENT, DONE = range(5)


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


class Lessor(Protocol):
    """Who gives leases: a window."""

    closed: bool

    def discard(self, records: int, *, held: bool) -> None: ...
    def answer(self, slots: Sequence[Slot], outcomes: Sequence[Outgoing]) -> None: ...
    def give_back(self, slots: list[Slot], *, failed: bool, alone: bool, now: float) -> None: ...


class Lease:
    """The right to answer some records, once, while their window is open.

    Whatever arrives for a closed window or for a lease that has ended is discarded and counted.
    """

    __slots__ = ("_window", "ended", "slots")

    def __init__(self, window: Lessor, slots: list[Slot]) -> None:
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

    slots: list[Slot]
    progress: Progress
    arms: bool = False  #: it sends nothing, and says that the next batch is tried

    @property
    def outcomes(self) -> list[Outgoing]:
        """One for each slot, in their order."""
        return [slot.outcome for slot in self.slots if slot.outcome is not None]
