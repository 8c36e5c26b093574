"""Records that cannot be answered or cannot be carried: each ends in fallback, and the stream goes on."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER
from support.batches import batch_of, produce
from support.pipeline import Outcome, Pipeline, Sent, Setup, check_exactly_once, request

KEY = b"key"
UNPARSABLE = {
    "tombstone": None,
    "empty": b"",
    "not JSON": b"\x00\xfe not json",
    "NaN": b'{"input": [1, NaN, 0.9, 0]}',
    "no input": b'{"inputs": [1, 0.5, 0.9, 0]}',
    "no object": b"[1, 0.5, 0.9, 0]",
    "deadline": b'{"input": [1, 0.5, 0.9, 0], "deadline_ms": "soon"}',
}


def by_place(outcomes: list[Outcome]) -> dict[tuple[int, int], Outcome]:
    return {outcome.place: outcome for outcome in outcomes}


def test_what_cannot_be_parsed_falls_back_as_it_came(setup: Setup) -> None:
    _, pipeline = setup()
    bad = [Sent(value, KEY, [("mine", name.encode())]) for name, value in UNPARSABLE.items()]
    sent = pipeline.send([record for pair in zip(bad, map(request, range(len(bad))), strict=True) for record in pair])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    found = by_place(outcomes)
    for record in sent[::2]:
        fallen = found[record.place]
        assert (fallen.kind, fallen.record.value) == ("invalid_request", record.value)
        assert fallen.record.headers[0] == record.headers[0]
        assert fallen.facts is not None
        assert (fallen.facts.agent, bool(fallen.facts.detail)) == ("local", True)
    assert {found[record.place].kind for record in sent[1::2]} == {"remote"}


def test_headers_of_ours_on_a_request_are_from_another_life(setup: Setup) -> None:
    """A fallback record sent again is a new request: what was known about it is not believed."""
    _, pipeline = setup()
    (first,) = pipeline.send([request(1, remote=0.4)])
    pipeline.ready_worker()
    (fallen,) = pipeline.wait_for_outcomes([first])
    again = Sent(fallen.record.value, fallen.record.key, fallen.record.headers)
    damaged = request(2)._replace(headers=[(FACTS_HEADER, b"{damaged"), (REASON_HEADER, b"timeout")])
    sent = [first, *pipeline.send([again, damaged])]
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    kinds = [by_place(outcomes)[record.place].kind for record in sent]
    assert kinds == ["low_confidence", "low_confidence", "remote"]
    for record in pipeline.records("doubtful"):
        assert [name for name, _ in record.headers].count(FACTS_HEADER) == 1
    for outcome in outcomes:
        if outcome.topic == "fallback":
            assert [name for name, _ in outcome.record.headers].count(REASON_HEADER) == 1


def test_a_value_too_large_for_the_next_topic_stays_at_the_source(setup: Setup) -> None:
    _, pipeline = setup()
    pipeline.alter("doubtful", max_message_bytes="20000")
    padded = request(1, padding="x" * 50_000)
    sent = pipeline.send([request(0), padded, request(2), padded, request(3, local=0.95)])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    found = by_place(outcomes)
    assert [found[record.place].kind for record in sent] == ["remote", "too_large", "remote", "too_large", "local"]
    for record in (sent[1], sent[3]):
        too_large = found[record.place]
        assert (too_large.record.value, too_large.record.key) == (b"", record.key)
        assert too_large.facts is not None
        assert too_large.facts.value_omitted == len(record.value or b"")


def test_a_record_that_nothing_but_its_key_makes_too_large_does_not_stop_the_stream(setup: Setup) -> None:
    _, pipeline = setup(partitions=1)
    for role in ("doubtful", "fallback"):
        pipeline.alter(role, max_message_bytes="20000")
    sent = pipeline.send([request(0), request(1)._replace(key=b"k" * 30_000), request(2)])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    too_large = by_place(outcomes)[sent[1].place]
    assert (too_large.kind, too_large.record.key, too_large.record.value) == ("too_large", None, b"")


def test_a_limit_lowered_while_the_worker_runs(setup: Setup) -> None:
    """The worker's own check lets through what the broker refuses: whole batches, and single records in them."""
    _, pipeline = setup(partitions=1)
    pipeline.ready_worker()
    pipeline.alter("doubtful", max_message_bytes="6000")
    large = {7, 8, 19}
    sent = pipeline.send([request(n, padding="x" * (10_000 if n in large else 100)) for n in range(24)])
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    found = by_place(outcomes)
    kinds = [found[record.place].kind for record in sent]
    assert kinds == ["too_large" if n in large else "remote" for n in range(24)]


def test_a_timestamp_that_the_next_topic_would_refuse_is_not_sent_on(setup: Setup) -> None:
    _, pipeline = setup(partitions=1)
    pipeline.alter("doubtful", message_timestamp_before_max_ms="3600000")
    now = int(time.time() * 1000)
    ages = [0, 0, 7_200_000, 0, 0]
    sent = pipeline.send([request(n)._replace(timestamp=now - age) for n, age in enumerate(ages)])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    found = by_place(outcomes)
    assert [found[record.place].kind for record in sent] == ["remote"] * 5
    result = found[sent[2].place].result
    assert result is not None
    assert result.requested_ms == now - ages[2]


def test_a_record_that_a_compacted_topic_refuses_falls_back_with_the_brokers_words(setup: Setup) -> None:
    """Without a key. The client knows the error by no name, and one batch holds records with keys and without."""
    _, pipeline = setup(partitions=1)
    pipeline.alter("results", cleanup_policy="compact")
    local = [request(n, local=0.95)._replace(key=None if n in {1, 4, 5} else b"key") for n in range(8)]
    sent = pipeline.send(local)
    worker = pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    found = by_place(outcomes)
    kinds = [found[record.place].kind for record in sent]
    assert kinds == ["invalid_request" if n in {1, 4, 5} else "local" for n in range(8)]
    facts = found[sent[1].place].facts
    assert facts is not None
    assert "Compacted topic cannot accept message without key" in (facts.detail or "")
    assert worker.actions()["record_refused"] == 3
    assert worker.actions()["transaction_lost"] == 0, "it was known which ones, and why"


def test_where_fallback_refuses_too_the_partition_stops_and_the_others_go_on(setup: Setup) -> None:
    _, pipeline = setup(partitions=2)
    for role in ("results", "fallback"):
        pipeline.alter(role, cleanup_policy="compact")
    keyless = request(0, local=0.95)._replace(key=None, partition=0)
    worker = pipeline.ready_worker()
    pipeline.wait_for_outcomes(pipeline.send([request(n, local=0.95)._replace(partition=n % 2) for n in range(4)]))
    stopped = pipeline.send([keyless])
    worker.wait_for("partition_stopped")
    (line,) = [line for line in worker.told() if line["action"] == "partition_stopped"]
    assert "the broker refuses the fallback of offset" in line["message"]
    assert "without key" in line["message"]
    assert worker.actions()["record_refused"] == 1, "no loop"
    after = pipeline.send([request(9, local=0.95)._replace(partition=1)])
    pipeline.wait_for_outcomes(after)
    at = pipeline.committed("local", "requests", 0)
    assert at is not None
    assert at.offset == stopped[0].offset, "it waits, and is not lost"


def test_a_batch_that_unpacks_to_a_gigabyte_falls_back_and_takes_no_memory(setup: Setup) -> None:
    """Some 30 kilobytes on the wire, a gigabyte unpacked. Unbounded, the worker took as much as there was."""
    _, pipeline = setup(partitions=1)
    before = pipeline.send([request(n) for n in range(3)])
    offset = asyncio.run(produce(pipeline.servers, pipeline.tp("requests", 0), batch_of(4, 1 << 30)))
    after = pipeline.send([request(n) for n in range(4, 7)])
    sent = [*before, Sent(None, partition=0, offset=offset), *after]
    worker = pipeline.worker()
    pipeline.wait_for_outcomes(sent)
    megabytes = worker.most_megabytes
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    bomb = by_place(outcomes)[0, offset]
    assert (bomb.kind, bomb.record.value, bomb.record.key) == ("too_large", b"", None)
    assert bomb.facts is not None
    assert "more than [stream] window_bytes" in (bomb.facts.detail or "")
    assert worker.actions()["batch_too_large"] == 1
    assert megabytes < 400


@pytest.mark.parametrize("role", ["doubtful", "answers"])
def test_a_foreign_record_in_an_internal_topic(setup: Setup, role: str) -> None:
    """It has no request behind it: it falls back under its own place, and the stream goes on."""
    _, pipeline = setup(partitions=1)
    pipeline.send([Sent(orjson.dumps({"input": [1, 0.5, 0.9, 0]}))], role)
    sent = pipeline.send([request(0)])
    pipeline.worker()
    pipeline.settle(sent)
    (fallen,) = pipeline.records("fallback")
    assert dict(fallen.headers)[REASON_HEADER] == b"invalid_request"


def test_a_deadline_in_the_past_is_not_paid_for(setup: Setup) -> None:
    remote, pipeline = setup()
    late = request(1, deadline_ms=1_700_000_000_000)
    header = request(2)._replace(headers=[("bisupervised-deadline-ms", b"1700000000000")])
    sent = pipeline.send([late, header, request(3, local=0.95, deadline_ms=1_700_000_000_000)])
    pipeline.worker()
    found = by_place(pipeline.settle(sent))
    assert [found[record.place].kind for record in sent] == ["timeout", "timeout", "local"]
    assert remote.calls == 0


class _NotText(str):
    """A header's name as producers in other languages may write it: any bytes."""

    __slots__ = ()

    def encode(self, _encoding: str = "utf-8", _errors: str = "strict") -> bytes:
        return b"\xff\xfe"


async def _send_unreadable(pipeline: Pipeline, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=pipeline.servers, acks="all")
    async with producer:
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 100_000)  # the compiled one takes text only
        batch.append(timestamp=1_700_000_000_000, key=b"key", value=value, headers=[(_NotText(), b"1"), ("n", None)])
        batch.append(timestamp=1_700_000_000_000, key=None, value=None)
        await (await producer.send_batch(batch, pipeline.topic("requests"), partition=0))


def test_a_header_name_that_is_no_text_stops_nobody(setup: Setup) -> None:
    """The client's parser raises on it, for every worker, again and again."""
    _, pipeline = setup(partitions=1)
    before = pipeline.send([request(n) for n in range(30)])
    asyncio.run(_send_unreadable(pipeline, request(30, remote=0.4).value or b""))
    after = pipeline.send([request(n) for n in range(32, 62)])
    odd = [Sent(b"", partition=0, offset=offset) for offset in (30, 31)]
    worker = pipeline.worker()
    outcomes = pipeline.settle([*before, *odd, *after])
    check_exactly_once([*before, *odd, *after], outcomes)
    found = by_place(outcomes)
    assert (found[0, 30].kind, found[0, 31].kind) == ("low_confidence", "invalid_request")
    assert found[0, 30].record.headers[0] == ("\ufffd\ufffd", b"1")
    assert worker.actions()["header_name_damaged"] == 1
