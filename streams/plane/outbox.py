"""The last step: outcomes and the offset leave together. Every send and every commit of the product is here.

`ExactlyOnce` does it in one transaction; `AtLeastOnce` sends, waits for every acknowledgement, and commits beside the
next send.

How it can fail, and what the caller may believe:

    OutboxError
    ├── Refused    the broker does not take some records; nothing was committed
    └── Lost       nobody knows whether it was committed: open again, and ask
        └── Unsettled   the committed offset may still change: a transaction hangs on it
    NotAllowed     the broker does not let us send or commit at all (permission.py); nothing was committed
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.producer import sender
from aiokafka.structs import OffsetAndMetadata

from ...schemas.records import Outgoing, Route
from ..kafka.connection import Connection
from ..kafka.errors import Lost, OutboxError, denial
from ..kafka.last_transaction import LastTransaction, Reachable
from .marks import Progress
from .routing import Router

log = logging.getLogger(__name__)

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_REFUSALS = (*_TOO_LARGE, InvalidTimestampError)
#: seconds a producer that is thrown away may take to close its connections
_DISCARD_S = 2.0
#: seconds until the client asks again whether its last transaction has ended, so that the next may begin. With its
#: own 20 ms a transaction at low load took 28 ms, with these 22; a broker has ended the last one within a few
_ENDED_YET_S = 0.003
#: seconds without a transaction after which a lost connection may be one that nobody used
_IDLE_S = 480.0


class Refused(OutboxError):
    """The broker does not take some records. Nothing was committed.

    `culprits` holds the index of each record known to be refused and the broker's reason; it is empty when a whole
    batch was refused and it is not known for which of its records.
    """

    def __init__(self, culprits: Mapping[int, KafkaError]) -> None:
        super().__init__(f"the broker refuses records: {dict(culprits) or 'of one batch'}")
        self.culprits = culprits

    def too_large(self, index: int) -> bool:
        """True when the record is refused for its size."""
        return isinstance(self.culprits[index], _TOO_LARGE)


@dataclass(frozen=True, slots=True)
class OutboxPolicy:
    """How to reach the broker for sending."""

    connection: Connection  #: to the broker
    group: str  #: consumer group whose offsets are committed
    transaction_timeout_s: float  #: seconds after which the broker aborts an open transaction
    request_timeout_s: float  #: seconds for one request
    watchdog_s: float  #: seconds for a whole transaction; the client itself would retry for ever
    batch_bytes: int = 512 * 1024  #: bytes of one record batch


@dataclass(slots=True)
class _Parcel:
    """One record batch on its way to one output partition, and which outcomes are in it."""

    topic: str
    partition: int
    batch: Any  # aiokafka's BatchBuilder, which has no types
    indexes: list[int]

    def add(self, outcome: Outgoing, index: int) -> bool:
        """False when it is full; the first one always fits."""
        # what the batch does around this takes twice as long, for each record
        place, headers = len(self.indexes), list(outcome.headers)
        added = self.batch._builder.append(place, outcome.timestamp, outcome.key, outcome.value, headers)  # noqa: SLF001
        if added is None:
            return False
        self.batch._relative_offset = place + 1  # noqa: SLF001  # how many there are in it
        self.indexes.append(index)
        return True


class Outbox(ABC):
    """Sends the outcomes of one input partition."""

    def __init__(self, policy: OutboxPolicy, source: TopicPartition, router: Router) -> None:
        self._policy = policy
        self._source = source
        self._router = router
        self._producer: AIOKafkaProducer | None = None
        self._discarding: set[asyncio.Task[None]] = set()
        self.transactions = 0  #: transactions that went through
        self.records = 0  #: records sent in them

    async def open(self) -> None:
        """Start a producer. Whoever owned the partition before can send nothing from here on (exactly once).

        Raises `Lost` when the broker does not answer in time, `NotAllowed` when it does not let us.
        """
        self.discard()
        producer = self._make_producer()
        self._producer = producer
        async with self._watched():
            await producer.start()
            await self._router.learn(producer)

    def discard(self) -> None:
        """Throw the producer away without an abort: the next `open` ends its transaction."""
        producer, self._producer = self._producer, None
        if producer is not None:
            task = asyncio.create_task(_close(producer))
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)

    async def close(self) -> None:
        """Close every connection, or leave it to itself where that does not end."""
        self.discard()
        if self._discarding:
            await asyncio.wait(self._discarding, timeout=2 * _DISCARD_S)

    async def send(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress | None:
        """Send, and commit this progress or that of the send before; without outcomes, this one.

        Returns what is committed now, None for nothing new. Raises `Refused`, `Lost` or `NotAllowed`.
        """
        if self._producer is None:
            raise Lost("no producer is open")
        async with self._watched():
            committed = await self._transact(self._producer, outcomes, progress)
        self.transactions += 1
        self.records += len(outcomes)
        return committed

    @property
    def _batch_bytes(self) -> int:
        return min(self._policy.batch_bytes, *self._router.limits.values())

    @abstractmethod
    def _make_producer(self) -> AIOKafkaProducer: ...

    @property
    def used_before(self) -> bool:
        """Somebody owned this partition before, so an offset must be committed. False where it cannot be known."""
        return False

    @abstractmethod
    async def _transact(
        self, producer: AIOKafkaProducer, outcomes: Sequence[Outgoing], progress: Progress
    ) -> Progress | None: ...

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Translate foreign errors once, and end calls that would retry for ever."""
        try:
            async with asyncio.timeout(self._policy.watchdog_s):
                yield
        except TimeoutError as error:
            log.error("no end after %s s", self._policy.watchdog_s, extra={"action": "transaction_hung"})
            raise Lost("the broker did not answer in time") from error
        except KafkaError as error:
            denied = denial(error, reads=self._source.topic, group=self._policy.group)
            raise denied or Lost(repr(error)) from error
        except AssertionError as error:  # aiokafka asserts on the state of a transaction that failed before
            raise Lost("the producer is in no state to go on") from error

    async def _deliver(self, producer: AIOKafkaProducer, outcomes: Sequence[Outgoing]) -> None:
        """Send every record batch and await every acknowledgement: a commit succeeds even where a batch failed."""
        parcels = self._pack(producer, outcomes)
        acks = [await producer.send_batch(parcel.batch, parcel.topic, partition=parcel.partition) for parcel in parcels]
        answers = await asyncio.gather(*acks, return_exceptions=True)
        failures = [(p, a) for p, a in zip(parcels, answers, strict=True) if isinstance(a, BaseException)]
        refused = [(parcel, error) for parcel, error in failures if isinstance(error, _REFUSALS)]
        if refused:
            raise Refused({parcel.indexes[0]: error for parcel, error in refused if len(parcel.indexes) == 1})
        # what is not allowed first: it also fails the records beside it, in other words
        for _, error in sorted(failures, key=lambda failure: denial(failure[1]) is None):
            raise error

    def _pack(self, producer: AIOKafkaProducer, outcomes: Sequence[Outgoing]) -> list[_Parcel]:
        """Fill record batches, one or more for each output partition, in order."""
        open_parcels: dict[tuple[Route, int], _Parcel] = {}
        parcels: list[_Parcel] = []
        culprits: dict[int, KafkaError] = {}
        for index, outcome in enumerate(outcomes):
            partition = self._router.partition(outcome, self._source.partition)
            parcel = open_parcels.get((outcome.to, partition))
            if parcel is not None and parcel.add(outcome, index):
                continue
            parcel = _Parcel(self._router.topics[outcome.to], partition, producer.create_batch(), [])
            parcel.add(outcome, index)
            open_parcels[outcome.to, partition] = parcel
            parcels.append(parcel)
            if parcel.batch.size() > self._router.limits[outcome.to]:
                culprits[index] = MessageSizeTooLargeError(f"{parcel.batch.size()} bytes")
        if culprits:
            raise Refused(culprits)
        return parcels


async def _close(producer: AIOKafkaProducer) -> None:
    # stop() flushes, which may wait for a broker that is gone; then the sender and the sockets are ended directly
    with suppress(Exception):  # whatever a broken producer raises on its way out, it is thrown away
        async with asyncio.timeout(_DISCARD_S):
            await producer.stop()
            return
    with suppress(Exception):
        sender = producer._sender.sender_task  # noqa: SLF001  # no public call ends a sender that cannot flush
        if sender is not None:
            sender.cancel()
        await producer.client.close()


class Ledger(Protocol):
    """Asks the brokers."""

    async def end_again(self, last: LastTransaction, reachable: Reachable) -> None: ...
    async def partitions_for(self, topic: str) -> set[int]: ...


class ExactlyOnce(Outbox):
    """Outcomes and offset in one transaction. The transactional id follows the partition and fences a zombie."""

    def __init__(self, policy: OutboxPolicy, source: TopicPartition, router: Router, ledger: Ledger) -> None:
        super().__init__(policy, source, router)
        self._ledger = ledger
        self._last = LastTransaction(self.transactional_id, policy.group, policy.transaction_timeout_s)
        self._line: object = None  # of our producer to its coordinator
        self._used_at = 0.0  # time of the loop

    async def open(self) -> None:
        """Say again how the last transaction ended (`ending.py`), then start a producer.

        In this order: a new producer makes the coordinator forget.
        """
        self.discard()
        await self._ledger.end_again(self._last, self._reachable)
        await super().open()
        self._line, self._used_at = _line(self._producer), asyncio.get_running_loop().time()

    async def _reachable(self) -> list[TopicPartition]:
        await self._router.learn(self._ledger)
        return self._router.reachable(self._source.partition)

    @property
    def transactional_id(self) -> str:
        """`<group>:<topic>:<partition>`."""
        return f"{self._policy.group}:{self._source.topic}:{self._source.partition}"

    def _make_producer(self) -> AIOKafkaProducer:
        sender.BACKOFF_OVERRIDE = _ENDED_YET_S  # for all producers of the process: the client has no option
        return AIOKafkaProducer(
            **self._policy.connection.options(),
            transactional_id=self.transactional_id,
            transaction_timeout_ms=self._last.timeout_ms,
            request_timeout_ms=int(self._policy.request_timeout_s * 1000),
            max_batch_size=self._batch_bytes,
        )

    @property
    def used_before(self) -> bool:
        """The broker counts how often a transactional id was opened: the first time of all is epoch 0."""
        if self._producer is None:
            return False
        epoch = self._producer._txn_manager.producer_epoch  # noqa: SLF001  # no public call tells it
        return bool(epoch > 0)

    async def _transact(self, producer: AIOKafkaProducer, outcomes: Sequence[Outgoing], progress: Progress) -> Progress:
        self._check_line(producer)
        await producer.begin_transaction()
        # one after the other: of two that it verifies at once the broker refuses one, and the client waits 100 ms
        await self._deliver(producer, outcomes)
        offsets = {self._source: OffsetAndMetadata(progress.offset, progress.metadata())}
        await producer.send_offsets_to_transaction(offsets, self._policy.group)
        await producer.commit_transaction()
        return progress

    def _check_line(self, producer: AIOKafkaProducer) -> None:
        """A coordinator that went away may have lost the markers of our last transaction: they are said again first.

        For were this one aborted, what hangs in its partitions would be aborted with it. A client ends a connection
        that nobody used for nine minutes; that says nothing.
        """
        known, self._line = self._line, _line(producer)
        used_at, self._used_at = self._used_at, asyncio.get_running_loop().time()
        if known is not None and self._line is not known and self._used_at - used_at < _IDLE_S:
            raise Lost("the transaction coordinator went away")


def _line(producer: AIOKafkaProducer) -> object:
    """The connection to the transaction coordinator, another one after each loss; None while there is none."""
    node = producer._sender._coordinators.get(CoordinationType.TRANSACTION)  # noqa: SLF001  # nothing public tells
    line = producer.client._conns.get((node, ConnectionGroup.COORDINATION))  # noqa: SLF001  # as above
    return line if line is not None and line.connected() else None


class AtLeastOnce(Outbox):
    """For brokers without transactions: every acknowledgement first, then the offset.

    It goes beside the records of the next send, so that no record waits for the offset of others.
    """

    def __init__(
        self, policy: OutboxPolicy, source: TopicPartition, router: Router, consumer: AIOKafkaConsumer
    ) -> None:
        super().__init__(policy, source, router)
        self._consumer = consumer
        self._owed: Progress | None = None  # acknowledged, and not committed

    async def open(self) -> None:
        """Start a producer. What was acknowledged and not committed is forgotten: who sent it may send it again."""
        self._owed = None
        await super().open()

    def _make_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._policy.connection.options(),
            enable_idempotence=True,
            request_timeout_ms=int(self._policy.request_timeout_s * 1000),
            max_batch_size=self._batch_bytes,
        )

    async def _transact(
        self, producer: AIOKafkaProducer, outcomes: Sequence[Outgoing], progress: Progress
    ) -> Progress | None:
        due, self._owed = (self._owed, progress) if outcomes else (progress, None)
        # both to their end, whatever becomes of the other: nothing is on the way when it is asked what is stored
        ends = await asyncio.gather(self._deliver(producer, outcomes), self._commit(due), return_exceptions=True)
        for error in ends:
            if isinstance(error, BaseException):
                raise error
        return due

    async def _commit(self, progress: Progress | None) -> None:
        if progress is not None:
            await self._consumer.commit({self._source: OffsetAndMetadata(progress.offset, progress.metadata())})
