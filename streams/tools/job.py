"""A named job over topics: the records it sends and how far it has come are committed in one transaction.

The name is a consumer group, which keeps the progress, and a transactional id, which lets one run at a time write.
So a job that is killed and run again repeats nothing and misses nothing. Errors:

    JobError
    ├── Superseded   another run of the same job took over; this one can commit nothing more
    └── Interrupted  the broker was lost on the way; run again, and it goes on from what is committed
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
)
from aiokafka.structs import OffsetAndMetadata

from ...schemas.errors import BiSupervisedError
from ...schemas.records import Headers
from ..kafka.last_transaction import producer_of
from ..settings.broker import connection
from ..settings.tables import Settings
from ..topics.admin import admin_client

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_FENCED = (ProducerFenced, InvalidProducerEpoch)
#: seconds until a coordinator that is being made is asked for again
_ASK_AGAIN_S = 0.1
#: seconds for the question who has our name
_ASK_S = 5.0
#: bytes of the largest record that the client lets through: what is too large, the broker says
_CLIENT_BYTES = 256 * 1024 * 1024


class JobError(BiSupervisedError):
    """The job did not finish. Nothing of what was under way is committed, or all of it is."""


class Superseded(JobError):
    """Another run of the same name took over."""


class Interrupted(JobError):
    """The broker was lost on the way."""


@dataclass(frozen=True, slots=True)
class Send:
    """One record to send."""

    topic: str
    partition: int | None  #: None leaves it to the key
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int  #: milliseconds since epoch


class Job:
    """One run of a named job."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self.group = group
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> None:
        """Become the one run that may commit: a former one is fenced, and its open transaction aborted.

        Raises `JobError`.
        """
        asyncio.get_running_loop().set_exception_handler(_forget)
        kafka, stream = self._settings.kafka, self._settings.stream
        self._producer = AIOKafkaProducer(
            **connection(kafka).options(),
            transactional_id=self.group,
            transaction_timeout_ms=int(stream.transaction_timeout_s * 1000),
            request_timeout_ms=int(kafka.request_timeout_s * 1000),
            max_request_size=_CLIENT_BYTES,
        )
        async with self._watched():
            await self._producer.start()

    async def close(self) -> None:
        """Close the connection; an open transaction is aborted."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # in a task of its own: a producer that sent nothing ends its stop with CancelledError
            stopping = asyncio.create_task(producer.stop())
            await asyncio.wait([stopping], timeout=self._settings.kafka.request_timeout_s)
            if stopping.done() and not stopping.cancelled():
                stopping.exception()  # thrown away, whatever state it was in
            else:
                stopping.cancel()

    async def committed(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What former runs of this name committed. Raises `BrokerUnreachable`."""
        async with admin_client(self._settings) as admin:
            stored = await self._stored(admin)
        return {tp: offset for tp, offset in stored.items() if offset.offset >= 0}

    async def _stored(self, admin: AIOKafkaAdminClient) -> dict[TopicPartition, OffsetAndMetadata]:
        """A broker that was never asked about groups makes a topic for them first, and answers after that."""
        async with asyncio.timeout(self._settings.kafka.request_timeout_s):
            while True:
                with suppress(GroupCoordinatorNotAvailableError):
                    stored: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(
                        self.group
                    )
                    return stored
                await asyncio.sleep(_ASK_AGAIN_S)

    async def commit(self, records: Sequence[Send], offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> list[int]:
        """Send the records and commit the offsets, all or nothing.

        Returns the indexes of records that the broker refuses as too large: then nothing was committed.
        Raises `Superseded` or `Interrupted`.
        """
        producer = self._producer
        if producer is None:
            raise Interrupted("the job is not open")
        async with self._watched():
            await producer.begin_transaction()
            refused = await _deliver(producer, records)
            if refused:
                await producer.abort_transaction()
                return refused
            await producer.send_offsets_to_transaction(dict(offsets), self.group)
            await producer.commit_transaction()
        return []

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Translate foreign errors once, and end calls that would retry for ever."""
        try:
            async with asyncio.timeout(self._settings.stream.watchdog_s):
                yield
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:  # aiokafka asserts on a failed transaction
            if isinstance(error, _FENCED) or await self._followed():
                raise Superseded(
                    f"another run of {self.group} took over; this one has ended, and sent nothing since"
                ) from error
            why = str(error) or type(error).__name__
            raise Interrupted(f"{self.group} was interrupted ({why}): run it again, and it goes on") from error

    async def _followed(self) -> bool:
        """Another run has our name by now.

        The broker (Kafka 4.4.0) does not always say so: asked to end a transaction while it fences its producer, it
        was seen to answer that it failed, error -1.
        """
        producer = self._producer
        if producer is None:
            return False
        ours = producer._txn_manager  # noqa: SLF001  # no public call tells which producer it is
        if not ours.has_pid():  # it never had the name
            return False
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_ASK_S):
                now = await producer_of(producer.client, self.group)
                return now is not None and now != (ours.producer_id, ours.producer_epoch)
        return False


def _forget(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A producer that is fenced leaves futures nobody awaits: what they hold has been raised, and told, already."""
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)


async def _deliver(producer: AIOKafkaProducer, records: Sequence[Send]) -> list[int]:
    """Send and await every acknowledgement. Returns which records are too large; raises any other error."""
    acks: list[Awaitable[Any]] = []
    try:
        for record in records:
            acks.append(await _send(producer, record))  # noqa: PERF401  # those sent before a failure are awaited, too
    finally:
        answers = await asyncio.gather(*acks, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, _TOO_LARGE):
            raise answer
    return [index for index, answer in enumerate(answers) if isinstance(answer, _TOO_LARGE)]


async def _send(producer: AIOKafkaProducer, record: Send) -> Awaitable[Any]:
    headers = list(record.headers)
    if record.key is None and record.value is None:  # which `send` does not take
        batch = producer.create_batch()
        batch.append(timestamp=record.timestamp, key=None, value=None, headers=headers)
        ack: Awaitable[Any] = await producer.send_batch(batch, record.topic, partition=record.partition or 0)
        return ack
    plain: Awaitable[Any] = await producer.send(
        record.topic, record.value, record.key, record.partition, timestamp_ms=record.timestamp, headers=headers
    )
    return plain
