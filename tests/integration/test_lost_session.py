"""A member that its group has dropped, and that lives: it cannot close its partitions, and says that nothing died."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.protocol.group import LeaveGroupRequest
from support.models import HANGS
from support.pipeline import Pipeline, Setup, Worker, check_at_least_once, mixed, request, wait_until

LOCAL = "local"


def drop_the_owner(pipeline: Pipeline, partition: int) -> None:
    """The group drops who owns it, as if no heartbeat had come: nobody waits for a session to end."""
    asyncio.run(_drop(pipeline, partition))


async def _drop(pipeline: Pipeline, partition: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.servers)
    await admin.start()
    try:
        group = pipeline.group(LOCAL)
        node = await admin.find_coordinator(group)
        member = await _owner(admin, group, partition)
        told = await admin._client.send(node, LeaveGroupRequest(group, member))
        assert told.error_code == 0
    finally:
        await admin.close()


async def _owner(admin: Any, group: str, partition: int) -> str:
    async with asyncio.timeout(30.0):
        while True:
            (described,) = await admin.describe_consumer_groups([group])
            for member, *_, assigned in described.groups[0][5]:
                if assigned and any(
                    place.partition == partition
                    for place in ConsumerProtocolMemberAssignment.decode(assigned).partitions()
                ):
                    return str(member)
            await asyncio.sleep(0.1)


def lines(workers: list[Worker], action: str, partition: int) -> list[str]:
    """What the workers told of a partition of `requests`."""
    place = f"requests', partition={partition}"
    told = [line for worker in workers for line in worker.told() if line.get("action") == action]
    return [text for line in told if place in (text := str(line["message"])) or f"requests-{partition} " in text]


@pytest.mark.long(20)
def test_a_member_that_was_dropped_and_lives_is_believed_unless_an_input_hangs(setup: Setup) -> None:
    _, pipeline = setup(stream={"delivery": "at_least_once", "drain_s": 1.0})
    workers = [pipeline.ready_worker(), pipeline.worker()]
    workers[1].wait_for("partition_acquired", 3)
    sent = pipeline.send([record._replace(partition=n % 2) for n, record in enumerate(mixed(60))])
    pipeline.wait_for_outcomes(sent)

    acquired = len(lines(workers, "partition_acquired", 0))
    drop_the_owner(pipeline, 0)
    wait_until(lambda: lines(workers, "suspicion_lifted", 0) != [], "a word of the former owner")
    assert len(lines(workers, "partition_acquired", 0)) > acquired, "another had it in between"
    again = pipeline.send([record._replace(partition=n % 2) for n, record in enumerate(mixed(60))])
    pipeline.wait_for_outcomes(again)
    stored = pipeline.committed(LOCAL, "requests", 0)
    assert stored is not None
    assert stored.metadata.split(";")[2] == "n", "nobody is careful any more"
    check_at_least_once([*sent, *again], pipeline.outcomes())

    lifted, acquired = len(lines(workers, "suspicion_lifted", 0)), len(lines(workers, "partition_acquired", 0))
    pipeline.send([request(0, mark=HANGS)._replace(partition=0)])
    wait_until(lambda: _at_hand(pipeline) == "n", "the hanging input is handed out")
    drop_the_owner(pipeline, 0)
    wait_until(lambda: _at_hand(pipeline) in ("B", "a0", "a1"), "the next owner tries it as a suspect")
    wait_until(lambda: len(lines(workers, "partition_acquired", 0)) >= acquired + 2, "its former owner joins again")
    assert len(lines(workers, "suspicion_lifted", 0)) == lifted, "it acquitted itself"


def _at_hand(pipeline: Pipeline) -> str:
    stored = pipeline.committed(LOCAL, "requests", 0)
    return "" if stored is None else str(stored.metadata.split(";")[2])
