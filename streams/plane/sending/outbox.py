"""The last step: outcomes and the offset leave together. Every commit of a partition's progress goes through here.

`ExactlyOnce` does it in one transaction; `AtLeastOnce` sends, waits for every acknowledgement, and commits beside the
next send. How it can fail, and what the caller may believe then, is in `kafka/errors.py`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from ....schemas.records import Outgoing
from ...kafka.batches import Place
from ...kafka.errors import Lost
from ...kafka.last_transaction import LastTransaction
from ...kafka.sender import IdempotentSender, OutboxPolicy, Sender, TransactionalSender
from ..window.marks import Progress
from .coordinator import Coordination
from .routing import Router, Routing


class Outbox(ABC):
    """Sends the outcomes of one input partition."""

    sender: Sender  #: through which they leave

    def __init__(self, source: TopicPartition, router: Router) -> None:
        self._source = source
        self._router = router
        self._routing: Routing | None = None  # None until it is open
        self.transactions = 0  #: transactions that went through
        self.records = 0  #: records sent in them

    async def open(self) -> None:
        """Start a producer. Whoever owned the partition before can send nothing from here on (exactly once).

        Raises `Lost` when the broker does not answer in time, `NotAllowed` when it does not let us.
        """
        await self.sender.open()
        async with self.sender.watched():
            self._routing = self._router.use(await self._router.learn(self.sender.producer))

    def discard(self) -> None:
        """Throw the producer away without an abort: the next `open` ends its transaction."""
        self.sender.discard()

    async def close(self) -> None:
        """Close every connection, or leave it to itself where that does not end."""
        await self.sender.close()

    async def send(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress | None:
        """Send, and commit this progress or that of the send before; without outcomes, this one.

        Returns what is committed now, None for nothing new. Raises `RecordsRefused`, `Lost` or `NotAllowed`.
        """
        committed = await self._transact(outcomes, progress)
        self.transactions += 1
        self.records += len(outcomes)
        return committed

    async def confirm(self, stored: Progress) -> None:  # noqa: B027  # nothing is to be done exactly once
        """Show that the partition is still ours, where `open` does not: commit what is committed. Raises as `send`."""

    @property
    def used_before(self) -> bool:
        """Somebody committed for this partition before, so an offset must be there. False where it cannot be known."""
        return False

    @property
    def first(self) -> bool:
        """Nobody did, that is known. The first commit must hold no record; then it is opened again."""
        return False

    @property
    def reachable(self) -> list[TopicPartition]:
        """Every output partition that an outcome of this partition went to or can go to. Open it first."""
        return [] if self._routing is None else self._router.reachable(self._routing, self._source.partition)

    @abstractmethod
    async def _transact(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress | None: ...

    def _places(self, outcomes: Sequence[Outgoing]) -> list[Place]:
        if self._routing is None:
            raise Lost("it is not known how many partitions the topics have")
        return self._routing.places(outcomes, self._router.topics, self._source.partition)


class ExactlyOnce(Outbox):
    """Outcomes and offset in one transaction. The transactional id follows the partition and fences a zombie."""

    sender: TransactionalSender

    def __init__(
        self, policy: OutboxPolicy, source: TopicPartition, router: Router, coordination: Coordination
    ) -> None:
        super().__init__(source, router)
        self.transactional_id = f"{policy.group}:{source.topic}:{source.partition}"
        self._coordination = coordination
        limits = router.limits_by_topic
        self.sender = TransactionalSender(
            policy, self.transactional_id, limits, self._end_again, source.topic, router.own_ms
        )

    async def _end_again(self, last: LastTransaction) -> None:
        await self._coordination.end_again(last, self._reachable)

    async def _reachable(self) -> list[TopicPartition]:
        return self._router.reachable(await self._router.learn(self._coordination), self._source.partition)

    @property
    def used_before(self) -> bool:
        """The coordinator of transactions knows."""
        return self.sender.followed_another

    @property
    def first(self) -> bool:
        """As before."""
        return self.sender.first

    async def _transact(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress:
        offsets = {self._source: _offset(progress)}
        await self.sender.send(outcomes, self._places(outcomes), offsets)
        return progress


class AtLeastOnce(Outbox):
    """For brokers without transactions: every acknowledgement first, then the offset.

    It goes beside the records of the next send, so that no record waits for the offset of others.
    """

    def __init__(
        self, policy: OutboxPolicy, source: TopicPartition, router: Router, consumer: AIOKafkaConsumer
    ) -> None:
        super().__init__(source, router)
        self._consumer = consumer
        self.sender = IdempotentSender(policy, router.limits_by_topic, source.topic, router.own_ms)
        self._owed: Progress | None = None  # acknowledged, and not committed
        self._arrived = False  # the records of the last send were acknowledged

    async def open(self) -> None:
        """Start a producer. What was acknowledged and not committed is forgotten: who sent it may send it again."""
        self._owed = None
        await super().open()

    async def confirm(self, stored: Progress) -> None:
        """The group takes no commit of who lost the partition. What was sent is sent again only after this."""
        async with self.sender.watched():
            await self._commit(stored)

    async def _transact(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress | None:
        _ = self.sender.producer  # without one nothing is committed either
        due, self._owed = (self._owed, progress) if outcomes else (progress, None)
        self._arrived = False
        try:
            async with self.sender.watched():
                # both to their end, whatever becomes of the other: nothing is on the way when what is stored is asked
                ends = await asyncio.gather(self._deliver(outcomes), self._commit(due), return_exceptions=True)
                for error in ends:
                    if isinstance(error, BaseException):
                        raise error
        except Lost as lost:
            lost.arrived = self._arrived
            raise
        return due

    async def _deliver(self, outcomes: Sequence[Outgoing]) -> None:
        await self.sender.deliver(outcomes, self._places(outcomes))
        self._arrived = True

    async def _commit(self, progress: Progress | None) -> None:
        if progress is not None:
            await self._consumer.commit({self._source: _offset(progress)})


def _offset(progress: Progress) -> OffsetAndMetadata:
    return OffsetAndMetadata(progress.offset, progress.metadata())
