"""What the broker knows about us: the progress a group has committed, which topic it belongs to, and how the last
transaction ended.

The consumer's own `committed()` gives the offset without its metadata, and one that may hang in a transaction, so the
request is made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from ..kafka.connection import Connection
from ..kafka.errors import Lost, denial
from ..kafka.last_transaction import LastTransaction, Reachable
from ..kafka.requests import stable_offset, topic_id
from .marks import Progress, decode

T = TypeVar("T")

#: seconds for one question
ANSWER_S = 10.0


class Asked(Protocol):
    """What is asked about committed progress."""

    async def progress(self, tp: TopicPartition) -> Progress | None: ...
    async def topic_id(self, topic: str) -> str: ...
    async def close(self) -> None: ...


class Ledger:
    """Asks one group's coordinator. Every method raises `Lost` when the broker does not answer, `NotAllowed` when it
    does not let us ask.
    """

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
        """What is committed for a partition; None when nothing ever was. Raises `MarksError`, `Lost`, `Unsettled`."""
        return await self._asked(lambda client: self._committed(client, tp))

    async def topic_id(self, topic: str) -> str:
        """The id of a topic, '' where the broker has none."""
        return await self._asked(lambda client: topic_id(client, topic))

    async def partitions_for(self, topic: str) -> set[int]:
        """The numbers of a topic's partitions."""
        return await self._asked(lambda client: client._wait_on_metadata(topic))  # noqa: SLF001  # as producers ask it

    async def end_again(self, last: LastTransaction, reachable: Reachable) -> None:
        """Say again how this transaction ended, over all that it can have reached."""
        await self._asked(lambda client: last.end_again(client, reachable))

    async def _asked(self, question: Callable[[AIOKafkaClient], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await question(await self._connected())
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop()
            lost = Lost(f"a coordinator did not answer: {error!r}")
            raise denial(error, group=self._group) or lost from error

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
        stored = await stable_offset(client, self._group, tp)
        return None if stored is None else decode(*stored)
