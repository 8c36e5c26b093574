"""A member that its group has dropped, and that lives: it cannot close its partitions, and says that nothing died."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.protocol.group import LeaveGroupRequest
from bisupervised.streams.kafka.consumer import Dealing
from bisupervised.streams.plane.window.acquittal import Word, words_from
from support.models import HANGING, HANGS
from support.pipeline import Pipeline, Sent, Setup, Worker, check_at_least_once, mixed, request, wait_until

LOCAL = "local"


def drop_the_owner(pipeline: Pipeline) -> None:
    """The group drops who owns partition 0, as if no heartbeat had come: nobody waits for a session to end."""
    asyncio.run(_drop(pipeline))


async def _drop(pipeline: Pipeline) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.servers)
    await admin.start()
    try:
        group = pipeline.group(LOCAL)
        node = await admin.find_coordinator(group)
        left = await admin._client.send(node, LeaveGroupRequest(group, await _owner(admin, group)))
        assert left.error_code == 0
    finally:
        await admin.close()


def count_members(pipeline: Pipeline) -> int:
    """How many have joined, also while the group waits for the others."""
    return asyncio.run(_count_members(pipeline))


async def _count_members(pipeline: Pipeline) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.servers)
    await admin.start()
    try:
        return len(await _members(admin, pipeline.group(LOCAL)))
    finally:
        await admin.close()


async def _members(admin: Any, group: str) -> list[Any]:
    (described,) = await admin.describe_consumer_groups([group])
    return list(described.groups[0][5])


async def _owner(admin: Any, group: str) -> str:
    async with asyncio.timeout(30.0):
        while True:
            for member, *_, assigned in await _members(admin, group):
                places = ConsumerProtocolMemberAssignment.decode(assigned).partitions() if assigned else []
                if any(place.partition == 0 for place in places):
                    return str(member)
            await asyncio.sleep(0.1)


@contextmanager
def frozen(worker: Worker) -> Iterator[None]:
    """It neither runs nor ends. Who joins the group first, it or another, is left to the test and not to heartbeats."""
    worker.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.signal(signal.SIGCONT)


def two_workers(pipeline: Pipeline) -> list[Worker]:
    """Each has a part of each group."""
    workers = [pipeline.ready_worker(), pipeline.worker()]
    workers[1].wait_for("partition_acquired", 3)
    return workers


def told(workers: list[Worker], action: str, topic: str) -> list[str]:
    """When the workers told this of partition 0 of a topic."""
    return sorted(
        line["time"]
        for worker in workers
        for line in worker.told()
        if (line.get("action"), line.get("topic"), line.get("partition")) == (action, topic, 0)
    )


def by_owner(workers: list[Worker], topic: str) -> list[Worker]:
    """The one that owns partition 0 of a topic, and then the other."""
    return sorted(workers, key=lambda each: max(told([each], "partition_acquired", topic), default=""), reverse=True)


def send(pipeline: Pipeline) -> list[Sent]:
    """Requests to both partitions."""
    return pipeline.send([record._replace(partition=n % 2) for n, record in enumerate(mixed(60))])


def send_and_settle(pipeline: Pipeline) -> list[Sent]:
    """All is answered, and is committed of partition 0: an outcome is sent before its progress is committed."""
    sent = send(pipeline)
    pipeline.wait_for_outcomes(sent)
    end = 1 + max(record.offset for record in sent if record.partition == 0)
    wait_until(lambda: _progress(pipeline) >= end, "the progress")
    return sent


@pytest.mark.long(20)
def test_a_member_that_was_dropped_and_lives_is_believed_unless_an_input_hangs(setup: Setup) -> None:
    _, pipeline = setup(stream={"delivery": "at_least_once", "drain_s": 1.0})
    workers = two_workers(pipeline)
    topic = pipeline.topic("requests")
    sent = send_and_settle(pipeline)

    former, other = by_owner(workers, topic)
    acquired, progress = len(told([other], "partition_acquired", topic)), _progress(pipeline)
    with frozen(former):
        drop_the_owner(pipeline)
        again = send(pipeline)
        wait_until(lambda: len(told([other], "partition_acquired", topic)) > acquired, "another has it in between")
        wait_until(lambda: _progress(pipeline) > progress, "it stores more than the word is about")
        assert _at_hand(pipeline) in ("b", "B"), "it is careful"
        assert not told(workers, "suspicion_lifted", topic), "it has heard nothing"
    wait_until(lambda: bool(told(workers, "suspicion_lifted", topic)), "a word of the former owner")
    again += send_and_settle(pipeline)
    wait_until(lambda: _at_hand(pipeline) == "n", "an owner that is careful no more")
    pipeline.wait_for_outcomes(again)
    check_at_least_once([*sent, *again], pipeline.outcomes())

    lifted, acquired = told(workers, "suspicion_lifted", topic), len(told(workers, "partition_acquired", topic))
    pipeline.send([request(0, mark=HANGS)._replace(partition=0)])
    wait_until((pipeline.folder / HANGING).exists, "the model to hang")
    former, _ = by_owner(workers, topic)
    with frozen(former):
        drop_the_owner(pipeline)
        wait_until(lambda: _at_hand(pipeline) in ("B", "a0", "a1"), "the next owner tries it as a suspect")
    wait_until(lambda: len(told(workers, "partition_acquired", topic)) >= acquired + 2, "its former owner joins again")
    assert told(workers, "suspicion_lifted", topic) == lifted, "it acquitted itself"


def test_a_member_that_was_dropped_and_joins_before_the_others_is_believed_at_once(setup: Setup) -> None:
    _, pipeline = setup(stream={"delivery": "at_least_once", "drain_s": 1.0})
    workers = two_workers(pipeline)
    topic = pipeline.topic("requests")
    sent = send_and_settle(pipeline)

    _, other = by_owner(workers, topic)
    acquired = len(told(workers, "partition_acquired", topic))
    with frozen(other):
        drop_the_owner(pipeline)
        wait_until(lambda: count_members(pipeline) == 2, "the former owner joins again")
    wait_until(lambda: len(told(workers, "partition_acquired", topic)) > acquired, "the next owner")
    assert told(workers, "suspicion_lifted", topic), "it had heard the word before it took over"
    again = send_and_settle(pipeline)
    wait_until(lambda: _at_hand(pipeline) == "n", "an owner that is careful no more")
    check_at_least_once([*sent, *again], pipeline.outcomes())


def test_a_group_holds_workers_of_both_versions_whoever_leads_it(setup: Setup) -> None:
    """A worker of the version before deals as the client does by itself. It hears no word, and passes none on."""
    _, pipeline = setup()
    asyncio.run(_mixed(pipeline))


async def _mixed(pipeline: Pipeline) -> None:
    place, heard = pipeline.tp("requests", 0), dict[TopicPartition, object]()
    ours = Dealing(lambda: {place: [Word("print", "n", "c")]}, heard.update)
    for first, second in ((RoundRobinPartitionAssignor, ours), (ours, RoundRobinPartitionAssignor)):
        leader = await _member(pipeline, first)
        follower = await _member(pipeline, second)
        async with asyncio.timeout(30.0):
            while len(leader.assignment()) != 1 or len(follower.assignment()) != 1:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.05)
        assert leader.assignment() != follower.assignment()
        await follower.stop()
        await leader.stop()
    words = {tp: words_from(told) for tp, told in heard.items()}
    assert words == {place: [Word("print", "n", "c")]}, "from itself: it led alone"


async def _member(pipeline: Pipeline, dealing: Any) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        pipeline.topic("requests"),
        bootstrap_servers=pipeline.servers,
        group_id=pipeline.group(LOCAL),
        enable_auto_commit=False,
        heartbeat_interval_ms=300,
        partition_assignment_strategy=(dealing,),
    )
    await consumer.start()
    return consumer


def _at_hand(pipeline: Pipeline) -> str:
    """The phase that is stored."""
    return _stored(pipeline)[1]


def _progress(pipeline: Pipeline) -> int:
    return _stored(pipeline)[0]


def _stored(pipeline: Pipeline) -> tuple[int, str]:
    stored = pipeline.committed(LOCAL, "requests", 0)
    return (0, "") if stored is None else (stored.offset, stored.metadata.split(";")[2])
