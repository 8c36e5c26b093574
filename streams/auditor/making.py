"""From a configuration to this worker's part in the audit."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError
from mode import Service

from ...agents.tasks import begin, end, persistently
from ..flow import auditor_group
from ..settings.file import Configuration
from ..topics.admin import admin_client, count_partitions
from ..topics.creating import create_command
from ..topics.reading import TopicMissing
from .auditor import AuditorPolicy
from .membership import Membership
from .rules import current_rules
from .standing import Following, Standing


def make_audit(configuration: Configuration, standing: Standing) -> tuple[Membership, Following] | None:
    """Our part in who audits, and what follows the auditor; None without an audit. `standing` is kept up to date."""
    settings = configuration.settings
    if not settings.audit.share:
        return None
    standing.enabled = True
    membership = Membership(
        auditor_policy(configuration),
        current_rules(settings),
        standing,
        settings.kafka.session_timeout_s,
        lambda: _topics_there(configuration),
    )
    return membership, Following(configuration.connection, settings.topics.trust, settings.name, standing)


def auditor_policy(configuration: Configuration) -> AuditorPolicy:
    """What the auditor reads and writes."""
    settings = configuration.settings
    return AuditorPolicy(
        connection=configuration.connection,
        pipeline=settings.name,
        audits=settings.topics.audits,
        labels=settings.topics.labels,
        trust=settings.topics.trust,
        transactional_id=auditor_group(settings),
        transaction_timeout_s=settings.stream.transaction_timeout_s,
        request_timeout_s=settings.kafka.request_timeout_s,
        close_every_s=settings.audit.close_every_s,
        thresholds=settings.topics.thresholds if settings.follows else "",
        by=f"{socket.gethostname()}:{os.getpid()}",
    )


#: seconds until what follows the audit begins again
_AGAIN_S = 10.0


async def _topics_there(configuration: Configuration) -> None:
    """Raises `BrokerUnreachable` and `TopicMissing`. To ask for a missing topic in another way may make it."""
    topics = configuration.settings.topics
    versions = (topics.thresholds,) if configuration.settings.follows else ()
    needed = (topics.audits, topics.labels, topics.trust, *versions)
    async with admin_client(configuration.connection, configuration.settings.kafka.request_timeout_s) as admin:
        there = await count_partitions(admin, needed)
    if missing := [name for name in needed if name not in there]:
        command = create_command(configuration.settings)
        raise TopicMissing(f"there is no topic {', '.join(missing)}: `{command}` makes what is missing")


class AuditService(Service):
    """Runs our part in the audit for as long as the worker lives. Nothing in it ends the worker."""

    logger = logging.getLogger("faust.services")  # as that of the worker's other services: telemetry/logs.py says why

    def __init__(self, membership: Membership, following: Following, **kwargs: Any) -> None:  # noqa: ANN401  # for mode
        super().__init__(**kwargs)
        self._membership = membership
        self._following = following
        self._begun: list[asyncio.Task[None]] = []

    async def on_start(self) -> None:
        """Join the group, and follow what its auditor writes."""
        self._begun = [
            begin(persistently(self._membership.run, "audit"), "audit"),
            begin(self._follow(), "following the audit"),
        ]

    async def _follow(self) -> None:
        """For ever: what fails is told by the membership, which needs the same broker."""
        while True:
            with suppress(KafkaError, OSError, TimeoutError):
                await self._membership.topics_there()
                await self._following.run()
            await asyncio.sleep(_AGAIN_S)

    async def on_stop(self) -> None:
        """Leave it, so that another worker audits at once."""
        await end(self._begun)
