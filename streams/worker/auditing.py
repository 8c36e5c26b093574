"""The companions of a step's outcomes: a record in `audits` for each request that is drawn, when it has ended.

Where the remote is to be asked about a trusted local answer as well, it goes into `shadows` instead, and who has asked
writes the one in `audits`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from ...agents.auditing.draw import Draw
from ...schemas.audits import (
    Audit,
    Ended,
    audit_record,
    audit_without_value,
    facts_of_result,
    is_marked,
    judged_first,
)
from ...schemas.codec import replayed
from ...schemas.errors import REJECTED
from ...schemas.records import Facts, Incoming, Judged, Outgoing, Result
from ...schemas.versions import is_raised
from ..plane.window.slots import Slot

#: where a request ends
_ENDS = ("results", "fallback")


class Auditing:
    """The `Companions` of one step."""

    def __init__(
        self,
        draw: Draw,
        secret: bytes,
        pipeline: str,
        facts: Callable[[Incoming], Facts],
        *,
        reads_requests: bool,
        raised: Draw | None = None,
    ) -> None:
        """`facts`: what is known about a record of the step's topic; `reads_requests`: these are the requests.

        With a `shadow_share` of the draw, trusted local answers go into `shadows`. `raised`: the draw where the version
        of the thresholds says that more requests are drawn; it has every one that `draw` has.
        """
        self._usual = draw
        self._raised = raised
        self._secret = secret
        self._pipeline = pipeline
        self._facts = facts
        self._reads_requests = reads_requests

    def drawn(self, slots: Sequence[Slot], first: int, end: int, *, in_order: bool) -> Sequence[Slot]:
        """The requests that end here and are audited."""
        audited = self._audited
        if self._reads_requests:
            slots = self._hit(slots, first, end, in_order=in_order)
            audited = self._in_first_life if self._raised is None else self._audited
        return [slot for slot in slots if slot.outcome is not None and slot.outcome.to in _ENDS and audited(slot)]

    def _hit(self, slots: Sequence[Slot], first: int, end: int, *, in_order: bool) -> Sequence[Slot]:
        """Those whose offset is drawn: nothing more is looked at of all others."""
        if not slots:
            return ()
        if in_order:
            first, end = slots[0].offset, slots[-1].offset + 1
        source = self._facts(slots[0].record)
        topic = source.topic_id or source.source.topic
        hits = (self._raised or self._usual).drawn(topic, source.source.partition, first, end - 1)
        if in_order and end - first == len(slots):  # each is where its offset says: no other is looked at
            return [slots[offset - first] for offset in sorted(hits) if first <= offset < end]
        return [slot for slot in slots if slot.offset in hits] if hits else ()

    def _audited(self, slot: Slot) -> bool:
        """Its request is drawn, and lives for the first time."""
        facts = self._facts(slot.record)
        place = facts.source
        draw = self._draw(_judged_first(slot.outcome))
        hits = draw.drawn(facts.topic_id or place.topic, place.partition, place.offset, place.offset)
        return place.offset in hits and self._in_first_life(slot)

    def _draw(self, version: str) -> Draw:
        """By which the requests are drawn that this version of the thresholds judged first."""
        return self._usual if self._raised is None or not is_raised(version) else self._raised

    def _in_first_life(self, slot: Slot) -> bool:
        """It is no replay: that was drawn, or not, in its first life."""
        record = slot.record
        former = replayed(record) if record.headers else None
        return former is None or not is_marked(self._secret, former, record.key, record.value)

    def of(self, record: Incoming, outcome: Outgoing) -> Outgoing | None:
        """The record of `audits`, or of `shadows`."""
        told = self._told(record, outcome)
        if told is None:
            return None
        if told[0].value_omitted is not None:
            return audit_without_value(*told, "the request was too large to carry")
        _, audit = told
        shadowed = audit.shadow_share and audit.ended == "trusted" and self._reads_requests
        return audit_record(record, *told, to="shadows" if shadowed else "audits")

    def refused(self, record: Incoming, outcome: Outgoing, detail: str) -> Outgoing | None:
        """The same without the request and the answers, in `audits`: what is in `shadows` must be readable."""
        told = self._told(record, outcome)
        return None if told is None else audit_without_value(*told, detail)

    def _told(self, record: Incoming, outcome: Outgoing) -> tuple[Facts, Audit] | None:
        about = outcome.about
        if isinstance(about, Result):
            facts = facts_of_result(about, self._facts(record))
            ended: Ended = "trusted" if about.trusted else "accepted"
            return facts, self._audit(ended, facts, about.answered_by, outcome.judged)
        if about is None:
            return None
        rejected = about.reason in REJECTED
        known = self._facts(record)
        facts = msgspec.structs.replace(about, topic_id=about.topic_id or known.topic_id)
        return facts, self._audit("rejected" if rejected else "failed", facts, judged=outcome.judged)

    def _audit(
        self,
        ended: Ended,
        facts: Facts,
        answered_by: Literal["local", "remote"] | None = None,
        judged: Judged | None = None,
    ) -> Audit:
        draw, place = self._draw(judged_first(facts)), facts.source
        request = (facts.topic_id or place.topic, place.partition, place.offset)
        label = draw.wants_label(*request)
        return Audit(
            self._pipeline,
            ended,
            draw.share,
            answered_by=answered_by,
            shadow_share=draw.shadow_share,
            label=label,
            extra=label and draw is not self._usual and not self._usual.wants_label(*request),
            judged=judged,
        )


def _judged_first(outcome: Outgoing | None) -> str:
    about = None if outcome is None else outcome.about
    return "" if about is None else judged_first(about)
