"""A bare aiokafka loop over record batches, in transactions: the speed without any decision.

It copies every value to `results`: no JSON, no decision, no order to keep, no recovery. Tuned: whole fetches, record
batches of 512 KB, as many requests in flight as there are partitions, offsets in the transaction, and one transaction
of one producer for all partitions every 100 ms. (One producer for each partition, as our worker has, was not faster.)
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from shared import COMMIT_S, arguments

asked = arguments()


async def main() -> None:
    """Run until the process is ended."""
    consumer = AIOKafkaConsumer(
        asked.requests,
        bootstrap_servers=asked.servers,
        group_id=asked.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=asked.servers, transactional_id=asked.transactional_id, max_batch_size=512 * 1024
    )
    await producer.start()
    await consumer.start()
    while True:
        fetched = await consumer.getmany(timeout_ms=100)
        if fetched:
            await transact(consumer, producer, fetched)


async def transact(
    consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, fetched: dict[TopicPartition, list[Any]]
) -> None:
    """Copy what is fetched within 100 ms, then commit."""
    began = time.monotonic()
    offsets: dict[TopicPartition, int] = {}
    acks: list[Any] = []
    async with producer.transaction():
        while True:
            for place, records in fetched.items():
                acks += await pass_on(producer, place.partition, records)
                offsets[place] = records[-1].offset + 1
            left_s = began + COMMIT_S - time.monotonic()
            if left_s <= 0:
                break
            fetched = await consumer.getmany(timeout_ms=int(left_s * 1000))
        await asyncio.gather(*acks)  # a commit succeeds even where a batch has failed
        await producer.send_offsets_to_transaction(offsets, asked.group)


async def pass_on(producer: AIOKafkaProducer, partition: int, records: list[Any]) -> list[Any]:
    """Send record batches to the partition of the same number. Returns the futures of their acknowledgements."""
    acks = []
    batch = producer.create_batch()
    for record in records:
        if batch.append(timestamp=record.timestamp, key=record.key, value=record.value) is None:
            acks.append(await producer.send_batch(batch, asked.results, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=record.timestamp, key=record.key, value=record.value)
    acks.append(await producer.send_batch(batch, asked.results, partition=partition))
    return acks


asyncio.run(main())
