"""What the broker knows about us: the progress a group has committed, which topic it belongs to, where partitions
without any begin and end, and how the last transaction ended.

The consumer's own `committed()` gives the offset without its metadata, and one that may hang in a transaction, so the
request is made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from typing import Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from ....agents.tasks import begin
from ...kafka.asking import AskingClient
from ...kafka.client import partitions_for
from ...kafka.connection import Connection
from ...kafka.errors import Lost, denial
from ...kafka.last_transaction import LastTransaction, Reachable
from ...kafka.requests import Bounds, bounds, committed_offsets, topic_id
from ..window.marks import MarksError, Progress, decode

T = TypeVar("T")

#: seconds for one question
ANSWER_S = 10.0
#: seconds until it is asked again who leads a partition
_AGAIN_S = 0.1


class Coordination(Protocol):
    """What a partition and its outbox ask: a `Coordinator`, or one that is played.

    Every method raises `Lost` when the broker does not answer, `NotAllowed` when it does not let us ask.
    """

    async def progress(self, tp: TopicPartition) -> Progress | None:
        """What is committed for a partition; None when nothing ever was. Raises `MarksError`, `Unsettled`."""

    async def siblings(self, topic: str) -> dict[int, Progress]:
        """What is committed for the partitions of a topic, where anything is that we can read."""

    async def topic_id(self, topic: str) -> str:
        """The id of a topic, '' where the broker has none."""

    async def partitions_for(self, topic: str) -> set[int]:
        """The numbers of a topic's partitions."""

    async def bounds(self, places: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Where these partitions begin and end."""

    async def end_again(self, last: LastTransaction, reachable: Reachable) -> None:
        """End this transaction again as it ended, in all that it can have reached."""

    async def close(self) -> None:
        """Close the connections."""


class Coordinator:
    """Asks one group's coordinators, over one connection to each."""

    def __init__(self, connection: Connection, group: str) -> None:
        self._connection = connection
        self._group = group
        self._client: AIOKafkaClient | None = None
        self._connecting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        if self._closing:
            await asyncio.wait(self._closing)

    async def progress(self, tp: TopicPartition) -> Progress | None:
        """As `Coordination` says."""
        stored = (await self.committed([tp])).get(tp)
        return None if stored is None else decode(stored.offset, stored.metadata)

    async def committed(
        self, places: Iterable[TopicPartition], *, stable: bool = True
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """What is committed for these partitions, where anything is; not `stable`: as it is before open transactions.

        Raises `Lost` and `NotAllowed`, and `Unsettled` of what is to be stable.
        """
        return await self._asked(lambda client: committed_offsets(client, self._group, places, stable=stable))

    async def siblings(self, topic: str) -> dict[int, Progress]:
        """As `Coordination` says; as it is before open transactions."""
        places = [TopicPartition(topic, number) for number in await self.partitions_for(topic)]
        found = {}
        for tp, stored in (await self.committed(places, stable=False)).items():
            with suppress(MarksError):
                found[tp.partition] = decode(stored.offset, stored.metadata)
        return found

    async def topic_id(self, topic: str) -> str:
        """As `Coordination` says."""
        return await self._asked(lambda client: topic_id(client, topic))

    async def partitions_for(self, topic: str) -> set[int]:
        """As `Coordination` says."""
        return await self._asked(lambda client: partitions_for(client, topic))

    async def bounds(self, places: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """As `Coordination` says."""
        return await self._asked(lambda client: _bounds(client, places))

    async def end_again(self, last: LastTransaction, reachable: Reachable) -> None:
        """As `Coordination` says."""
        await self._asked(lambda client: last.end_again(client, reachable))

    async def _asked(self, question: Callable[[AIOKafkaClient], Awaitable[T]]) -> T:
        client = None
        try:
            async with asyncio.timeout(ANSWER_S):
                client = await self._connected()
                return await question(client)
        except asyncio.CancelledError:  # whoever asked has waited long enough: the connection may hang
            self._drop(client)
            raise
        except (KafkaError, OSError, TimeoutError) as error:
            self._drop(client)
            lost = Lost(f"a coordinator did not answer: {error!r}")
            raise denial(error, group=self._group) or lost from error

    def _drop(self, client: AIOKafkaClient | None) -> None:
        """The next question opens another connection. Nobody waits for the end of this one."""
        if client is None or client is not self._client:
            return  # another question has dropped it
        self._client = None
        closing = begin(_closed(client), "closing a client")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _connected(self) -> AIOKafkaClient:
        async with self._connecting:
            if self._client is None:
                client = AskingClient(**self._connection.options())
                try:
                    await client.bootstrap()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client


async def _bounds(client: AIOKafkaClient, places: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
    """Asks again where a leader has just begun to lead, or leads no more: of a topic that has just been made, too."""
    await asyncio.gather(*(partitions_for(client, topic) for topic in {tp.topic for tp in places}))  # one question
    while True:
        try:
            return await bounds(client, places)
        except KafkaError as error:
            if not error.invalid_metadata:
                raise
        await asyncio.sleep(_AGAIN_S)
        await client.force_metadata_update()


async def _closed(client: AIOKafkaClient) -> None:
    with suppress(KafkaError, OSError):
        await client.close()
