"""A member that stops while its group forms anew: the group waits for it no more."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from bisupervised.streams.kafka.consumer import leave_group
from support.pipeline import Pipeline, Setup


class Draining(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Gives its partitions up only when it is told to, as one whose work in flight has not ended."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        if revoked:
            self.asked.set()
            await self.ended.wait()

    async def on_partitions_assigned(self, assigned: Any) -> None: ...


def test_one_that_stops_in_a_rebalance_leaves_before_the_others_have_drained(setup: Setup) -> None:
    _, pipeline = setup()
    asyncio.run(_leaving(pipeline))


async def _leaving(pipeline: Pipeline) -> None:
    drains = Draining()
    slow = await member(pipeline, drains)
    await assigned(slow)
    leaving = await member(pipeline)  # it joins: the group waits until `slow` has drained
    await asyncio.wait_for(drains.asked.wait(), 30.0)
    while not leaving._coordinator.member_id:  # noqa: ASYNC110  # the client tells nobody
        await asyncio.sleep(0.05)
    stopping = asyncio.create_task(leaving.stop())
    await asyncio.wait({stopping}, timeout=1.0)
    assert not stopping.done(), "the client itself waits for the rebalance"
    await leave_group(leaving)
    await asyncio.wait_for(stopping, 5.0)
    drains.ended.set()
    await assigned(slow)
    assert len(slow.assignment()) == pipeline.partitions, "nothing was given to the one that left"
    await slow.stop()


async def member(pipeline: Pipeline, listener: Draining | None = None) -> Any:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=pipeline.servers,
        group_id=pipeline.group("local"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=10_000,
        heartbeat_interval_ms=300,
        rebalance_timeout_ms=60_000,
    )
    await consumer.start()
    consumer.subscribe([pipeline.topic("requests")], listener=listener or Draining())
    return consumer


async def assigned(consumer: Any) -> None:
    async with asyncio.timeout(30.0):
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=100)
