"""Further records that leave with some outcomes, in the same transaction: never the one without the other.

The outcome comes first: a companion that the broker refuses gives way to a smaller one, and that one to none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ....schemas.records import Incoming, Outgoing
from ..window.slots import Slot

log = logging.getLogger(__name__)


class Companions(Protocol):
    """Makes them. The same record and outcome give the same companion, now and after a crash."""

    def drawn(self, slots: Sequence[Slot], first: int, end: int, *, in_order: bool) -> Sequence[Slot]:
        """Those whose outcome may have one. They are of one partition, and their offsets lie from `first` on and before
        `end`; `in_order`: each after the one before. Called for every transaction: be quick.
        """

    def of(self, record: Incoming, outcome: Outgoing) -> Outgoing | None:
        """The companion of this outcome; None where it has none."""

    def refused(self, record: Incoming, outcome: Outgoing, detail: str) -> Outgoing | None:
        """A smaller one, which says why; None where there is none."""


class Companion(NamedTuple):
    """One of them, and whose it is."""

    slot: Slot
    record: Outgoing


@dataclass(slots=True)
class Accompanying:
    """The companions of what one window sends."""

    companions: Companions | None  #: None: nothing has one
    _refused: dict[int, str] = field(default_factory=dict)  # by offset: why the broker refuses it; '' for both sizes

    def of(self, slots: Sequence[Slot], first: int, end: int, *, in_order: bool) -> list[Companion]:
        """What leaves beside the outcomes of these slots, which are given as `Companions.drawn` says."""
        if self.companions is None:
            return []
        drawn = self.companions.drawn(slots, first, end, in_order=in_order)
        found = [(slot, self._made(self.companions, slot)) for slot in drawn]
        return [Companion(slot, record) for slot, record in found if record is not None]

    def _made(self, companions: Companions, slot: Slot) -> Outgoing | None:
        outcome, why = slot.outcome, self._refused.get(slot.offset)
        if outcome is None or why == "":
            return None
        if why is None:
            return companions.of(slot.record, outcome)
        return companions.refused(slot.record, outcome, why)

    def refused(self, companion: Companion, error: Exception) -> None:
        """The broker does not take it: a smaller one goes next time, or none."""
        offset = companion.slot.offset
        self._refused[offset] = "" if offset in self._refused else f"the broker refuses the record: {error}"
        told = (companion.record.to, companion.slot.record.topic, companion.slot.record.partition, offset, error)
        log.error("the %s record of %s-%d-%d is refused: %s", *told, extra={"action": "companion_refused"})

    def committed(self, slots: Iterable[Slot]) -> None:
        """These have left, with their companions."""
        if self._refused:
            for slot in slots:
                self._refused.pop(slot.offset, None)
