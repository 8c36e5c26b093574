"""Asking a broker about its topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from ..kafka.asking import AskingAdmin
from ..kafka.connection import Connection, why_not
from ..kafka.errors import BrokerUnreachable, NotLetIn
from ..kafka.producer import DEFAULT_MESSAGE_BYTES
from ..settings.broker import connection
from ..settings.tables import Settings


def admin_of(settings: Settings) -> AbstractAsyncContextManager[AIOKafkaAdminClient]:
    """An admin client for a command, which has settings and makes its connection of them. Raises as `admin_client`."""
    return admin_client(connection(settings.kafka), settings.kafka.request_timeout_s)


@asynccontextmanager
async def admin_client(reach: Connection, patience_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client over this connection; `patience_s`: seconds for one request. Raises `BrokerUnreachable`."""
    admin = AskingAdmin(**reach.options(), request_timeout_ms=round(patience_s * 1000))
    try:
        async with asyncio.timeout(patience_s * len(reach.servers.split(","))):  # one that hangs hides no other
            await admin.start()
        yield admin
    except (KafkaError, TimeoutError, OSError) as error:
        if why := await why_not(reach, patience_s):
            raise NotLetIn(f"the Kafka broker at {reach.servers} does not let us in: {why}") from error
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


async def message_bytes(admin: AIOKafkaAdminClient, topic: str) -> int:
    """`max.message.bytes` of a topic, or the broker's default where we may not ask."""
    return int((await configured(admin, topic, "max.message.bytes")).get("max.message.bytes", DEFAULT_MESSAGE_BYTES))
