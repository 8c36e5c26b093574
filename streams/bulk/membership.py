"""Which partitions of `batched` this worker owns: those that its consumer group gives it.

The group only says who; what an owner has done is in its log, and committed beside it. An owner that was frozen, and
wakes when another has taken over, may not know it yet: the broker takes nothing from it any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from ...agents.tasks import Rests, begin, end
from ...schemas.errors import BiSupervisedError
from ..kafka.consumer import check_client, member_of, part_from
from ..kafka.errors import denial
from .owner import Owner

if TYPE_CHECKING:
    from .policy import BulkPolicy
    from .standing import BulkStanding

log = logging.getLogger(__name__)

#: what a broker that fails, or is gone, makes the client raise; a full disk; and what was translated from these
_FAILURES = (KafkaError, OSError, TimeoutError, BiSupervisedError)
#: seconds until what failed begins again: the first of them, doubled each time, and the last
_AGAIN_FIRST_S, _AGAIN_MOST_S = 1.0, 15.0
_LOOK_MS = 500


class BulkMembership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A member of the group, for as long as the worker lives."""

    def __init__(self, policy: BulkPolicy, make: Callable[[int], Owner], standing: BulkStanding) -> None:
        """`make`: the owner of a partition, where that is ours."""
        self._policy = policy
        self._make = make
        self._standing = standing
        self._consumer: Any = None  # aiokafka has no types
        self._owners: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<BulkMembership of {self._policy.outbox.group}, owns {sorted(self._owners)}>"

    async def run(self) -> None:
        """Be a member until cancelled."""
        rests = Rests(_AGAIN_FIRST_S, _AGAIN_MOST_S)
        while True:
            rests.begins()
            try:
                await self._be_a_member()
            except _FAILURES as error:
                why = denial(error, reads=self._policy.batched, group=self._policy.outbox.group) or error
                text = "the group of the batches is joined again: %r"
                log.warning(text, why, extra={"action": "batches_left"})
            await rests.rest()

    async def _be_a_member(self) -> None:
        policy = self._policy
        self._consumer = member_of(policy.connection, policy.outbox.group, policy.session_timeout_s)
        try:
            await self._consumer.start()
            self._consumer.subscribe([self._policy.batched], listener=self)
            while True:
                check_client(self._consumer)
                await self._consumer.getmany(timeout_ms=_LOOK_MS)  # nothing: all is paused
        finally:
            self._own(set())
            await end(self._leaving)
            consumer, self._consumer = self._consumer, None
            await part_from(consumer)

    async def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """Nothing: most come back, and whoever gets another one fences us."""

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """These are ours, and no others."""
        for place in assigned:
            self._consumer.pause(place)
        self._own({place.partition for place in assigned})

    def _own(self, numbers: set[int]) -> None:
        for number in self._owners.keys() - numbers:
            task = self._owners.pop(number)
            task.cancel()
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        for number in numbers - self._owners.keys():
            self._owners[number] = begin(self._be_owner(number), f"owner of batches {number}")

    async def _be_owner(self, number: int) -> None:
        """For as long as it is ours."""
        rests = Rests(_AGAIN_FIRST_S, _AGAIN_MOST_S)
        try:
            while True:
                rests.begins()
                try:
                    await self._make(number).run()
                except Exception as error:  # noqa: BLE001  # whatever it is, nobody else owns the partition
                    why = denial(error, reads=self._policy.batched) or error
                    self._standing.failures[number] = str(why) or repr(why)
                    text = "the batches of %s-%d have failed, and are taken over again: %r"
                    log.warning(text, self._policy.batched, number, why, extra={"action": "batches_failed"})
                await rests.rest()
        finally:
            self._standing.failures.pop(number, None)
