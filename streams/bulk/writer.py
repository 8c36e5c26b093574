"""How the owner of a partition writes: outcomes, an entry of the log, and its progress, in one transaction.

Whoever opens it last is the owner: the broker takes nothing more from who opened it before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from ...schemas.bulk import BulkEntry, encode_bulk
from ...schemas.codec import facts_of
from ...schemas.records import Headers, Incoming, Outgoing
from ..kafka.batches import Sendable
from ..kafka.errors import Lost, RecordsRefused
from ..kafka.last_transaction import LastTransaction
from ..kafka.sender import OutboxPolicy, TransactionalSender
from ..plane.sending.coordinator import Coordinator
from ..plane.sending.routing import Router, Routing
from ..plane.sending.substitute import FallbackSubstitute

log = logging.getLogger(__name__)

#: times that a transaction is tried whose records the broker refuses
_TRIES = 5
#: speaks for outcomes that the broker does not take
_instead_of = FallbackSubstitute("remote", facts_of)


class Leaving(NamedTuple):
    """A record that leaves, and what it is about."""

    about: Incoming
    outgoing: Outgoing
    companion: bool = False  #: of an outcome: where it is refused, the outcome leaves without it


class _Entry(NamedTuple):
    """An entry as it is sent."""

    key: bytes
    value: bytes
    headers: Headers = ()
    timestamp: int = 0  #: the broker's own is taken


class BulkWriter:
    """Writes for one partition of `batched`."""

    def __init__(self, policy: OutboxPolicy, source: TopicPartition, to: str, router: Router, to_bytes: int) -> None:
        """`to`: the topic of the log, which takes batches of `to_bytes`."""
        self._source = source
        self._log = TopicPartition(to, source.partition)
        self._router = router
        self._routing: Routing | None = None
        self._coordinator = Coordinator(policy.connection, policy.group)
        self._sender = TransactionalSender(
            policy,
            f"{policy.group}:{source.topic}:{source.partition}",
            {**router.limits_by_topic, to: to_bytes},
            self._end_again,
            source.topic,
            router.own_ms,
        )

    async def open(self) -> None:
        """From now on nobody else writes for this partition. Raises `Lost` and `NotAllowed`."""
        await self._sender.open()
        async with self._sender.watched():
            self._routing = self._router.use(await self._router.learn(self._sender.producer))

    async def close(self) -> None:
        """An open transaction ends with the next owner's first."""
        await self._sender.close()
        await self._coordinator.close()

    async def topic_id(self) -> str:
        """The id of the topic that is read, '' where the broker has none. Raises `Lost` and `NotAllowed`."""
        return await self._coordinator.topic_id(self._source.topic)

    async def committed(self) -> int | None:
        """The offset that is committed; None for none. Raises `Lost` and `NotAllowed`."""
        stored = (await self._coordinator.committed([self._source])).get(self._source)
        return None if stored is None else int(stored.offset)

    async def _end_again(self, last: LastTransaction) -> None:
        await self._coordinator.end_again(last, self._reachable)

    async def _reachable(self) -> list[TopicPartition]:
        routing = await self._router.learn(self._coordinator)
        return [*self._router.reachable(routing, self._source.partition), self._log]

    async def commit(self, leaving: Sequence[Leaving], entry: BulkEntry) -> None:
        """One transaction. What the broker refuses leaves as the fallback record that says so, or not at all where it
        is a companion. Raises `Lost` and `NotAllowed`: then it is not known whether it went through. One at a time.
        """
        alone = False
        for _ in range(_TRIES):
            try:
                await self._transact(leaving, entry, alone=alone)
            except RecordsRefused as refused:
                alone = alone or not refused.culprits
                leaving = _instead(leaving, refused)
                await self._sender.open()
            else:
                return
        raise Lost("the broker refuses records again and again")

    async def _transact(self, leaving: Sequence[Leaving], entry: BulkEntry, *, alone: bool) -> None:
        if self._routing is None:
            raise Lost("it is not known how many partitions the topics have")
        topics, partition, number = self._router.topics, self._routing.partition, self._source.partition
        records: list[Sendable] = [one.outgoing for one in leaving]
        places = [(topics[one.outgoing.to], partition(one.outgoing, number)) for one in leaving]
        written = _Entry(entry.pipeline.encode(), encode_bulk(entry))
        offsets = {self._source: OffsetAndMetadata(entry.next, "")}
        await self._sender.send([*records, written], [*places, (self._log.topic, number)], offsets, alone=alone)


def _instead(leaving: Sequence[Leaving], refused: RecordsRefused) -> list[Leaving]:
    """What leaves in place of what is refused. Raises `Lost` where it is the entry of the log."""
    if len(leaving) in refused.culprits:
        raise Lost(f"the topic of the batches takes no entry: {refused}") from refused
    kept = []
    for index, one in enumerate(leaving):
        if index not in refused.culprits:
            kept.append(one)
            continue
        place = (one.about.topic, one.about.partition, one.about.offset)
        facts = {"action": "record_refused", "to": one.outgoing.to}
        log.error("an outcome of %s-%d-%d is refused: %s", *place, refused.culprits[index], extra=facts)
        if not one.companion:
            kept.append(Leaving(one.about, _fallen(one.about, refused, index)))
    return kept


def _fallen(record: Incoming, refused: RecordsRefused, index: int) -> Outgoing:
    detail = str(refused.culprits[index])
    return (_instead_of.too_large if refused.too_large(index) else _instead_of.refused)(record, detail)
