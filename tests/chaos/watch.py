"""What goes in, what comes out, and whether each promise held. Reads as a downstream service would."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.audits import AUDIT_HEADER, decode_audit
from bisupervised.schemas.codec import decode_facts, decode_result, header
from bisupervised.schemas.versions import is_raised
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.waits import waits
from rig import PARTITIONS, SECRET, Rig
from tightening import Judgements, Labeller

KEYS = 200
#: seconds that batches may hold everything up, at most
_BATCHES_S = 60.0

Place = tuple[int, int]  # partition and offset of a request


@dataclass
class Outcomes:
    """Every outcome seen so far, and what was wrong with them."""

    seen: Counter[Place] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    last: dict[tuple[str, str, bytes], int] = field(default_factory=dict)
    highest: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), -1))
    moved: dict[int, float] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), time.monotonic()))
    late: list[Place] = field(default_factory=list)  #: whose first outcome came after a later one of its key
    last_at: float = field(default_factory=time.monotonic)

    @property
    def out_of_order(self) -> int:
        """How many first outcomes came after a later one of their key."""
        return len(self.late)

    def add(self, record: Any) -> None:  # aiokafka's ConsumerRecord has no types
        """Count one record of results or fallback, and check the order of its key among the first of each request."""
        if record.topic == "results":
            result = decode_result(record.value)
            source, writer, reason = result.source, str(result.answered_by), f"answered_{result.answered_by}"
        else:
            facts = decode_facts(record)
            source, writer, reason = facts.source, facts.agent, str(facts.reason)
        place = (source.partition, source.offset)
        self.seen[place] += 1
        self.reasons[reason] += 1
        self.highest[source.partition] = max(self.highest[source.partition], source.offset)
        self.last_at = self.moved[source.partition] = time.monotonic()
        if self.seen[place] > 1:
            return
        stream = (writer, record.topic, record.key)
        if source.offset <= self.last.get(stream, -1):
            self.late.append(place)
        self.last[stream] = source.offset


@dataclass
class Audits:
    """Every record of `audits` seen so far."""

    seen: Counter[Place] = field(default_factory=Counter)
    shadows: Counter[str] = field(default_factory=Counter)  #: answered, or why not; '' for those that needed none
    topic_id: str = ""  #: of the requests
    last_at: float = field(default_factory=time.monotonic)

    def add(self, record: Any) -> None:  # aiokafka's ConsumerRecord has no types
        """Count one."""
        facts, audit = decode_facts(record), decode_audit(header(record.headers, AUDIT_HEADER) or b"")
        self.seen[facts.source.partition, facts.source.offset] += 1
        self.shadows[(facts.reason or "answered") if audit.shadow else ""] += 1
        self.topic_id, self.last_at = facts.topic_id, time.monotonic()

    def drawn(self, settings: Settings, inputs: Iterable[Place], judged_first: Mapping[Place, str]) -> set[Place]:
        """Those of these requests that are drawn: by a higher share where the version that judged first says so."""
        audit = settings.audit
        usual = Draw(audit.share, SECRET.encode(), settings.name, audit.shadow_share)
        raised = Draw(audit.alarm_share, SECRET.encode(), settings.name, audit.alarm_share)

        def is_drawn(place: Place) -> bool:
            draw = raised if is_raised(judged_first.get(place, "")) else usual
            return place[1] in draw.drawn(self.topic_id, *place, place[1])

        return set(filter(is_drawn, inputs))


class Watch:
    """Produces requests at a steady rate and follows their outcomes."""

    def __init__(self, rig: Rig) -> None:
        self.outcomes = Outcomes()
        self.audits = Audits()
        self.judgements = Judgements()  #: where the fleet tightens
        self.labeller = Labeller(rig.brokers.bootstrap_servers)  #: likewise
        self.inputs: set[Place] = set()
        self.ends = dict.fromkeys(range(PARTITIONS), -1)  # highest offset produced
        self.stuck = 0
        #: a batch takes seconds here, and whoever takes over one that is being created waits until that is over
        patience_s = _BATCHES_S if rig.batches_money else 0.0
        self.stuck_s = (
            waits(rig.settings).longest[1] + patience_s
        )  #: so long a partition with a backlog may have no outcome
        self._pause_s = 0.0
        self._rig = rig
        self._servers = rig.brokers.bootstrap_servers
        self._produced = 0
        self._excused = dict.fromkeys(range(PARTITIONS), 0.0)

    async def produce(self, at_least: int, per_second: float, enough: asyncio.Event) -> int:
        """Produce until there are `at_least` requests and it is `enough`; return how many, all of them acknowledged."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, enable_idempotence=True, linger_ms=10, request_timeout_ms=180_000
        )
        await producer.start()
        try:
            started = time.monotonic()
            number = 0
            while number < at_least or not enough.is_set():
                await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                ack = await producer.send("requests", *self._request())
                ack.add_done_callback(self._acknowledged)
                number += 1
            await producer.flush()
            return number
        finally:
            await producer.stop()

    def _request(self) -> tuple[bytes, bytes]:
        self._produced += 1
        value = orjson.dumps({"id": self._produced, "input": [self._produced, 0.5], "padding": "x" * 200})
        return value, b"key-%d" % (self._produced % KEYS)

    def _acknowledged(self, ack: asyncio.Future[Any]) -> None:
        place = ack.result()
        self.inputs.add((place.partition, place.offset))
        self.ends[place.partition] = max(self.ends[place.partition], place.offset)

    async def follow(self) -> None:
        """Consume results and fallback, and audits where there are any, read committed, for ever."""
        consumer = AIOKafkaConsumer(
            "results",
            "fallback",
            *(["audits"] if self._rig.audit else []),
            bootstrap_servers=self._servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            while True:
                try:
                    fetched = await consumer.getmany(timeout_ms=200)
                except KafkaError:
                    await asyncio.sleep(0.2)
                    continue
                for records in fetched.values():
                    for record in records:
                        self._take(record)
                self._look_for_stuck()
        finally:
            await consumer.stop()

    def _take(self, record: Any) -> None:
        (self.audits if record.topic == "audits" else self.outcomes).add(record)
        if self._rig.ladder is None:
            return
        if record.topic == "audits":
            self.labeller.see(record)
        else:
            self.judgements.add(record)

    def _look_for_stuck(self) -> None:
        now = time.monotonic()
        serving = self._rig.serving
        for partition, end in self.ends.items():
            quiet_since = max(self.outcomes.moved[partition], self._excused[partition])
            if not serving or self.outcomes.highest[partition] >= end:
                self._excused[partition] = now
                continue
            self._pause_s = max(self._pause_s, now - quiet_since)
            if now - quiet_since > self.stuck_s:
                self.stuck += 1
                self._excused[partition] = now

    def longest_pause(self) -> float:
        """Seconds that a partition stood still at most since the last call, while it had a backlog and a worker."""
        pause_s, self._pause_s = self._pause_s, 0.0
        return pause_s

    @property
    def missing(self) -> int:
        """Inputs without an outcome."""
        return len(self.inputs - self.outcomes.seen.keys())

    @property
    def duplicated(self) -> int:
        """Outcomes beyond the first, and outcomes of nothing that was asked."""
        seen = self.outcomes.seen
        return sum(seen.values()) - len(seen) + len(seen.keys() - self.inputs)

    def audited(self) -> dict[str, int]:
        """How many requests were drawn; how many of these have no audit; audits beyond the first, and of others."""
        drawn = self.audits.drawn(self._rig.settings, self.inputs, self.judgements.first_of)
        seen = self.audits.seen
        return {
            "drawn": len(drawn),
            "unaudited": len(drawn - seen.keys()),
            "audited_twice": sum(seen.values()) - len(seen),
            "audited_undrawn": len(seen.keys() - drawn),
        }

    async def all_audited(self, timeout_s: float) -> None:
        """Wait until every drawn request has its audit, or until none has come for `timeout_s` seconds."""
        self.audits.last_at = time.monotonic()
        while self.audited()["unaudited"]:
            if time.monotonic() - self.audits.last_at > timeout_s:
                return
            await asyncio.sleep(1.0)
        await asyncio.sleep(1.0)  # what comes twice, comes a little later

    async def resumed(self, since: float, timeout_s: float = 120.0) -> float | None:
        """Seconds from `since` until each partition has an outcome of a request that was produced after now."""
        marks = dict(self.ends)
        while time.monotonic() - since < timeout_s:
            if all(self.outcomes.highest[partition] > mark for partition, mark in marks.items()):
                return time.monotonic() - since
            await asyncio.sleep(0.05)
        return None

    async def drained(self, timeout_s: float) -> bool:
        """Wait until every input has its outcome, or until nothing has come for `timeout_s` seconds."""
        self.outcomes.last_at = time.monotonic()
        while self.missing:
            if time.monotonic() - self.outcomes.last_at > timeout_s:
                return False
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)  # what comes twice, comes a little later
        return True


class AbortedRecords:
    """Counts records that were sent in transactions and aborted: seen uncommitted, not seen committed."""

    TOPICS = ("doubtful", "answers", "results", "fallback")

    def __init__(self, servers: str, further: tuple[str, ...] = ()) -> None:
        self._servers = servers
        self._topics = (*self.TOPICS, *further)
        self._before = 0

    async def since_last(self) -> int:
        """How many more there are than at the last call."""
        uncommitted, committed = [await self._count(level) for level in ("read_uncommitted", "read_committed")]
        aborted = uncommitted - committed
        fresh, self._before = aborted - self._before, aborted
        return fresh

    async def _count(self, level: str) -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, isolation_level=level)
        await consumer.start()
        try:
            places = [TopicPartition(topic, p) for topic in self._topics for p in range(PARTITIONS)]
            consumer.assign(places)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(places)
            count = 0
            while [tp for tp in places if await consumer.position(tp) < ends[tp]]:
                fetched = await consumer.getmany(timeout_ms=500)
                count += sum(map(len, fetched.values()))
            return count
        finally:
            await consumer.stop()
