"""The topics of a benchmark: made, filled, watched, read and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, for_code
from aiokafka.partitioner import murmur2
from bisupervised.streams.broker import BrokerError

from .job import Outcome

#: what is deleted is off the disk soon; the broker writes down when it appended
_CONFIG = {"message.timestamp.type": "LogAppendTime", "file.delete.delay.ms": "1000"}
_BATCH_BYTES = 512 * 1024
#: seconds in which a reader must come to the end
_READ_S = 120.0


@asynccontextmanager
async def admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for the rest of this module."""
    client = AIOKafkaAdminClient(bootstrap_servers=servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def make(client: AIOKafkaAdminClient, partitions: int, *names: str) -> None:
    """Topics whose timestamps are the broker's."""
    topics = [NewTopic(name, partitions, 1, topic_configs=_CONFIG) for name in names]
    told = await client.create_topics(topics)
    refused = {name: for_code(code).__name__ for name, code, *_ in told.topic_errors if code}
    if refused:
        raise BrokerError(f"topics that could not be made: {refused}")


async def fill(servers: str, topic: str, partitions: int, requests: Iterable[tuple[bytes, bytes]]) -> None:
    """Send requests, each to the partition that its key has by Kafka's own partitioner."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=_BATCH_BYTES)
    await producer.start()
    try:
        batches = {number: producer.create_batch() for number in range(partitions)}
        for key, value in requests:
            number = _hash(key) % partitions
            if batches[number].append(timestamp=None, key=key, value=value) is None:
                await producer.send_batch(batches[number], topic, partition=number)
                batches[number] = producer.create_batch()
                batches[number].append(timestamp=None, key=key, value=value)
        acks = [await producer.send_batch(batch, topic, partition=number) for number, batch in batches.items()]
        await asyncio.gather(*acks)
        await producer.flush()
    finally:
        await producer.stop()


@lru_cache(maxsize=65_536)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


async def committed(client: AIOKafkaAdminClient, group: str) -> int:
    """How many records the group has behind it, over all partitions of a topic that begins at offset 0."""
    try:
        offsets = await client.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:  # the first question makes a new broker's topic of offsets
        return 0
    return sum(max(0, stored.offset) for stored in offsets.values())


async def outcomes(servers: str, results: str, doubtful: str, partitions: int) -> list[Outcome]:
    """All that both topics hold, read committed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 * 2**20,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for topic in (results, doubtful) for number in range(partitions)]
        consumer.assign(places)
        async with asyncio.timeout(_READ_S):
            return await _all(consumer, places, doubtful)
    finally:
        await consumer.stop()


async def _all(consumer: Any, places: Sequence[TopicPartition], doubtful: str) -> list[Outcome]:  # noqa: ANN401  # aiokafka has no types
    """Up to where no partition has more; a transaction that is open would be waited for."""
    ends = await consumer.end_offsets(places)
    found: list[Outcome] = []
    left = list(places)
    while left:
        for place, records in (await consumer.getmany(timeout_ms=100)).items():
            found += [Outcome(place.topic == doubtful, record.value, record.timestamp) for record in records]
        left = [place for place in left if await consumer.position(place) < ends[place]]
    return found
