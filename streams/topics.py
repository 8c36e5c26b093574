"""Making the topics: five, and the budget's where there is one. What is there already is left as it is, and named."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ..schemas.errors import BiSupervisedError
from .connection import connection, why_not

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Set

    from .settings import Settings

_MS_PER_HOUR = 3_600_000
_MS_PER_DAY = 24 * _MS_PER_HOUR
#: days for which the budget's topic is kept: more than a month, the longest period
_BUDGET_DAYS = 40
_LOOK_AGAIN_S = 0.05


class BrokerUnreachable(BiSupervisedError):
    """No broker answered. The message says where it was looked for and what to do."""


class TopicsRefused(BiSupervisedError):
    """The broker refused at least one topic. `faults` holds a line for each; the others have been made."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


async def create_topics(settings: Settings) -> list[str]:
    """Make what is missing of the five topics. Returns one line per topic, in the order records flow.

    An existing topic is never altered: its line says where its partitions differ from the settings, for
    adding partitions changes where keys go. Raises `BrokerUnreachable` and `TopicsRefused`.
    """
    wanted = _wanted(settings)
    async with admin_client(settings) as admin:
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


def topic_configs(settings: Settings) -> dict[str, dict[str, str]]:
    """How each topic is configured, by its name, as the broker spells it."""
    topics = settings.topics
    shared = {
        "min.insync.replicas": str(topics.min_insync_replicas),
        "retention.ms": str(round(topics.retention_hours * _MS_PER_HOUR)),
        "max.message.bytes": str(topics.max_message_bytes),
    }
    # nothing here is the latest value of a key: a compacted internal topic would drop records not yet read
    internal = shared | {"cleanup.policy": "delete"}
    configs = {
        topics.requests: shared,
        topics.doubtful: internal,
        topics.answers: internal,
        topics.results: shared,
        topics.fallback: shared,
    }
    if settings.budget.limited:
        configs[topics.budget] = internal | {"retention.ms": str(_BUDGET_DAYS * _MS_PER_DAY)}
    return configs


def _wanted(settings: Settings) -> dict[str, NewTopic]:
    topics = settings.topics
    return {
        name: NewTopic(
            name, 1 if name == topics.budget else topics.partitions, topics.replication_factor, topic_configs=config
        )
        for name, config in topic_configs(settings).items()
    }


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    reach, patience_s = connection(settings.kafka), settings.kafka.request_timeout_s
    admin = AIOKafkaAdminClient(**reach.options(), request_timeout_ms=round(patience_s * 1000))
    try:
        async with asyncio.timeout(patience_s):
            await admin.start()
        yield admin
    except (KafkaError, TimeoutError, OSError) as error:
        if why := await why_not(reach, patience_s):
            raise BrokerUnreachable(f"the Kafka broker at {reach.servers} does not let us in: {why}") from error
        raise BrokerUnreachable(
            f"no Kafka broker answers at {reach.servers} ({str(error) or type(error).__name__}). "
            "Start one (`bisupervised broker`), or set [kafka] bootstrap_servers to where yours listens."
        ) from error
    finally:
        await admin.close()


async def count_partitions(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, int]:
    """How many partitions each of these topics has, where it exists."""
    # asking for all names first: asking about a missing topic may make it, with the broker's defaults
    there = sorted(set(await admin.list_topics()) & set(names))
    described = await admin.describe_topics(there) if there else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}


async def configured(admin: AIOKafkaAdminClient, topic: str, *names: str) -> dict[str, str]:
    """What is configured of a topic, all of it or these keys; empty where we may not ask."""
    asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(names) or None)
    try:
        responses = await admin.describe_configs([asked])
    except KafkaError:
        return {}
    entries = [entry for response in responses for resource in response.resources for entry in resource[4]]
    return {name: value for name, value, *_ in entries if value is not None}


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


def counted(count: int, what: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
