"""What the broker knows about us: the progress a group has committed, and which topic it belongs to.

The consumer's own `committed()` gives the offset without its metadata, so the request is made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError, NoError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

from .connection import Connection
from .marks import Progress, decode
from .outbox import Lost
from .topic_id import topic_id

T = TypeVar("T")

#: seconds for one question
ANSWER_S = 10.0


class Ledger:
    """Asks one group's coordinator. Every method raises `Lost` when the broker does not answer."""

    def __init__(self, connection: Connection, group: str) -> None:
        self._connection = connection
        self._group = group
        self._client: AIOKafkaClient | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def progress(self, tp: TopicPartition) -> Progress | None:
        """What is committed for a partition; None when nothing ever was. Raises `MarksError`, `Lost`."""
        return await self._asked(lambda client: self._committed(client, tp))

    async def topic_id(self, topic: str) -> str:
        """The id of a topic, '' where the broker has none."""
        return await self._asked(lambda client: topic_id(client, topic))

    async def _asked(self, question: Callable[[AIOKafkaClient], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await question(await self._connected())
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop()
            raise Lost(f"the broker did not tell what is committed: {error!r}") from error

    async def _drop(self) -> None:
        with suppress(KafkaError, OSError):
            await self.close()

    async def _connected(self) -> AIOKafkaClient:
        async with self._connecting:
            if self._client is None:
                client = AIOKafkaClient(**self._connection.options())
                try:
                    await client.bootstrap()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def _committed(self, client: AIOKafkaClient, tp: TopicPartition) -> Progress | None:
        node = await client.coordinator_lookup(CoordinationType.GROUP, self._group)
        request = OffsetFetchRequest(self._group, [(tp.topic, [tp.partition])])
        response = await client.send(node, request, group=ConnectionGroup.COORDINATION)
        _raise_for(getattr(response, "error_code", 0))  # versions before 2 have none for the whole
        for _, partitions in response.topics:
            for _, offset, metadata, error_code in partitions:
                _raise_for(error_code)
                return None if offset < 0 else decode(offset, metadata)
        return None


def _raise_for(error_code: int) -> None:
    error = for_code(error_code)
    if error is not NoError:
        raise error
