"""The one way in which records leave: an outbox sends through it, a partition's or a job's.

    open ─▶ send ─▶ send ─▶ … ─▶ Lost ─▶ open again, and ask what is committed

`IdempotentSender` sends and waits for every acknowledgement. `TransactionalSender` sends records and offsets in one
transaction; whoever had its transactional id before can send nothing once it is open.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from ...agents.tasks import begin
from .batches import Place, Sendable, Stamps, fill
from .connection import Connection
from .errors import Disconnected, Lost, RecordsRefused, denial
from .last_transaction import LastTransaction, Producer, last_of
from .producer import (
    DISCARD_S,
    TieBroken,
    Ties,
    before_it_begins,
    idempotent_producer,
    identity_of,
    put_away,
    ties_of,
    transactional_producer,
)
from .refusals import Refusal

log = logging.getLogger(__name__)

T = TypeVar("T")

#: seconds without a transaction after which a lost connection may be one that nobody used
_IDLE_S = 480.0
#: seconds for which a transaction waits for the end of the last one before that is said again: a marker that waits for
#: a silent broker may be left out when that leads no more, which is after its session (9 s by default)
_ENDS_WITHIN_S = 2.0
#: seconds for the question who has our transactional id
_ASK_S = 5.0
#: seconds before a broker that did not answer is asked again
_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class OutboxPolicy:
    """How the outbox of a partition, or a job, reaches the broker for sending."""

    connection: Connection  #: to the broker
    group: str  #: consumer group whose offsets are committed
    #: seconds after which the broker aborts an open transaction, and we wait for none: the client would, for ever
    transaction_timeout_s: float
    request_timeout_s: float  #: seconds for one request
    watchdog_s: float  #: seconds for which a command asks again; after so many without a fetch a worker ends
    batch_bytes: int = 512 * 1024  #: bytes of one record batch


async def until_answered(ask: Callable[[], Awaitable[T]], patience_s: float) -> T:
    """Ask again what is `Lost`: the coordinators of a broker that has just started say nothing for a while."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience_s
    while True:
        try:
            return await ask()
        except Lost:
            if clock() > deadline:
                raise
            await asyncio.sleep(_AGAIN_S)


class Sender(ABC):
    """One producer at a time: opened, thrown away, and opened again."""

    def __init__(
        self, policy: OutboxPolicy, limits: Mapping[str, int], reads: str = "", own_ms: Mapping[str, int] | None = None
    ) -> None:
        """`limits`: bytes of the largest batch that each topic takes; `reads`: the topic whose offsets are committed,
        meant where the client does not say which one it may not read; `own_ms`: milliseconds for which records of each
        topic bear their own timestamp (`Stamps`), as it is at any time.
        """
        self._policy = policy
        self._own_ms = {} if own_ms is None else own_ms
        self._limits = limits
        self._reads = reads
        self._producer: AIOKafkaProducer | None = None
        self._acks: list[tuple[Place, asyncio.Future[object]]] = []  # of what was sent last
        self._discarding: set[asyncio.Task[None]] = set()

    @property
    def producer(self) -> AIOKafkaProducer:
        """Raises `Lost` where none is open."""
        if self._producer is None:
            raise Lost("no producer is open")
        return self._producer

    async def open(self) -> None:
        """Start a producer in place of the last one.

        Raises `Lost` when the broker does not answer in time, `NotAllowed` when it does not let us.
        """
        self.discard()
        self._producer = self._make_producer()
        async with self.watched():
            await self._producer.start()

    def discard(self) -> None:
        """Throw the producer away without an abort: the next `open` ends its transaction."""
        producer, self._producer = self._producer, None
        if producer is not None:
            task = begin(put_away(producer), "closing a producer")
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)

    async def close(self) -> None:
        """Close every connection, or leave it to itself where that does not end."""
        self.discard()
        if self._discarding:
            await asyncio.wait(self._discarding, timeout=2 * DISCARD_S)

    @abstractmethod
    def _make_producer(self) -> AIOKafkaProducer: ...

    @property
    def _batch_bytes(self) -> int:
        return min([self._policy.batch_bytes, *self._limits.values()])

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Translate foreign errors once, and end calls that would retry for ever."""
        patience_s = self._policy.transaction_timeout_s
        try:
            async with asyncio.timeout(patience_s):
                yield
        except TimeoutError as error:
            log.error("no end after %s s", patience_s, extra={"action": "transaction_hung"})
            raise Lost("the broker did not answer in time") from error
        except TieBroken as error:
            raise Disconnected from error
        except KafkaError as error:
            raise denial(error, reads=self._reads, group=self._policy.group) or Lost(repr(error)) from error
        except AssertionError as error:  # aiokafka asserts on the state of a transaction that failed before
            raise Lost("the producer is in no state to go on") from error

    async def deliver(self, records: Sequence[Sendable], places: Iterable[Place], *, alone: bool = False) -> None:
        """Send every record batch and await every acknowledgement: a commit succeeds even where a batch failed.

        `alone`: each record in a batch of its own, so that it is known which one is refused. Raises `RecordsRefused`,
        and the client's errors: call it `watched`.
        """
        producer, self._acks = self.producer, []
        stamps = Stamps(int(time.time() * 1000), self._own_ms)
        batches = fill(producer.create_batch, records, places, self._limits, alone=alone, stamps=stamps)
        for batch in batches:
            ack = await producer.send_batch(batch.batch, batch.topic, partition=batch.partition)
            self._acks.append(((batch.topic, batch.partition), ack))
        answers = await asyncio.gather(*(ack for _, ack in self._acks), return_exceptions=True)
        failures = [(b, a) for b, a in zip(batches, answers, strict=True) if isinstance(a, BaseException)]
        refused = [error.culprits(batch.indexes) for batch, error in failures if isinstance(error, Refusal)]
        if refused:
            raise RecordsRefused({index: why for culprits in refused for index, why in culprits.items()})
        # what is not allowed first: it also fails the records beside it, in other words
        for _, error in sorted(failures, key=lambda failure: denial(failure[1]) is None):
            raise error


class IdempotentSender(Sender):
    """For brokers without transactions."""

    def _make_producer(self) -> AIOKafkaProducer:
        policy = self._policy
        return idempotent_producer(policy.connection, policy.request_timeout_s, self._batch_bytes)


class TransactionalSender(Sender):
    """Records and offsets, all or nothing. One at a time has a transactional id: a zombie is fenced."""

    def __init__(
        self,
        policy: OutboxPolicy,
        transactional_id: str,
        limits: Mapping[str, int],
        end_again: Callable[[LastTransaction], Awaitable[None]],
        reads: str = "",
        own_ms: Mapping[str, int] | None = None,
    ) -> None:
        """`end_again` ends the last transaction again as it ended. It raises `Lost` and `NotAllowed`."""
        super().__init__(policy, limits, reads, own_ms)
        self._transactional_id = transactional_id
        self._end_again = end_again
        self._last = LastTransaction(transactional_id, policy.group, policy.transaction_timeout_s)
        self._ties: Ties = {}  # of the last transaction that went through
        self._used_at = 0.0  # time of the loop at which the last transaction began, or is beginning
        self._begun_here = False  # the first producer of all was ours

    async def open(self) -> None:
        """End the last transaction again as it ended, then start a producer.

        In this order: a new producer makes the coordinator forget.
        """
        self.discard()
        self._last.unheard |= self._unheard()
        await self._end_again(self._last)
        await super().open()
        self._ties = ties_of(self.producer, [CoordinationType.TRANSACTION])
        self._used_at = asyncio.get_running_loop().time()
        before_it_begins(self.producer, partial(self._check_last, self.producer))

    def _unheard(self) -> frozenset[TopicPartition]:
        """Partitions of the last transaction in which nothing was acknowledged."""
        heard = {place for place, ack in self._acks if ack.done() and not ack.cancelled() and ack.exception() is None}
        sent, self._acks = {place for place, _ in self._acks}, []
        return frozenset(TopicPartition(*place) for place in sent - heard)

    def _make_producer(self) -> AIOKafkaProducer:
        policy = self._policy
        return transactional_producer(
            policy.connection,
            self._transactional_id,
            self._last.timeout_ms,
            policy.request_timeout_s,
            self._batch_bytes,
        )

    @property
    def first(self) -> bool:
        """Nothing was ever committed under this transactional id before it was opened: the coordinator says so.

        Whoever commits then opens again, before the next transaction (`last_transaction.py`).
        """
        return self._last.ever_committed is False

    @property
    def followed_another(self) -> bool:
        """Something was committed before it was opened, or may have been.

        Where the coordinator does not tell, its count does: the first producer of all has epoch 0.
        """
        if self._last.ever_committed is not None:
            return self._last.ever_committed
        ours = identity_of(self._producer) if self._producer is not None else None
        self._begun_here = self._begun_here or (ours is not None and ours.epoch == 0)
        return not self._begun_here

    async def send(
        self,
        records: Sequence[Sendable],
        places: Iterable[Place],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        *,
        alone: bool = False,
    ) -> None:
        """One transaction. `alone`: as in `deliver`.

        Raises `RecordsRefused`, `Lost` and `NotAllowed`; after the first two, open again.
        """
        producer = self.producer
        async with self.watched():
            self._begins(producer)
            self._last.unheard = frozenset()
            await producer.begin_transaction()
            # one after the other: of two that it verifies at once the broker refuses one, and the client waits 100 ms
            await self.deliver(records, places, alone=alone)
            written = {place for place, _ in self._acks}
            ties = ties_of(producer, written)
            await producer.send_offsets_to_transaction(dict(offsets), self._policy.group)
            self._last.written = identity_of(producer), frozenset(TopicPartition(*place) for place in written)
            ties |= ties_of(producer, CoordinationType)
            await producer.commit_transaction()
            self._ties = ties

    async def superseded(self) -> bool:
        """Another producer has our transactional id by now. False where ours never had it, or nobody tells, and where
        the broker itself has ended our transaction for its age: that fences us, too.

        The broker (Kafka 4.4.0) does not always say so in its error: asked to end a transaction while it fences its
        producer, it was seen to answer that it failed, error -1.
        """
        ours = identity_of(self._producer) if self._producer is not None else None
        if ours is None:
            return False
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_ASK_S):
                return await self._followed(ours)
        return False

    async def _followed(self, ours: Producer) -> bool:
        last = await last_of(self.producer.client, self._transactional_id)
        if last is not None and last.timed_out(ours):  # so it looks for a moment while another takes over, too
            await asyncio.sleep(_AGAIN_S)
            last = await last_of(self.producer.client, self._transactional_id)
        return last is not None and last.producer != ours and not last.timed_out(ours)

    def _begins(self, producer: AIOKafkaProducer) -> None:
        """A client ends a connection that nobody used for nine minutes: after that, a lost one says nothing."""
        last, self._used_at = self._used_at, asyncio.get_running_loop().time()
        if self._used_at - last >= _IDLE_S:
            self._ties = {}
        self._check_last(producer)

    def _check_last(self, producer: AIOKafkaProducer) -> None:
        """Raise `TieBroken` where a broker of the last transaction went away, or is silent: it is ended again first.

        Its markers may be missing, and were the next one aborted, what hangs in its partitions would be aborted, too.
        A producer that was thrown away begins nothing more.
        """
        waits_s = asyncio.get_running_loop().time() - self._used_at
        ties = ties_of(producer, self._ties)
        broken = any(tie is None or tie is not ties[key] for key, tie in self._ties.items())
        if broken or waits_s > _ENDS_WITHIN_S or self._producer is not producer:
            raise TieBroken
