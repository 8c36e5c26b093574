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
from ..plane.sending.companions import Accompanying, Companion, Companions
from ..plane.sending.coordinator import Coordinator
from ..plane.sending.routing import Router, Routing
from ..plane.sending.substitute import FallbackSubstitute
from ..plane.window.slots import Slot

log = logging.getLogger(__name__)

#: times that a transaction is tried whose records the broker refuses: the outcome, its companion, the smaller one
_TRIES = 8
#: speaks for outcomes that the broker does not take
_instead_of = FallbackSubstitute("remote", facts_of)


class Leaving(NamedTuple):
    """A record that leaves, and what it is about."""

    about: Incoming
    outgoing: Outgoing


class _Entry(NamedTuple):
    """An entry as it is sent."""

    key: bytes
    value: bytes
    headers: Headers = ()
    timestamp: int = 0  #: the broker's own is taken


class BulkWriter:
    """Writes for one partition of `batched`."""

    def __init__(
        self,
        policy: OutboxPolicy,
        source: TopicPartition,
        to: str,
        router: Router,
        to_bytes: int,
        companions: Companions | None = None,
    ) -> None:
        """`to`: the topic of the log, which takes batches of `to_bytes`."""
        self._companions = companions
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

    @property
    def first(self) -> bool:
        """Nobody committed for this partition before, that is known. Whoever commits then opens again."""
        return self._sender.first

    @property
    def used_before(self) -> bool:
        """Somebody did. False where it cannot be known."""
        return self._sender.followed_another

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
        """One transaction, with the companions of what leaves. What the broker refuses leaves as the fallback record
        that says so; a companion as a smaller one, or not at all. Raises `Lost` and `NotAllowed`: then it is not known
        whether it went through. One at a time.
        """
        slots, accompanying = [_slot(one) for one in leaving], Accompanying(self._companions)
        alone = False
        for _ in range(_TRIES):
            span = (slots[0].offset, slots[-1].offset + 1) if slots else (0, 0)
            companions = accompanying.of(slots, *span, in_order=False)
            try:
                await self._transact(slots, companions, entry, alone=alone)
            except RecordsRefused as refused:
                alone = alone or not refused.culprits
                _set_aside(slots, companions, accompanying, refused)
                await self._sender.open()
            else:
                return
        raise Lost("the broker refuses records again and again")

    async def _transact(
        self, slots: Sequence[Slot], companions: Sequence[Companion], entry: BulkEntry, *, alone: bool
    ) -> None:
        if self._routing is None:
            raise Lost("it is not known how many partitions the topics have")
        number = self._source.partition
        outgoing = [slot.outcome for slot in slots if slot.outcome is not None]
        outgoing += [companion.record for companion in companions]
        places = self._routing.places(outgoing, self._router.topics, number)
        records: list[Sendable] = [*outgoing, _Entry(entry.pipeline.encode(), encode_bulk(entry))]
        offsets = {self._source: OffsetAndMetadata(entry.next, "")}
        await self._sender.send(records, [*places, (self._log.topic, number)], offsets, alone=alone)


def _slot(one: Leaving) -> Slot:
    return Slot(one.about, one.about.offset, 0, called=True, outcome=one.outgoing)


def _set_aside(
    slots: Sequence[Slot], companions: Sequence[Companion], accompanying: Accompanying, refused: RecordsRefused
) -> None:
    """See to it that something else leaves in place of what is refused. Raises `Lost` for the entry of the log."""
    for index, error in refused.culprits.items():
        if index < len(slots):
            _fall(slots[index], refused, index)
        elif index < len(slots) + len(companions):
            accompanying.refused(companions[index - len(slots)], error)
        else:
            raise Lost(f"the topic of the batches takes no entry: {refused}") from refused


def _fall(slot: Slot, refused: RecordsRefused, index: int) -> None:
    record, error = slot.record, refused.culprits[index]
    to = "" if slot.outcome is None else slot.outcome.to
    text, place = "an outcome of %s-%d-%d is refused: %s", (record.topic, record.partition, record.offset)
    log.error(text, *place, error, extra={"action": "record_refused", "to": to})
    made = _instead_of.too_large if refused.too_large(index) else _instead_of.refused
    slot.outcome = made(record, f"the broker refuses the {to} record: {error}")
