"""Where partitions begin that have no committed offset: new ones, added ones, and those whose offsets are gone."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.requests import Bounds
from bisupervised.streams.plane.sending.coordinator import Coordinator
from support.pipeline import AGENTS, Pipeline, Setup, Worker, check_exactly_once, mixed, request


def impatient(pipeline: Pipeline, *more: str, name: str = "") -> Worker:
    command = ["support.impatient_worker", "worker", "--config", str(pipeline.config), *more]
    return pipeline.start(command, {"BISUPERVISED_NAME": name or pipeline.name})


def reasons(worker: Worker) -> list[str]:
    return [str(line["message"]) for line in worker.told() if line.get("action") == "partition_stopped"]


@pytest.mark.long(20)
def test_offsets_that_are_gone_stop_every_agent_until_a_person_says_to_begin_anew(setup: Setup) -> None:
    """Expired together with the ids of transactions, as under another name; and deleted, while the ids are known."""
    _, pipeline = setup(partitions=1)
    sent = pipeline.send(mixed(12))
    pipeline.worker()
    pipeline.settle(sent)
    for name, why in (("expired", "though outcomes of its work are there"), ("", "was owned before")):
        if not name:
            pipeline.delete_groups()
        worker = impatient(pipeline, name=name and f"{pipeline.name}-{name}")
        worker.wait_for("partition_stopped", AGENTS)
        assert all(why in reason and "--begin-anew" in reason for reason in reasons(worker)), reasons(worker)
        assert worker.stop() == 0
    assert len(pipeline.outcomes()) == len(sent), "nothing was answered, or paid, again"
    worker = impatient(pipeline, "--begin-anew")
    worker.wait_for("partition_acquired", AGENTS)
    assert worker.actions()["partition_begins_anew"] == AGENTS
    more = pipeline.send([request(number) for number in range(3)])
    pipeline.wait_for_outcomes([*sent, *more])
    assert worker.stop() == 0
    assert worker.actions()["partition_stopped"] == 0
    assert len(pipeline.outcomes()) >= 2 * len(sent) + len(more)


def test_a_first_start_is_free_of_friction(setup: Setup) -> None:
    """A first owner was killed before its first commit; agents start one after the other, and find others' outcomes."""
    _, pipeline = setup(partitions=2)

    async def open_and_die() -> None:
        name = f"{pipeline.group('local')}:{pipeline.topic('requests')}:0"
        producer = AIOKafkaProducer(bootstrap_servers=pipeline.servers, transactional_id=name)
        await producer.start()
        await producer.stop()

    asyncio.run(open_and_die())
    sent = pipeline.send([*mixed(30), request(30)._replace(value=b"no request")])
    local = pipeline.ready_worker("local")
    pipeline.wait_for_outcomes(sent[:30:3])
    pipeline.ready_worker("remote")
    rest = pipeline.ready_worker("remote_supervisor")
    check_exactly_once(sent, pipeline.settle(sent))
    for worker in (local, rest):
        assert not worker.actions().keys() & {"partition_stopped", "acquire_failed"}, worker.actions()


def test_what_arrived_in_an_added_partition_is_not_skipped(setup: Setup) -> None:
    """`start = "latest"` skips what was there when the pipeline first started, and nothing after that."""
    _, pipeline = setup(partitions=1, stream={"start": "latest"})
    pipeline.send([request(number) for number in range(3)])
    impatient(pipeline).wait_for("partition_acquired", AGENTS)
    pipeline.grow({"requests": 2})
    sent = pipeline.send([request(number)._replace(partition=number % 2) for number in range(20)])
    check_exactly_once(sent, pipeline.settle(sent))


def test_where_partitions_begin_and_end_is_told_as_a_consumer_tells_it(setup: Setup) -> None:
    """Of two topics, one of them with records that are not committed yet."""
    _, pipeline = setup(partitions=2)
    places = [pipeline.tp(role, number) for role in ("requests", "results") for number in range(2)]
    ours, consumers = asyncio.run(_bounds(pipeline, places))
    assert ours == consumers
    assert [ours[tp].end for tp in places] == [3, 0, 0, 0]


async def _bounds(
    pipeline: Pipeline, places: list[TopicPartition]
) -> tuple[dict[TopicPartition, Bounds], dict[TopicPartition, Bounds]]:
    asked = Coordinator(Connection(pipeline.servers), pipeline.group("local"))
    async with AIOKafkaProducer(bootstrap_servers=pipeline.servers, transactional_id=pipeline.name) as producer:
        async with producer.transaction():
            for _ in range(2):
                await producer.send(pipeline.topic("requests"), b"v", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(pipeline.topic("results"), b"v", partition=1)
        options = {"bootstrap_servers": pipeline.servers, "isolation_level": "read_committed"}
        async with AIOKafkaConsumer(**options) as consumer:
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        ours = await asked.bounds(places)
    await asked.close()
    return ours, {tp: Bounds(begins[tp], ends[tp]) for tp in places}
