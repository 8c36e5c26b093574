"""Making the topics: five, and those of the budget, the audit and the versions where there are such.

What is there already is left as it is, and named.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ...schemas.errors import BiSupervisedError
from ..console.output import counted
from ..flow import single_partition, topic_configs
from .admin import admin_of, count_partitions

if TYPE_CHECKING:
    from collections.abc import Set

    from ..settings.tables import Settings

_LOOK_AGAIN_S = 0.05


class TopicsRefused(BiSupervisedError):
    """The broker refused at least one topic. `faults` holds a line for each; the others have been made."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def create_command(settings: Settings) -> str:
    """The command that makes what is missing, for the settings as they were read."""
    return f"bisupervised topics create{settings.option}"


async def create_topics(settings: Settings) -> list[str]:
    """Make what is missing of the five topics. Returns one line per topic, in the order records flow.

    An existing topic is never altered: its line says where its partitions differ from the settings, for
    adding partitions changes where keys go. Raises `BrokerUnreachable` and `TopicsRefused`.
    """
    wanted = _wanted(settings)
    async with admin_of(settings) as admin:
        existing = await count_partitions(admin, wanted)
        missing = [topic for name, topic in wanted.items() if name not in existing]
        errors = await _create(admin, missing)
        refused = {name: why for name, why in errors.items() if why[0] is not TopicAlreadyExistsError}
        visible = await _all_visible(admin, wanted.keys() - refused.keys(), settings.kafka.request_timeout_s)
        await _wake_coordinator(admin, settings.name)
    if refused:
        raise TopicsRefused([f"{name}: not made: {_why(*why)}" for name, why in refused.items()])
    made = {topic.name for topic in missing} - errors.keys()
    return [_line(topic, None if name in made else visible[name]) for name, topic in wanted.items()]


def _wanted(settings: Settings) -> dict[str, NewTopic]:
    topics = settings.topics
    return {
        name: NewTopic(
            name,
            1 if name in single_partition(settings) else topics.partitions,
            topics.replication_factor,
            topic_configs=config,
        )
        for name, config in topic_configs(settings).items()
    }


async def _all_visible(admin: AIOKafkaAdminClient, names: Set[str], patience_s: float) -> dict[str, int]:
    """How many partitions each of these topics has, once the broker shows them all.

    It does so a moment after it has made them, and whoever starts a worker next must not be told that they are
    missing.
    """
    async with asyncio.timeout(patience_s):
        while names - (found := await count_partitions(admin, names)).keys():  # noqa: ASYNC110  # the broker has to be asked
            await asyncio.sleep(_LOOK_AGAIN_S)
    return found


async def _wake_coordinator(admin: AIOKafkaAdminClient, group: str) -> None:
    """The first question for a group makes a new broker's topic of offsets, and is refused meanwhile.

    Asked here, it is there when a worker starts, whose log would else begin with errors. Nothing depends on it.
    """
    with suppress(KafkaError):
        await admin.find_coordinator(group)


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> dict[str, tuple[type[KafkaError], str | None]]:
    """Ask the broker for these topics. Returns the error and the broker's words for each it refused."""
    if not topics:
        return {}
    response = await admin.create_topics(topics)
    return {name: (for_code(code), (words or [None])[0]) for name, code, *words in response.topic_errors if code}


def _why(kind: type[KafkaError], words: str | None) -> str:
    return words or kind.__name__


def _line(topic: NewTopic, partitions: int | None) -> str:
    if partitions is None:
        return f"{topic.name}: made, {counted(topic.num_partitions, 'partition')}"
    if partitions == topic.num_partitions:
        return f"{topic.name}: exists, {counted(partitions, 'partition')}, left as it is"
    difference = f"{counted(partitions, 'partition')}, the settings say {topic.num_partitions}"
    return f"{topic.name}: exists with {difference}; left as it is"
