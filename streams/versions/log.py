"""The topic of versions, read by offsets: up to where somebody stood, everybody finds the same in force."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from ...schemas.versions import ThresholdsEntry, decode_version
from ..kafka.client import client_of, is_gone
from ..kafka.connection import Connection
from ..kafka.consumer import check_client

log = logging.getLogger(__name__)

_LOOK_MS = 200


class VersionsLog:
    """Committed entries of the topic, each with its offset."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._place = TopicPartition(topic, 0)
        self._entries: list[tuple[int, ThresholdsEntry]] = []
        self._end = 0  # read up to here
        self._consumer: Any = AIOKafkaConsumer(  # aiokafka has no types
            **connection.options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    def __repr__(self) -> str:
        return f"<VersionsLog of {self._place.topic}, {len(self._entries)} entries>"

    async def start(self) -> None:
        """Raises `KafkaError`."""
        await self._consumer.start()
        self._consumer.assign([self._place])
        await self._consumer.seek_to_beginning(self._place)

    async def close(self) -> None:
        """Close the connections."""
        await self._consumer.stop()

    @property
    def gone(self) -> list[str]:
        """The topic, where it is not there any more: whoever asked where it ends would wait for ever."""
        return [self._place.topic] if is_gone(client_of(self._consumer), self._place.topic) else []

    async def to_end(self) -> int:
        """Read all that is there. Returns the offset of the next record. Raises `KafkaError`."""
        end: int = (await self._consumer.end_offsets([self._place]))[self._place]
        while await self._consumer.position(self._place) < end:
            check_client(self._consumer)
            fetched = await self._consumer.getmany(self._place, timeout_ms=_LOOK_MS)
            for record in fetched.get(self._place, ()):
                self._take(record)
        self._end = end
        return end

    async def up_to(self, offset: int) -> list[ThresholdsEntry]:
        """The entries before this offset, read as far as need be."""
        if self._end < offset:
            await self.to_end()
        return [entry for at, entry in self._entries if at < offset]

    def _take(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        try:
            self._entries.append((record.offset, decode_version(record.value or b"")))
        except msgspec.DecodeError as error:
            text = "offset %d of %s is no version of the thresholds, or of a later release, and is passed over: %s"
            log.warning(text, record.offset, record.topic, error, extra={"action": "version_unreadable"})
