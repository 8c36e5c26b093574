from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from bisupervised.streams.kafka.errors import BrokerUnreachable
from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.settings.keys.kafka import KafkaSettings, TopicsSettings
from bisupervised.streams.settings.keys.local import LocalSettings
from bisupervised.streams.settings.keys.remote import RemoteSettings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.creating import TopicsRefused, create_topics

ROLES = ("requests", "doubtful", "answers", "results", "fallback")


def settings_for(servers: str, prefix: str, **topics: Any) -> Settings:
    names = {role: f"{prefix}-{role}" for role in ROLES}
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=servers, request_timeout_s=10.0),
        topics=TopicsSettings(**(names | topics)),
        local=LocalSettings(model="module:callable", threshold=0.5),
        remote=RemoteSettings(url="http://127.0.0.1", model="model", threshold=0.5),
    )


@pytest.fixture
def prefix() -> str:
    return f"topics-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def new_broker() -> Iterator[Broker]:
    """One that nobody has asked for a consumer group yet."""
    with Broker() as broker:
        yield broker


async def configured(servers: str, topic: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    return {name: value for name, value, *_ in response.resources[0][4]}


async def test_all_five_are_made_as_the_settings_say(broker: Broker, prefix: str) -> None:
    settings = settings_for(
        broker.bootstrap_servers, prefix, partitions=3, retention_hours=1.5, max_message_bytes=70_000
    )
    assert await create_topics(settings) == [f"{prefix}-{role}: made, 3 partitions" for role in ROLES]
    for role in ROLES:
        config = await configured(broker.bootstrap_servers, f"{prefix}-{role}")
        assert config["retention.ms"] == "5400000"
        assert config["max.message.bytes"] == "70000"
        assert config["min.insync.replicas"] == "1"
        assert config["cleanup.policy"] == "delete"
        waits = role in ("doubtful", "answers", "fallback")
        assert config["message.timestamp.type"] == ("LogAppendTime" if waits else "CreateTime")


async def test_what_exists_is_left_and_named(broker: Broker, prefix: str) -> None:
    first = settings_for(broker.bootstrap_servers, prefix, partitions=2, retention_hours=1)
    await create_topics(first)
    second = settings_for(broker.bootstrap_servers, prefix, partitions=4, retention_hours=2, answers=f"{prefix}-new")
    assert await create_topics(second) == [
        f"{prefix}-requests: exists with 2 partitions, the settings say 4; left as it is",
        f"{prefix}-doubtful: exists with 2 partitions, the settings say 4; left as it is",
        f"{prefix}-new: made, 4 partitions",
        f"{prefix}-results: exists with 2 partitions, the settings say 4; left as it is",
        f"{prefix}-fallback: exists with 2 partitions, the settings say 4; left as it is",
    ]
    assert (await configured(broker.bootstrap_servers, f"{prefix}-requests"))["retention.ms"] == "3600000"
    assert (await create_topics(first))[0] == f"{prefix}-requests: exists, 2 partitions, left as it is"


async def test_what_the_broker_refuses_is_told_in_its_words(broker: Broker, prefix: str) -> None:
    settings = settings_for(broker.bootstrap_servers, prefix, replication_factor=3)
    with pytest.raises(TopicsRefused) as caught:
        await create_topics(settings)
    assert len(caught.value.faults) == 5
    assert caught.value.faults[0].startswith(f"{prefix}-requests: not made: ")
    assert "eplication" in caught.value.faults[0]


async def test_a_new_broker_is_ready_for_consumer_groups(new_broker: Broker, prefix: str) -> None:
    """Without its topic of offsets, the first worker's log would begin with errors of the Kafka client."""
    await create_topics(settings_for(new_broker.bootstrap_servers, prefix))
    admin = AIOKafkaAdminClient(bootstrap_servers=new_broker.bootstrap_servers)
    await admin.start()
    try:
        async with asyncio.timeout(10):
            while "__consumer_offsets" not in await admin.list_topics():  # noqa: ASYNC110  # the broker has to be asked
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def test_a_broker_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(BrokerUnreachable) as caught:
            await create_topics(settings_for(nobody, "any"))
    assert nobody in str(caught.value)
    assert "bisupervised broker" in str(caught.value)
