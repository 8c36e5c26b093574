"""What leaves of a batch in one transaction, where the broker refuses some of it. The audit is of every request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.audits import AUDIT_HEADER, decode_audit
from bisupervised.schemas.bulk import BulkEntry
from bisupervised.schemas.codec import decode_facts, encode_facts, facts_of, fall_back, forward, header
from bisupervised.schemas.records import FACTS_HEADER, Facts, Source, Verdict
from bisupervised.streams.bulk.writer import BulkWriter, Leaving
from bisupervised.streams.kafka.errors import Lost, RecordsRefused
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.routing import Router, Routing
from bisupervised.streams.worker.auditing import Auditing
from support.partitions import TOO_LARGE
from support.records import Record

SECRET = b"only the fleet knows"
ROUTES = {"answers": "answers", "fallback": "fallback", "audits": "audits", "batched": "batched"}
DOUBT = Verdict(3, 0.4, 0.5, model="small@1")


class Picky:
    """A broker that takes values of so many bytes. Where it does not tell, it names who is to blame only alone."""

    def __init__(self, tells: bool, **bytes_of: int) -> None:
        self.sent: list[tuple[str, Any]] = []
        self._tells = tells
        self._bytes_of = bytes_of

    async def open(self) -> None:
        return

    async def send(
        self, records: Sequence[Any], places: Iterable[tuple[str, int]], _offsets: Any, *, alone: bool = False
    ) -> None:
        sent = [(topic, record) for record, (topic, _) in zip(records, places, strict=True)]
        large = [n for n, (topic, one) in enumerate(sent) if len(one.value or b"") > self._bytes_of.get(topic, 10**9)]
        if large:
            raise RecordsRefused(dict.fromkeys(large, TOO_LARGE) if self._tells or alone else {})
        self.sent += sent

    def of(self, topic: str) -> list[Any]:
        return [record for to, record in self.sent if to == topic]


def writer(broker: Picky) -> BulkWriter:
    nowhere = cast("Any", None)
    policy = OutboxPolicy(nowhere, "shop-bulk", 10.0, 10.0, 60.0)
    router = Router(cast("Any", ROUTES), "batched")
    auditing = Auditing(Draw(1.0, SECRET, "shop"), SECRET, "shop", facts_of, reads_requests=False)
    made = BulkWriter(policy, TopicPartition("batched", 0), "batches", router, 1_000_000, auditing)
    made._sender = cast("Any", broker)
    made._routing = Routing(1, cast("Any", dict.fromkeys(ROUTES, 1)))
    return made


def batched(offset: int, size: int = 10) -> Record:
    facts = Facts(Source("requests", 0, offset), local=DOUBT, topic_id="t")
    return Record(b"x" * size, offset + 100, "batched", 0, headers=[(FACTS_HEADER, encode_facts(facts))])


def answer(record: Record, to: Any = "answers") -> Leaving:
    return Leaving(record, forward(record, to, facts_of(record)))


def fallen(record: Record) -> Leaving:
    return Leaving(record, fall_back(record, facts_of(record), "timeout", "too late", "remote"))


def told(record: Any) -> tuple[int, str, bool]:
    """Whose audit it is, how that ended, and whether the request is missing."""
    audit = decode_audit(header(record.headers, AUDIT_HEADER) or b"")
    facts = decode_facts(Record(record.value, headers=list(record.headers)))
    return facts.source.offset, audit.ended, bool(audit.missing)


async def committed(broker: Picky, *leaving: Leaving) -> Picky:
    await writer(broker).commit(leaving, BulkEntry("shop", "t", 200))
    return broker


@pytest.mark.asyncio
async def test_a_request_that_ends_in_a_batch_is_audited_and_one_that_goes_on_is_not_yet() -> None:
    first, second, third = map(batched, range(3))
    broker = await committed(Picky(True), answer(first), fallen(second), answer(third, "batched"))
    assert [told(record) for record in broker.of("audits")] == [(1, "failed", False)]
    assert [len(broker.of(topic)) for topic in ("answers", "fallback", "batched", "batches")] == [1, 1, 1, 1]


@pytest.mark.asyncio
@pytest.mark.parametrize("tells", [True, False])
async def test_an_answer_that_is_refused_ends_in_fallback_and_is_audited_as_that(tells: bool) -> None:
    broker = await committed(Picky(tells, answers=100), answer(batched(0)), answer(batched(1, 200)))
    assert [len(broker.of(topic)) for topic in ("answers", "fallback")] == [1, 1]
    [about] = [decode_facts(record) for record in broker.of("fallback")]
    assert (about.source.offset, about.reason) == (1, "too_large")
    assert "the broker refuses the answers record" in (about.detail or "")
    assert [told(record)[:2] for record in broker.of("audits")] == [(1, "failed")]


@pytest.mark.asyncio
@pytest.mark.parametrize("tells", [True, False])
async def test_what_audits_does_not_take_leaves_as_a_smaller_one(tells: bool) -> None:
    broker = await committed(Picky(tells, audits=100), fallen(batched(0)), fallen(batched(1, 200)))
    assert len(broker.of("fallback")) == 2
    assert [told(record) for record in broker.of("audits")] == [(0, "failed", False), (1, "failed", True)]


@pytest.mark.asyncio
async def test_where_audits_takes_none_at_all_the_outcomes_leave_alone() -> None:
    broker = await committed(Picky(False, audits=-1), fallen(batched(0)))
    assert [len(broker.of(topic)) for topic in ("fallback", "audits", "batches")] == [1, 0, 1]


@pytest.mark.asyncio
async def test_without_an_entry_of_the_log_nothing_leaves() -> None:
    broker = Picky(True, batches=10)
    with pytest.raises(Lost, match="takes no entry"):
        await committed(broker, fallen(batched(0)))
    assert broker.sent == []
