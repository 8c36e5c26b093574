"""FastStream on aiokafka: a subscriber that publishes its answer and waits for it, as its documentation shows.

Tuned: orjson, which it takes where it is installed. Offsets are committed every five seconds, whatever was answered,
as is its default: it promises less than the others, and is not slowed down by commits.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage
from shared import arguments, decide

asked = arguments()
broker = KafkaBroker(asked.servers, acks="all", logger=None)


@broker.subscriber(  # type: ignore[untyped-decorator]  # FastStream is not there where types are checked
    asked.requests, group_id=asked.group, auto_offset_reset="earliest"
)
async def answer(request: dict[str, Any], message: KafkaMessage) -> None:
    """One event."""
    value, trusted = decide(request)
    await broker.publish(value, topic=asked.results if trusted else asked.doubtful, key=message.raw_message.key)


asyncio.run(FastStream(broker).run())
