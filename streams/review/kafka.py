"""What the page asks of Kafka: one record with its input, and a label written for good."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from ...schemas.audits import Label, encode_label
from ...schemas.errors import BiSupervisedError
from ..kafka.producer import DEFAULT_MESSAGE_BYTES, idempotent_producer, put_away
from ..settings.broker import connection
from ..settings.tables import Settings
from ..topics.reading import read_at, reader
from .queue import Place

#: seconds that reading one record may take
_READ_S = 15.0


class NotReached(BiSupervisedError):
    """Kafka does not answer. Whether a label was written is not known then: writing it again does no harm."""


class Inputs:
    """Reads single records, one at a time. Only their place is kept in memory while they wait."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: AsyncExitStack | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._one_at_a_time = asyncio.Lock()

    async def value(self, place: Place) -> bytes | None:
        """The value of a record; None where it is not there any more. Raises `NotReached`."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(_READ_S):
                    consumer = self._consumer or await self._begin()
                    record: Any = await read_at(consumer, TopicPartition(place.topic, place.partition), place.offset)
            except (KafkaError, BiSupervisedError, TimeoutError) as error:
                await self._end()
                raise NotReached(f"the input cannot be read: {error or type(error).__name__}") from error
        return None if record is None else record.value

    async def stop(self) -> None:
        """Close what is open."""
        await self._end()

    async def _begin(self) -> AIOKafkaConsumer:
        self._open = AsyncExitStack()
        self._consumer = await self._open.enter_async_context(reader(self._settings, []))
        return self._consumer

    async def _end(self) -> None:
        opened, self._open, self._consumer = self._open, None, None
        if opened is not None:
            await opened.aclose()


class Labels:
    """Writes to `labels`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._beginning = asyncio.Lock()

    async def write(self, label: Label) -> tuple[int, int]:
        """Offset and timestamp of the label, when all replicas in sync have it. Raises `NotReached`."""
        try:
            producer = await self._begin()
            async with asyncio.timeout(self._settings.kafka.request_timeout_s):
                found = await producer.send_and_wait(
                    self._settings.topics.labels, encode_label(label), label.source.encode(), partition=0
                )
        except (KafkaError, OSError, TimeoutError) as error:
            await self.stop()
            raise NotReached(f"the label cannot be written: {error or type(error).__name__}") from error
        return found.offset, found.timestamp

    async def stop(self) -> None:
        """Close it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await put_away(producer)

    async def _begin(self) -> AIOKafkaProducer:
        async with self._beginning:
            if self._producer is None:
                kafka = self._settings.kafka
                producer = idempotent_producer(connection(kafka), kafka.request_timeout_s, DEFAULT_MESSAGE_BYTES)
                try:
                    await producer.start()
                except (KafkaError, OSError):
                    await put_away(producer)
                    raise
                self._producer = producer
            return self._producer
