"""The topics of a benchmark: making, filling, watching and reading them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, for_code
from aiokafka.partitioner import murmur2
from bisupervised.streams.sandbox.kafka_jars import BrokerError
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.reading import read_all

from .job import Outcome

#: timestamps are the broker's; a deleted topic soon frees its disk space
_CONFIG = {"message.timestamp.type": "LogAppendTime", "file.delete.delay.ms": "1000"}
_BATCH_BYTES = 512 * 1024
#: most seconds until a reader has come to the end
_READ_S = 120.0


@asynccontextmanager
async def admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, for the other functions of this module."""
    client = AIOKafkaAdminClient(bootstrap_servers=servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def make(client: AIOKafkaAdminClient, partitions: int, *names: str) -> None:
    """Make topics whose timestamps are the broker's."""
    topics = [NewTopic(name, partitions, 1, topic_configs=_CONFIG) for name in names]
    response = await client.create_topics(topics)
    refused = {name: for_code(code).__name__ for name, code, *_ in response.topic_errors if code}
    if refused:
        raise BrokerError(f"topics that could not be made: {refused}")


async def fill(servers: str, topic: str, partitions: int, requests: Iterable[tuple[bytes, bytes]]) -> None:
    """Send requests, each to the partition that Kafka's own partitioner chooses for its key."""
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=_BATCH_BYTES) as producer:
        await send(producer, topic, ((_hash(key) % partitions, key, value) for key, value in requests))


async def send(producer: AIOKafkaProducer, topic: str, records: Iterable[tuple[int, bytes | None, bytes]]) -> None:
    """Send records, each a partition, a key and a value, and wait for the acknowledgements.

    They are sent in batches, for record by record costs four times as much.
    """
    batches: dict[int, Any] = {}
    acks = []
    for number, key, value in records:
        batch = batches.get(number)
        if batch is None or batch.append(timestamp=None, key=key, value=value) is None:  # it is full
            if batch is not None:
                acks.append(await producer.send_batch(batch, topic, partition=number))
            batches[number] = batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value)
    acks += [await producer.send_batch(batch, topic, partition=number) for number, batch in batches.items()]
    await asyncio.gather(*acks)


@lru_cache(maxsize=65_536)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


async def committed(client: AIOKafkaAdminClient, group: str) -> int:
    """How many records the group has committed, over all partitions of a topic that begins at offset 0."""
    try:
        offsets = await client.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:  # the first question makes a new broker's topic of offsets
        return 0
    return sum(max(0, stored.offset) for stored in offsets.values())


async def outcomes(settings: Settings, results: str, doubtful: str) -> list[Outcome]:
    """All committed records of both topics. It waits for the end of an open transaction."""
    found: list[Outcome] = []

    def take(record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        found.append(Outcome(record.topic == doubtful, record.value, record.timestamp))

    async with asyncio.timeout(_READ_S):
        for topic in (results, doubtful):
            await read_all(settings, topic, take)
    return found
