"""Which worker of the fleet is the auditor: who owns the partition of `labels` in a consumer group.

The group only says who; no offset is committed there. One that was frozen, and wakes when another has taken over, may
not know it yet: the broker takes nothing from it any more, and it joins the group again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError, ProducerFenced

from ...agents.auditing.ledger.ledger import Rules
from ...agents.tasks import Rests, begin, end
from ...schemas.errors import BiSupervisedError, ConfigurationError
from ..kafka.consumer import check_client, member_of, part_from
from ..kafka.errors import denial
from .auditor import Again, Auditor, AuditorPolicy
from .standing import Standing

log = logging.getLogger(__name__)

#: what a broker that fails, or is gone, makes the client raise; and what is wrong with a configuration
_FAILURES = (KafkaError, OSError, TimeoutError, BiSupervisedError, ConfigurationError)
#: seconds until what failed begins again: the first of them, doubled each time, and the last
_AGAIN_FIRST_S, _AGAIN_MOST_S = 2.0, 60.0
_LOOK_MS = 500


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A member of the auditor's group, for as long as the worker lives."""

    def __init__(
        self,
        policy: AuditorPolicy,
        rules: Callable[[], Rules],
        standing: Standing,
        session_timeout_s: float,
        topics_there: Callable[[], Awaitable[None]],
        make: Callable[[AuditorPolicy, Callable[[], Rules], Standing], Auditor] = Auditor,
    ) -> None:
        """`standing` is kept up to date. `topics_there` raises where one is missing. `make`: the auditor, where we are
        the one.
        """
        self._policy = policy
        self._rules = rules
        self._standing = standing
        self._session_timeout_s = session_timeout_s
        self.topics_there = topics_there
        self._make = make
        self._place = TopicPartition(policy.labels, 0)
        self._consumer: Any = None  # aiokafka has no types
        self._auditing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Membership of {self._policy.transactional_id}{', auditing' if self._auditing else ''}>"

    async def run(self) -> None:
        """Be a member, and the auditor where the group says so, until cancelled."""
        rests = Rests(_AGAIN_FIRST_S, _AGAIN_MOST_S)
        while True:
            rests.begins()
            self._standing.failure = ""
            try:
                await self._be_a_member()
            except ProducerFenced:
                log.info("another worker is the auditor by now", extra={"action": "audit_fenced"})
            except Again as again:
                log.info("the audit is taken over anew: %s", again, extra={"action": "audit_again"})
                continue
            except _FAILURES as error:
                why = denial(error, reads=self._policy.audits, writes=self._policy.trust) or error
                self._standing.failure = str(why) or repr(why)
                log.warning("the audit has failed, and begins again: %r", why, extra={"action": "audit_failed"})
            await rests.rest()

    async def _be_a_member(self) -> None:
        """Until it fails."""
        await self.topics_there()
        self._consumer = member_of(self._policy.connection, self._policy.transactional_id, self._session_timeout_s)
        try:
            await self._consumer.start()
            self._consumer.subscribe([self._place.topic], listener=self)
            while True:
                check_client(self._consumer)
                await self._consumer.getmany(timeout_ms=_LOOK_MS)  # nothing: it is paused
                if self._auditing is not None and self._auditing.done():
                    await self._auditing
        finally:
            await self._end_auditing()
            consumer, self._consumer = self._consumer, None
            await part_from(consumer)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """We are the auditor, or are not."""
        for place in assigned:
            self._consumer.pause(place)
        if self._place in assigned and self._auditing is None:
            auditor = self._make(self._policy, self._rules, self._standing)
            self._auditing = begin(auditor.run(), "auditor", lambda _: None)  # who looks at it awaits it

    async def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """We are not, for now."""
        await self._end_auditing()

    async def _end_auditing(self) -> None:
        task, self._auditing = self._auditing, None
        if task is not None:
            await end([task])
