"""Requests older than what the topics keep: a backlog, a mirror, event time. The broker deletes by timestamps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from bisupervised.streams.sandbox.broker import Broker
from support.pipeline import Pipeline, Setup, check_exactly_once, check_kinds, mixed, wait_until

#: the broker looks for what is too old every second, not every five minutes
PROPERTIES = {"log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "500"}
DAY_MS = 86_400_000
OLD_MS = round(time.time() * 1000) - 8 * DAY_MS
#: bears a record as old as the requests: it is deleted once the broker has looked
WITNESS = TopicPartition("witness", 0)


@pytest.fixture(scope="module")
def deleting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("deleting"), properties=PROPERTIES) as running:
        asyncio.run(make_witness(running.bootstrap_servers))
        yield running


async def make_witness(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(WITNESS.topic, 1, 1)])
    finally:
        await admin.close()


def wait_for_a_look(servers: str) -> None:
    """Until the broker has deleted a record that was written now and is as old as the requests."""

    async def look() -> None:
        async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
            written = await producer.send_and_wait(WITNESS.topic, b"old", partition=0, timestamp_ms=OLD_MS)
        async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
            async with asyncio.timeout(30):
                while (await consumer.beginning_offsets([WITNESS]))[WITNESS] <= written.offset:  # noqa: ASYNC110  # the broker tells nobody
                    await asyncio.sleep(0.1)

    asyncio.run(look())


def run_alone(pipeline: Pipeline, agent: str, written: str, count: int) -> None:
    """One agent until its topic has so many records; then the broker looks for what is too old."""
    worker = pipeline.worker(agent)
    wait_until(lambda: len(pipeline.records(written)) == count, written, explain=worker.tail)
    assert worker.stop() == 0
    wait_for_a_look(pipeline.servers)


@pytest.mark.parametrize("timestamps", ["LogAppendTime", "CreateTime"])
def test_requests_older_than_the_retention_get_their_outcomes(setup: Setup, deleting: Broker, timestamps: str) -> None:
    """Also on topics that were made otherwise, which the worker names: what waits there bears the time of now."""
    _, pipeline = setup(deleting.bootstrap_servers, topics={"retention_hours": 168})
    pipeline.alter("requests", retention_ms="-1")
    if timestamps == "CreateTime":
        for role in ("doubtful", "answers", "fallback"):
            pipeline.alter(role, message_timestamp_type="CreateTime")
    sent = pipeline.send([record._replace(timestamp=OLD_MS) for record in mixed(30)])
    run_alone(pipeline, "local", "doubtful", 20)
    run_alone(pipeline, "remote", "answers", 20)
    judge = pipeline.worker("remote_supervisor")
    pipeline.wait_for_outcomes(sent)
    wait_for_a_look(pipeline.servers)
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    for outcome in outcomes:
        told = outcome.result or outcome.facts
        assert told is not None
        assert told.requested_ms == OLD_MS
    assert judge.actions()["topic_timestamps"] == (2 if timestamps == "CreateTime" else 0), "answers and fallback"
