"""The companions of a step's outcomes: a record in `audits` for each request that is drawn, when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ...agents.auditing.draw import Draw
from ...schemas.audits import Audit, audit_record, audit_without_value, facts_of_result, is_marked
from ...schemas.codec import replayed
from ...schemas.records import Facts, Incoming, Outgoing, Result
from ..plane.window.slots import Slot

#: where a request ends
_ENDS = ("results", "fallback")


class Auditing:
    """The `Companions` of one step."""

    def __init__(
        self, draw: Draw, secret: bytes, pipeline: str, facts: Callable[[Incoming], Facts], *, reads_requests: bool
    ) -> None:
        """`facts`: what is known about a record of the step's topic; `reads_requests`: these are the requests."""
        self._draw = draw
        self._secret = secret
        self._pipeline = pipeline
        self._facts = facts
        self._reads_requests = reads_requests

    def drawn(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """The requests that end here and are audited."""
        if self._reads_requests:
            slots = self._hit(slots)
        return [slot for slot in slots if slot.outcome is not None and slot.outcome.to in _ENDS and self._audited(slot)]

    def _hit(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """Those whose offset is drawn: nothing more is looked at of all others."""
        offsets = [slot.offset for slot in slots]
        if not offsets:
            return ()
        source = self._facts(slots[0].record)
        topic = source.topic_id or source.source.topic
        hits = self._draw.drawn(topic, source.source.partition, min(offsets), max(offsets)).intersection(offsets)
        return [slot for slot in slots if slot.offset in hits] if hits else ()

    def _audited(self, slot: Slot) -> bool:
        """It is drawn, and is no replay: that was drawn, or not, in its first life."""
        record = slot.record
        facts = self._facts(record)
        place = facts.source
        hits = self._draw.drawn(facts.topic_id or place.topic, place.partition, place.offset, place.offset)
        if place.offset not in hits:
            return False
        former = replayed(record)
        return former is None or not is_marked(self._secret, former, record.key, record.value)

    def of(self, record: Incoming, outcome: Outgoing) -> Outgoing | None:
        """The record of `audits`."""
        told = self._told(record, outcome)
        if told is None:
            return None
        if told[0].value_omitted is not None:
            return audit_without_value(*told, "the request was too large to carry")
        return audit_record(record, *told)

    def refused(self, record: Incoming, outcome: Outgoing, detail: str) -> Outgoing | None:
        """The same without the request and the answers."""
        told = self._told(record, outcome)
        return None if told is None else audit_without_value(*told, detail)

    def _told(self, record: Incoming, outcome: Outgoing) -> tuple[Facts, Audit] | None:
        about = outcome.about
        if isinstance(about, Result):
            facts = facts_of_result(about, self._facts(record))
            audit = Audit(self._pipeline, "trusted" if about.trusted else "accepted", self._draw.share)
            return facts, msgspec.structs.replace(audit, answered_by=about.answered_by)
        if about is None:
            return None
        rejected = about.reason in ("low_confidence", "no_confidence")
        known = self._facts(record)
        facts = msgspec.structs.replace(about, topic_id=about.topic_id or known.topic_id)
        return facts, Audit(self._pipeline, "rejected" if rejected else "failed", self._draw.share)
