"""What the topics `audits` and `labels` hold: the drawn requests in their order, and the votes about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...agents.auditing.drawn import Drawn, Matches, judged
from ...agents.auditing.ledger.ledger import Rules, drawn_of
from ...agents.auditing.votes import Ballot
from ...schemas.audits import AUDIT_HEADER, Label, decode_audit, decode_label, judged_by, place_of
from ...schemas.codec import decode_facts, header
from ...schemas.errors import InvalidRequest
from ...schemas.records import Facts
from ..settings.tables import Settings
from ..topics.reading import partitions_of, read_to_the_end, reader


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A record of `audits`."""

    drawn: Drawn
    version: str  #: of the thresholds
    facts: Facts
    value: bytes | None  #: the request


@dataclass(slots=True)
class AuditTopics:
    """What both topics held when they were read."""

    pipeline: str
    counts: Callable[[Label], bool] = lambda _: True  #: an auditor counts it
    requests: dict[str, tuple[tuple[int, int, int], AuditRecord]] = field(default_factory=dict)  # by source
    ballots: dict[str, Ballot] = field(default_factory=dict)  #: by source

    def take_audit(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """Take a record of `audits`. Of two with one source the later one counts: the topic was made anew between."""
        try:
            audit, facts = decode_audit(header(record.headers, AUDIT_HEADER) or b""), decode_facts(record)
        except (msgspec.DecodeError, InvalidRequest):
            return
        if audit.pipeline != self.pipeline:
            return
        order = (record.timestamp, record.partition, record.offset)
        found = AuditRecord(drawn_of(audit, facts, record.timestamp), judged_by(facts), facts, record.value)
        known = self.requests.get(found.drawn.source)
        if known is None or known[0] < order:
            self.requests[found.drawn.source] = (order, found)

    def take_label(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """Take a record of `labels`: the last vote of a person counts. Passed over: what an auditor counts as none."""
        try:
            label = decode_label(record.value or b"")
        except msgspec.DecodeError:
            return
        place = place_of(label.source)
        if place is None or not label.by or not self.counts(label):
            return
        self.ballots.setdefault(str(place), Ballot()).take(label)

    @property
    def in_order(self) -> list[AuditRecord]:
        """The drawn requests that thresholds judged, as they ended by the broker's clock."""
        judged = [pair for pair in self.requests.values() if pair[1].version]
        return [record for _, record in sorted(judged, key=lambda pair: pair[0])]


async def read_topics(settings: Settings, rules: Rules, since_ms: float) -> AuditTopics:
    """Read both from this time on to where they end now. Raises `BrokerUnreachable` and `TopicMissing`."""
    topics = settings.topics
    found = AuditTopics(settings.name, rules.counts)
    places = [place for topic in (topics.audits, topics.labels) for place in await partitions_of(settings, topic)]
    async with reader(settings, places) as consumer:
        takes = {topics.audits: found.take_audit, topics.labels: found.take_label}
        await read_to_the_end(consumer, places, takes, since_ms=since_ms)
    return found


def wanted(
    records: Iterable[AuditRecord], ballots: Mapping[str, Ballot], matches: Matches, since_ms: float
) -> list[AuditRecord]:
    """The drawn requests whose label is wanted and not decided yet, in their order; none that ended before."""
    drawn = ((record, record.drawn) for record in records if record.drawn.label and not record.drawn.missing)
    in_time = ((record, one) for record, one in drawn if one.at_ms > since_ms)
    return [record for record, one in in_time if judged(one, ballots.get(one.source), matches) is None]
