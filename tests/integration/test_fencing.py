"""Who may write: one owner at a time, and only from progress that belongs to this topic."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.errors import Lost
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.coordinator import Coordinator
from bisupervised.streams.plane.sending.outbox import ExactlyOnce
from bisupervised.streams.plane.sending.routing import Router
from bisupervised.streams.plane.window.marks import Progress
from support.pipeline import Pipeline, Setup, check_exactly_once, mixed, request, wait_until


def coordinator(pipeline: Pipeline) -> Coordinator:
    return Coordinator(Connection(pipeline.servers), pipeline.group("local"))


def outbox(pipeline: Pipeline, asking: Coordinator) -> ExactlyOnce:
    policy = OutboxPolicy(
        Connection(pipeline.servers),
        pipeline.group("local"),
        transaction_timeout_s=15,
        request_timeout_s=10,
        watchdog_s=20,
    )
    router = Router({"results": pipeline.topic("results")}, pipeline.topic("requests"))
    return ExactlyOnce(policy, pipeline.tp("requests", 0), router, asking)


def record(value: bytes) -> Outgoing:
    return Outgoing("results", b"key", value, (), 1_700_000_000_000)


def test_nothing_of_a_zombie_appears(setup: Setup) -> None:
    """The former owner wakes up with records sent and not committed, and tries to go on."""
    _, pipeline = setup()
    asyncio.run(_zombie(pipeline))
    wait_until(lambda: _committed(pipeline) == 2, "the heir's marker")  # a broker writes it after it has answered
    wait_until(lambda: len(pipeline.records("results")) >= 2, "the heir's record")
    assert [found.value for found in pipeline.records("results")] == [b"first", b"of the heir"]


def _committed(pipeline: Pipeline) -> int:
    """The offset that the local agent has committed of the first partition; 0 for none."""
    stored = pipeline.committed("local", "requests", 0)
    return 0 if stored is None else int(stored.offset)


async def _zombie(pipeline: Pipeline) -> None:
    asking = coordinator(pipeline)
    zombie, heir = outbox(pipeline, asking), outbox(pipeline, asking)
    await zombie.open()
    await zombie.send([record(b"first")], Progress(1))
    producer = zombie.sender.producer
    await producer.begin_transaction()
    await zombie.sender.deliver([record(b"of the zombie")], [(pipeline.topic("results"), 0)])
    await heir.open()
    with pytest.raises(KafkaError):
        await producer.commit_transaction()
    await heir.send([record(b"of the heir")], Progress(2))
    with pytest.raises(Lost):
        await zombie.send([record(b"of the zombie, again")], Progress(9))
    await zombie.close()
    await heir.close()
    await asking.close()


def test_a_partition_whose_committed_offset_makes_no_sense_stops_alone(setup: Setup) -> None:
    """One offset beyond the end, one with marks that are not ours; the third partition goes on."""
    _, pipeline = setup(partitions=3)
    sent = pipeline.send([request(n)._replace(partition=n % 3) for n in range(30)])
    pipeline.commit("local", "requests", 0, 5_000)
    pipeline.commit("local", "requests", 1, 2, "written by something else")
    worker = pipeline.worker()
    pipeline.wait_for_outcomes(sent[2::3])
    worker.wait_for("partition_stopped", 2)
    more = pipeline.send([request(n)._replace(partition=2) for n in range(10)])
    outcomes = pipeline.settle(more)
    check_exactly_once([*sent[2::3], *more], outcomes)
    stopped = [line["message"] for line in worker.told() if line.get("action") == "partition_stopped"]
    assert sorted("partition=0" in text for text in stopped) == [False, True]
    untouched = pipeline.committed("local", "requests", 1)
    assert untouched is not None
    assert (untouched.offset, untouched.metadata) == (2, "written by something else")


def test_an_offset_set_by_hand_is_where_it_goes_on(setup: Setup) -> None:
    _, pipeline = setup(partitions=1)
    sent = pipeline.send([request(n) for n in range(20)])
    pipeline.commit("local", "requests", 0, 12)
    pipeline.worker()
    check_exactly_once(sent[12:], pipeline.settle(sent[12:]))


def test_a_recreated_topic_stops_its_readers_and_nobody_else(setup: Setup) -> None:
    _, pipeline = setup(partitions=1)
    first = pipeline.send(mixed(30))
    pipeline.worker()
    pipeline.settle(first)
    stored = pipeline.committed("local", "requests", 0)
    assert stored is not None
    pipeline.recreate("requests")
    pipeline.send(mixed(60))
    pipeline.commit("local", "requests", 0, *stored)  # Kafka forgets offsets with their topic; a backup does not
    worker = pipeline.worker()
    worker.wait_for("partition_stopped")
    worker.wait_for("partition_acquired", 2)
    assert worker.stop() == 0
    (told,) = [line["message"] for line in worker.told() if line.get("action") == "partition_stopped"]
    assert "belongs to another topic" in told
    assert len(pipeline.outcomes()) == 30, "nothing was answered under the old marks"
    assert {line["action"] for line in worker.told() if line["level"] == "CRITICAL"} == {"partition_stopped"}


def test_a_topic_recreated_while_it_is_read_stops_it(setup: Setup) -> None:
    """Deleted and made again under a running worker: the old offset is beyond its end."""
    _, pipeline = setup(partitions=1)
    first = pipeline.send(mixed(30))
    worker = pipeline.worker()
    pipeline.wait_for_outcomes(first)
    pipeline.recreate("requests")
    worker.wait_for("partition_stopped")
    pipeline.send(mixed(60))
    assert worker.stop() == 0
    assert len(pipeline.outcomes()) == 30


def test_progress_committed_by_another_owner_is_respected(setup: Setup) -> None:
    """Somebody with our transactional id skipped five records; we notice, and go on from there."""
    _, pipeline = setup(partitions=1)
    first = pipeline.send([request(n) for n in range(10)])
    worker = pipeline.ready_worker()
    pipeline.wait_for_outcomes(first)
    wait_until(lambda: _committed(pipeline) == 10, "the commit of the first ten")
    asyncio.run(_skip(pipeline, 15))
    more = pipeline.send([request(n) for n in range(10)])
    outcomes = pipeline.settle(more[5:])
    check_exactly_once([*first, *more[5:]], outcomes)
    assert worker.actions()["progress_differs"] == 1


async def _skip(pipeline: Pipeline, offset: int) -> None:
    group, tp = pipeline.group("local"), pipeline.tp("requests", 0)
    transactional_id = f"{group}:{tp.topic}:{tp.partition}"
    producer = AIOKafkaProducer(bootstrap_servers=pipeline.servers, transactional_id=transactional_id)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_offsets_to_transaction({TopicPartition(*tp): OffsetAndMetadata(offset, "")}, group)
    finally:
        await producer.stop()
