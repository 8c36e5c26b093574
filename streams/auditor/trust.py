"""The topic `trust`: closings are appended in transactions, and one is believed when it has been read back.

Whoever opens it last is the auditor: the broker takes nothing more from who opened it before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ...schemas.closings import Closing, decode_closing, encode_closing
from ...schemas.versions import ThresholdsEntry, encode_version
from ..kafka.client import client_of, is_gone
from ..kafka.consumer import check_client
from ..kafka.producer import put_away, transactional_producer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..kafka.connection import Connection

_LOOK_MS = 200
#: offsets that are looked back at first, for the last whole closing; each closing takes two
_BACK = 500
#: bytes of one batch: what one transaction holds
_BATCH_BYTES = 1024 * 1024


class Appended(NamedTuple):
    """A closing as the topic has it."""

    closing: Closing
    written_ms: int  #: when, by the broker's clock


class Unreadable(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The last closing is of another version: only a newer auditor may go on from it."""

    retriable = False


class Reader:
    """Reads the closings of one pipeline."""

    def __init__(self, connection: Connection, topic: str, pipeline: str) -> None:
        self._place = TopicPartition(topic, 0)
        self._key = pipeline.encode()
        self._consumer: Any = AIOKafkaConsumer(  # aiokafka has no types
            **connection.options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    async def start(self) -> None:
        """Raises `KafkaError`."""
        await self._consumer.start()
        self._consumer.assign([self._place])

    async def close(self) -> None:
        """Close the connections."""
        await self._consumer.stop()

    @property
    def gone(self) -> list[str]:
        """The topic, where it is not there any more: a client reads on for ever, and nothing comes."""
        return [self._place.topic] if is_gone(client_of(self._consumer), self._place.topic) else []

    async def from_last_whole(self) -> list[Appended]:
        """The last closing that stands for itself, and those after it; empty where there is none.

        Raises `Unreadable` where somebody newer has written since.
        """
        begin, end = await self.bounds()
        back = _BACK
        while True:
            found = await self.read(max(begin, end - back), end)
            whole = [number for number, one in enumerate(found) if one.closing.whole]
            if whole or end - back <= begin:
                return found[whole[-1] :] if whole else []
            back *= 4

    async def bounds(self) -> tuple[int, int]:
        """Where the topic begins and ends, as far as it is committed."""
        begins = await self._consumer.beginning_offsets([self._place])
        ends = await self._consumer.end_offsets([self._place])
        return begins[self._place], ends[self._place]

    async def read(self, begin: int, end: int) -> list[Appended]:
        """The closings between these offsets. Afterwards `news` goes on from `end`."""
        found: list[Appended] = []
        await self.each(begin, end, found.append)
        return found

    async def each(self, begin: int, end: int, take: Callable[[Appended], object]) -> None:
        """Give each closing between these offsets to `take`."""
        self._consumer.seek(self._place, begin)
        while await self._consumer.position(self._place) < end:
            for one in await self.news():
                take(one)

    async def news(self, wait_ms: int = _LOOK_MS) -> list[Appended]:
        """The closings that have come since."""
        check_client(self._consumer)
        fetched = await self._consumer.getmany(self._place, timeout_ms=wait_ms)
        found = [record for record in fetched.get(self._place, ()) if record.key == self._key]
        return [Appended(_decoded(record.value or b""), record.timestamp) for record in found]


def _decoded(value: bytes) -> Closing:
    try:
        return decode_closing(value)
    except msgspec.DecodeError as error:
        raise Unreadable(f"a closing cannot be read: {error}") from error


class Trust(Reader):
    """The same, and appends."""

    def __init__(
        self, connection: Connection, topic: str, pipeline: str, transactional_id: str, timeouts_s: tuple[float, float]
    ) -> None:
        """`timeouts_s`: of a transaction, and of a request."""
        super().__init__(connection, topic, pipeline)
        self._patience_s, request_s = timeouts_s
        self._producer: Any = transactional_producer(
            connection, transactional_id, int(self._patience_s * 1000), request_s, _BATCH_BYTES
        )

    async def start(self) -> None:
        """From now on nobody else appends. Raises `KafkaError`."""
        async with asyncio.timeout(self._patience_s):
            await self._producer.start()
        await super().start()

    async def close(self) -> None:
        """An open transaction ends with the next auditor's first."""
        await put_away(self._producer)
        with suppress(KafkaError):
            await super().close()

    async def append(self, closing: Closing, version: tuple[str, ThresholdsEntry] | None = None) -> Appended:
        """Append it, and read it back: afterwards it is there, whatever happens. `version`: a topic, and what is chosen
        there in the same transaction.

        Raises `KafkaError`, `ProducerFenced` among them, and `TimeoutError`: then nobody knows whether it is.
        """
        async with asyncio.timeout(self._patience_s):
            await self._producer.begin_transaction()
            await self._producer.send_and_wait(self._place.topic, encode_closing(closing), self._key, partition=0)
            if version is not None:
                topic, entry = version
                await self._producer.send_and_wait(topic, encode_version(entry), entry.version.encode(), partition=0)
            await self._producer.commit_transaction()
            while True:
                for one in await self.news():
                    if one.closing.number == closing.number:
                        return one
