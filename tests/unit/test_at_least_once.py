"""Sending without transactions, over a producer and a consumer that are played. Time is virtual."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import OffsetAndMetadata
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.errors import Lost, RecordsRefused
from bisupervised.streams.kafka.refusals import Refusal
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.outbox import AtLeastOnce
from bisupervised.streams.plane.sending.routing import Router
from bisupervised.streams.plane.window.marks import Progress
from support.records import record_batch
from support.virtual_time import on_virtual_time

SOURCE = TopicPartition("requests", 0)
POLICY = OutboxPolicy(Connection("nowhere"), "shop-local", 10.0, 5.0, watchdog_s=60.0)


class Wire:
    """Producer and consumer in one; `done` is the order in which things come to their end."""

    batch_bytes = 1 << 20

    def __init__(self, send_s: float = 0.0, commit_s: float = 0.0, *fails: KafkaError) -> None:
        self.done: list[str] = []
        self.committed: list[int] = []
        self.batches: list[Any] = []  # as they were sent
        self.breaks = ""  # what the connection breaks under
        self._send_s, self._commit_s, self._fails = send_s, commit_s, list(fails)

    def create_batch(self) -> Any:
        return record_batch(self.batch_bytes)

    async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Task[None]:
        self.batches.append(batch)
        return asyncio.create_task(self._arrive())

    async def _arrive(self) -> None:
        await asyncio.sleep(self._send_s)
        self.done.append("records")
        if self.breaks == "records":
            raise KafkaError
        if self._fails:
            raise self._fails.pop(0)

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        await asyncio.sleep(self._commit_s)
        self.done.append("offset")
        if self.breaks == "offset":
            raise KafkaError
        if self._fails:
            raise self._fails.pop(0)
        self.committed.append(offsets[SOURCE].offset)

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


async def outbox(wire: Any) -> AtLeastOnce:
    router = Router({"results": "results"}, "requests", {"results": 1000})
    made = AtLeastOnce(POLICY, SOURCE, router, wire)
    made._routing = await router.learn(wire)
    made.sender._producer = wire
    return made


OUTCOME = Outgoing("results", None, b"x", (), 0)


@on_virtual_time
async def test_an_offset_is_committed_after_its_records_arrived_and_beside_the_next_ones() -> None:
    wire = Wire(send_s=1.0, commit_s=0.5)
    made = await outbox(wire)
    began = asyncio.get_running_loop().time()
    assert await made.send([OUTCOME], Progress(1)) is None
    assert wire.committed == []
    assert await made.send([OUTCOME], Progress(2)) == Progress(1)
    assert wire.done == ["records", "offset", "records"]
    assert wire.committed == [1]
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0), "side by side"


@on_virtual_time
async def test_with_nothing_to_send_all_that_arrived_is_committed() -> None:
    wire = Wire()
    made = await outbox(wire)
    await made.send([OUTCOME], Progress(1))
    assert await made.send([], Progress(3)) == Progress(3)
    assert await made.send([OUTCOME], Progress(4)) is None, "nothing is owed any more"
    assert wire.committed == [3]


@pytest.mark.parametrize(("send_s", "commit_s"), [(0.1, 1.0), (1.0, 0.1)])
def test_what_fails_beside_the_other_is_told_when_both_have_ended(send_s: float, commit_s: float) -> None:
    @on_virtual_time
    async def scenario() -> None:
        wire = Wire(send_s, commit_s)
        made = await outbox(wire)
        await made.send([OUTCOME], Progress(1))
        wire._fails = [CommitFailedError()]
        with pytest.raises(Lost):
            await made.send([OUTCOME], Progress(2))
        assert sorted(wire.done) == ["offset", "records", "records"]

    scenario()


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize(("send_s", "commit_s"), [(0.1, 1.0), (1.0, 0.1)])
def test_a_loss_says_whether_the_records_arrived(send_s: float, commit_s: float, arrived: bool) -> None:
    """Then they are not sent again."""

    @on_virtual_time
    async def scenario() -> None:
        wire = Wire(send_s, commit_s)
        made = await outbox(wire)
        await made.send([OUTCOME], Progress(1))
        wire.breaks = "offset" if arrived else "records"
        with pytest.raises(Lost) as lost:
            await made.send([OUTCOME], Progress(2))
        assert lost.value.arrived is arrived

    scenario()


@on_virtual_time
async def test_a_partition_is_shown_to_be_ours_by_a_commit_that_changes_nothing() -> None:
    wire = Wire()
    made = await outbox(wire)
    await made.confirm(Progress(7))
    assert wire.committed == [7]
    wire._fails = [CommitFailedError()]
    with pytest.raises(Lost):
        await made.confirm(Progress(7))


@on_virtual_time
async def test_refused_records_do_not_hide_that_the_offset_before_was_committed() -> None:
    wire = Wire(send_s=0.1, commit_s=1.0)
    made = await outbox(wire)
    await made.send([OUTCOME], Progress(1))
    wire._fails = [Refusal(10)]
    with pytest.raises(RecordsRefused):
        await made.send([OUTCOME], Progress(2))
    assert wire.committed == [1]


@on_virtual_time
async def test_record_batches_hold_every_outcome_in_order_and_know_how_many() -> None:
    """The broker takes a batch only where its count and its records agree, and the next one only where it follows."""
    wire = Wire()
    wire.batch_bytes = 400
    made = await outbox(wire)
    values = [b"%d" % number * 40 for number in range(10)]
    await made.send([Outgoing("results", b"key", value, (), 1) for value in values], Progress(1))
    read = [list(DefaultRecordBatch(bytes(batch._build()))) for batch in wire.batches]
    assert [batch.record_count() for batch in wire.batches] == [len(records) for records in read]
    assert len(read) > 1
    assert [record.value for records in read for record in records] == values
    assert [[record.offset for record in records] for records in read] == [
        list(range(len(records))) for records in read
    ]


@on_virtual_time
async def test_after_a_loss_nothing_is_owed_for_it_may_have_been_sent_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    made = await outbox(wire)
    monkeypatch.setattr(made.sender, "_make_producer", lambda: wire)
    await made.send([OUTCOME], Progress(1))
    await made.open()
    assert await made.send([OUTCOME], Progress(2)) is None
    assert wire.committed == []
    await made.close()


@on_virtual_time
async def test_a_commit_without_an_answer_is_given_up() -> None:
    wire = Wire(commit_s=100.0)
    made = await outbox(wire)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Lost):
        await made.send([], Progress(1))
    assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)


class Stuck(Wire):
    """A producer whose connections never end, and that does not hear when it is told not to wait for them."""

    async def stop(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600.0)
        await asyncio.sleep(3600.0)


@on_virtual_time
async def test_closing_does_not_wait_for_a_producer_that_does_not_end() -> None:
    made = await outbox(Stuck())
    began = asyncio.get_running_loop().time()
    await made.close()
    assert asyncio.get_running_loop().time() - began < 10.0


@on_virtual_time
async def test_without_a_producer_nothing_is_committed_either() -> None:
    wire = Wire()
    made = await outbox(wire)
    assert await made.send([Outgoing("results", None, b"1", (), 0)], Progress(1)) is None
    made.discard()
    with pytest.raises(Lost):
        await made.send([Outgoing("results", None, b"2", (), 0)], Progress(2))
    assert wire.committed == []
