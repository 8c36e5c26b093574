"""The topics `batched` and `batches`, read by offsets, of one partition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ...agents.remote.bulk.fold import BulkLedger
from ...agents.tasks import begin
from ...schemas.bulk import BulkEntry, decode_bulk
from ..kafka.consumer import ASK_AGAIN_S, DOUBTED_S, check_client

if TYPE_CHECKING:
    from ..kafka.connection import Connection

#: milliseconds that one look waits for records
_LOOK_MS = 500
#: offsets that are looked back at first, for the last entry that stands for itself; each entry takes two
_BACK = 500
#: seconds that a connection may take to open, and to close: a broker that is gone may let a client wait for ever
_START_S, _FAREWELL_S = 30.0, 5.0


def _thrown_away(_error: BaseException) -> None:
    """Whatever a broken client raises on its way out, nobody needs it any more."""


class PartitionReader:
    """Committed records of one partition, in their order."""

    def __init__(self, connection: Connection, place: TopicPartition) -> None:
        self._place = place
        self._consumer: Any = AIOKafkaConsumer(  # aiokafka has no types
            **connection.options(),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
        )

    async def start(self) -> None:
        """Raises `KafkaError` and `TimeoutError`."""
        async with asyncio.timeout(_START_S):
            await self._consumer.start()
        self._consumer.assign([self._place])

    async def close(self) -> None:
        """Close the connections, or leave them to themselves where that does not end.

        In a task of its own: a client that is stopped the moment it has started raises `CancelledError`, which in ours
        would end the owner without a word.
        """
        stopping = begin(self._consumer.stop(), "closing a reader", _thrown_away)
        _, late = await asyncio.wait([stopping], timeout=_FAREWELL_S)
        for task in late:
            task.cancel()

    async def bounds(self, doubted: Callable[[int, int], object] = lambda *_: False) -> tuple[int, int]:
        """Where it begins and ends, as far as it is committed. What is `doubted` is asked again for a while: who leads
        it since a moment ago may not know. Raises `KafkaError`.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + DOUBTED_S
        while True:
            begins = await self._consumer.beginning_offsets([self._place])
            ends = await self._consumer.end_offsets([self._place])
            begin, end = begins[self._place], ends[self._place]
            if not doubted(begin, end) or clock() > until:
                return begin, end
            await asyncio.sleep(ASK_AGAIN_S)

    def seek(self, offset: int) -> None:
        """Go on from there."""
        self._consumer.seek(self._place, offset)

    async def position(self) -> int:
        """The offset that it reads next: there is no record that it has not read before it."""
        return int(await self._consumer.position(self._place))

    async def news(self) -> list[Any]:
        """What has come since; nothing where nothing comes for a moment. Raises `KafkaError`."""
        check_client(self._consumer)
        fetched = await self._consumer.getmany(self._place, timeout_ms=_LOOK_MS)
        return list(fetched.get(self._place, ()))

    async def between(self, first: int, end: int) -> AsyncIterator[list[Any]]:
        """The records from `first` on and before `end`, which must be there. Raises `KafkaError`."""
        self.seek(first)
        while await self.position() < end:
            records = [record for record in await self.news() if record.offset < end]
            if records:
                yield records


class Unreadable(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The last entry is of another version: only a newer worker may go on from it."""

    retriable = False


async def read_ledger(
    connection: Connection, place: TopicPartition, pipeline: str, topic_id: str, *, all_of_it: bool = False
) -> tuple[BulkLedger, tuple[int, int]]:
    """What a partition of the log says now, and which offsets it holds, from and before.

    Whoever is to go on from it has ended every transaction of others before.

    `all_of_it`: also about batches that ended long ago. Raises `KafkaError`, and `Unreadable` where somebody newer has
    written since.
    """
    reader = PartitionReader(connection, place)
    ledger = BulkLedger(topic_id, None) if all_of_it else BulkLedger(topic_id)
    try:
        await reader.start()
        begin, end = await reader.bounds()
        back = end - begin if all_of_it else _BACK
        while True:
            first = max(begin, end - back)
            found = [entry async for entry in _entries(reader, first, end, pipeline)]
            whole = [number for number, entry in enumerate(found) if entry.whole]
            if whole or first <= begin:
                break
            back *= 4
        for entry in found if all_of_it else found[whole[-1] if whole else 0 :]:
            ledger.take(entry)
    finally:
        await reader.close()
    return ledger, (begin, end)


async def _entries(reader: PartitionReader, first: int, end: int, pipeline: str) -> AsyncIterator[BulkEntry]:
    async for records in reader.between(first, end):
        for record in records:
            if record.key == pipeline.encode():
                yield _decoded(record.value or b"")


def _decoded(value: bytes) -> BulkEntry:
    try:
        return decode_bulk(value)
    except msgspec.DecodeError as error:
        raise Unreadable(f"an entry cannot be read: {error}") from error
