"""Before anything starts: are the topics there, may we read them, how many partitions have they, how large a record.

All that is missing is told at once. What a worker later needs of the answers is in `TopicFacts`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.fetch import FetchRequest

from ...schemas.errors import ConfigurationError
from ..flow import read_by, topics_of
from ..kafka.asking import TOO_OLD, ask_any, capabilities, who_answers
from ..kafka.client import client_of
from ..kafka.errors import BrokerUnreachable, NotAllowed, NotLetIn
from ..settings.file import Configuration
from ..settings.tables import Settings
from ..topics.admin import admin_client, count_partitions, message_bytes
from ..topics.creating import create_command
from ..topics.keeping import Keeping, keeping

if TYPE_CHECKING:
    from ..flow import Step

log = logging.getLogger(__name__)

#: seconds until a broker that was not there is asked again
_AGAIN_S = 1.0
#: no partition holds a record there
_NO_OFFSET = 2**62


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the broker says of the topics."""

    partitions: dict[str, int]  #: partitions of each topic
    message_bytes: dict[str, int]  #: bytes of the largest record batch a topic accepts
    kept: dict[str, Keeping]  #: for how long each topic keeps its records


async def preflight(configuration: Configuration, flow: Sequence[Step]) -> TopicFacts:
    """Ask the broker. Raises `ConfigurationError` naming every missing or unreadable topic, or where the broker is too
    old for exactly once, and `BrokerUnreachable`.
    """
    settings = configuration.settings
    wanted = dict.fromkeys(name for step in flow for name in topics_of(settings, step))
    async with admin_client(configuration.connection, settings.kafka.request_timeout_s) as admin:
        await _tell_who_answers(admin)
        if settings.stream.delivery == "exactly_once" and not (await capabilities(client_of(admin))).exactly_once:
            raise ConfigurationError([TOO_OLD])
        partitions = await count_partitions(admin, wanted)
        missing = [name for name in wanted if name not in partitions]
        if missing:
            raise ConfigurationError([_missing(settings, name) for name in missing])
        read = dict.fromkeys(name for step in flow for name in read_by(settings, step))
        if denied := [str(NotAllowed("Read", "topic", name)) for name in read if not await _may_read(admin, name)]:
            raise ConfigurationError(denied)
        limits = {name: await message_bytes(admin, name) for name in wanted}
        kept = await keeping(admin, settings, wanted)
    return TopicFacts(partitions, limits, kept)


async def until_answered(configuration: Configuration, flow: Sequence[Step]) -> TopicFacts:
    """As `preflight`; asks again for `[kafka] start_wait_s` seconds while no broker answers."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + configuration.settings.kafka.start_wait_s
    while True:
        try:
            return await preflight(configuration, flow)
        except NotLetIn:
            raise
        except BrokerUnreachable as error:
            if clock() >= deadline:
                raise
            log.warning("waits for a broker: %s", error, extra={"action": "broker_awaited"})
            await asyncio.sleep(_AGAIN_S)


async def _tell_who_answers(admin: Any) -> None:  # noqa: ANN401  # aiokafka has no types
    there, away = await who_answers(client_of(admin))
    if away:
        text = "no answer from %s; answers from %s"
        log.warning(text, ", ".join(away), ", ".join(there) or "none", extra={"action": "broker_silent"})
    else:
        log.info("all brokers answer: %s", ", ".join(there), extra={"action": "brokers_answer"})


def _missing(settings: Settings, name: str) -> str:
    fault = f"[topics] {name}: the broker has no such topic; run: {create_command(settings)}"
    if settings.kafka.security_protocol == "PLAINTEXT":
        return fault
    return f"{fault} (or does not show it to us: `bisupervised topics acls{settings.option}` prints what to grant)"


async def _may_read(admin: Any, topic: str) -> bool:  # noqa: ANN401  # aiokafka has no types
    """Found later, at a first commit, it would end a worker that has begun.

    Whoever may read is told that there is no such offset, or another leader: no record is fetched.
    """
    client = client_of(admin)
    partitions = [(0, _NO_OFFSET, 1)]
    told, _ = await ask_any(client, FetchRequest(0, 0, 1, 1, [(topic, partitions)]))
    codes = [code for _, answers in told.topics for _, code, *_ in answers]
    return TopicAuthorizationFailedError.errno not in codes
