"""FastStream on aiokafka: a subscriber publishes its answer and awaits the acknowledgement, as its documentation shows.

Tuned: orjson, which FastStream uses where it is installed. By default, offsets are committed every five seconds,
whether an answer was given or not: this promises less than the other candidates do, and commits do not slow it down.
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
    """Answer one event."""
    value, trusted = decide(request)
    await broker.publish(value, topic=asked.results if trusted else asked.doubtful, key=message.raw_message.key)


asyncio.run(FastStream(broker).run())
