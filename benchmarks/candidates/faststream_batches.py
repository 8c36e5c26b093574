"""FastStream on aiokafka, in its batch form: a subscriber gets many records and publishes batches.

Tuned: 1,000 records at once, batches of up to a megabyte, orjson, and all batches of a call under way together. A batch
goes to one partition, so there is a batch for each source partition and each topic; the order per key is kept. Offsets
are committed as in `faststream_app.py`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaPublishMessage
from shared import arguments, decide

asked = arguments()
broker = KafkaBroker(asked.servers, acks="all", max_batch_size=1_000_000, logger=None)


@broker.subscriber(  # type: ignore[untyped-decorator]  # FastStream is not there where types are checked
    asked.requests, group_id=asked.group, auto_offset_reset="earliest", batch=True, max_records=1000
)
async def answer(requests: list[dict[str, Any]], message: KafkaMessage) -> None:
    """Answer many events."""
    batches = defaultdict(list)
    for request, record in zip(requests, message.raw_message, strict=True):
        value, trusted = decide(request)
        place = (asked.results if trusted else asked.doubtful, record.partition)
        batches[place].append(KafkaPublishMessage(value, key=record.key))
    await asyncio.gather(
        *(broker.publish_batch(*values, topic=topic, partition=number) for (topic, number), values in batches.items())
    )


asyncio.run(FastStream(broker).run())
