"""A member that its group has dropped, and that lives: it cannot close its partitions, and says that nothing died."""

from __future__ import annotations

import asyncio
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
from support.pipeline import Pipeline, Setup, Worker, check_at_least_once, mixed, request, wait_until

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


async def _owner(admin: Any, group: str) -> str:
    async with asyncio.timeout(30.0):
        while True:
            (described,) = await admin.describe_consumer_groups([group])
            for member, *_, assigned in described.groups[0][5]:
                places = ConsumerProtocolMemberAssignment.decode(assigned).partitions() if assigned else []
                if any(place.partition == 0 for place in places):
                    return str(member)
            await asyncio.sleep(0.1)


def told(workers: list[Worker], action: str, topic: str) -> int:
    """How often the workers told this of partition 0 of a topic."""
    wanted = (action, topic, 0)
    return sum(
        (line.get("action"), line.get("topic"), line.get("partition")) == wanted
        for worker in workers
        for line in worker.told()
    )


@pytest.mark.long(20)
def test_a_member_that_was_dropped_and_lives_is_believed_unless_an_input_hangs(setup: Setup) -> None:
    _, pipeline = setup(stream={"delivery": "at_least_once", "drain_s": 1.0})
    workers = [pipeline.ready_worker(), pipeline.worker()]
    workers[1].wait_for("partition_acquired", 3)
    sent = pipeline.send([record._replace(partition=n % 2) for n, record in enumerate(mixed(60))])
    pipeline.wait_for_outcomes(sent)

    topic = pipeline.topic("requests")
    acquired = told(workers, "partition_acquired", topic)
    drop_the_owner(pipeline)
    again = pipeline.send([record._replace(partition=n % 2) for n, record in enumerate(mixed(60))])
    wait_until(lambda: told(workers, "suspicion_lifted", topic) > 0, "a word of the former owner")
    assert told(workers, "partition_acquired", topic) > acquired, "another had it in between"
    again += pipeline.send([record._replace(partition=n % 2) for n, record in enumerate(mixed(60))])
    pipeline.wait_for_outcomes(again)
    # an outcome is sent before its progress is committed
    wait_until(lambda: _at_hand(pipeline) == "n", "an owner that is careful no more")
    check_at_least_once([*sent, *again], pipeline.outcomes())

    lifted, acquired = told(workers, "suspicion_lifted", topic), told(workers, "partition_acquired", topic)
    pipeline.send([request(0, mark=HANGS)._replace(partition=0)])
    wait_until((pipeline.folder / HANGING).exists, "the model to hang")
    drop_the_owner(pipeline)
    wait_until(lambda: _at_hand(pipeline) in ("B", "a0", "a1"), "the next owner tries it as a suspect")
    wait_until(lambda: told(workers, "partition_acquired", topic) >= acquired + 2, "its former owner joins again")
    assert told(workers, "suspicion_lifted", topic) == lifted, "it acquitted itself"


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
    stored = pipeline.committed(LOCAL, "requests", 0)
    return "" if stored is None else str(stored.metadata.split(";")[2])
