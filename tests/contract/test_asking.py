"""A cluster of which one broker is left, played on real sockets: every question is answered by that one."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.producer import sender
from aiokafka.protocol.admin import CreateTopicsResponse_v0
from aiokafka.protocol.coordination import FindCoordinatorResponse_v0
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v1
from bisupervised.streams.kafka.asking import AskingClient, ask_any, look_up_coordinators_anywhere, who_answers
from bisupervised.streams.kafka.client import client_of
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.requests import topic_id
from bisupervised.streams.topics.admin import admin_client, count_partitions

METADATA, FIND_COORDINATOR, API_VERSIONS, CREATE_TOPICS = 3, 10, 18, 19
HOST = "127.0.0.1"
ROUNDS = 20  # one in 3 ** 20 runs would pass by chance with a question to one broker only


def nobody() -> int:
    """A port where nothing listens."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


class Cluster:
    """Broker 0 answers. It tells of two others, and at first that one of them is the controller."""

    def __init__(self) -> None:
        self.port = 0
        self.dead = [nobody(), nobody()]
        self.controllers = [1, 0]
        self.created = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                key, _, correlation_id = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
                answer = struct.pack(">i", correlation_id) + self._answer(key)
                writer.write(struct.pack(">i", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, key: int) -> bytes:
        if key == API_VERSIONS:
            keys = [(API_VERSIONS, 0, 0), (METADATA, 1, 1), (CREATE_TOPICS, 0, 0), (FIND_COORDINATOR, 0, 0)]
            return struct.pack(">hi", 0, len(keys)) + b"".join(struct.pack(">hhh", *each) for each in keys)
        if key == CREATE_TOPICS:
            self.created += 1
            return bytes(CreateTopicsResponse_v0(topic_errors=[("made", 0)]).encode())
        if key == FIND_COORDINATOR:
            return bytes(FindCoordinatorResponse_v0(error_code=0, coordinator_id=7, host=HOST, port=1).encode())
        brokers = [(number, HOST, port, None) for number, port in enumerate([self.port, *self.dead])]
        controller = self.controllers.pop(0) if len(self.controllers) > 1 else self.controllers[0]
        topics = [(0, "requests", False, [(0, 0, 0, [0], [0])])]
        return bytes(MetadataResponse_v1(brokers=brokers, controller_id=controller, topics=topics).encode())


@asynccontextmanager
async def served() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    async with await asyncio.start_server(cluster, HOST, 0) as server:
        cluster.port = server.sockets[0].getsockname()[1]
        yield cluster


async def test_a_command_is_answered_by_the_broker_that_is_there() -> None:
    async with served() as cluster:
        for _ in range(ROUNDS):
            async with admin_client(Connection(f"{HOST}:{cluster.dead[0]},{HOST}:{cluster.port}"), 5.0) as admin:
                assert await count_partitions(admin, ["requests"]) == {"requests": 1}


@pytest.fixture
def looked_up_anywhere() -> Iterator[None]:
    """As a worker has it; put back afterwards."""
    before = AIOKafkaClient.coordinator_lookup
    look_up_coordinators_anywhere()
    yield
    AIOKafkaClient.coordinator_lookup = before


@pytest.mark.usefixtures("looked_up_anywhere")
async def test_a_producer_finds_its_coordinator_through_the_broker_that_is_there() -> None:
    async with served() as cluster:
        for _ in range(ROUNDS):
            producer = AIOKafkaProducer(bootstrap_servers=f"{HOST}:{cluster.port}", transactional_id="id")
            await producer.client.bootstrap()
            assert await producer.client.coordinator_lookup(CoordinationType.GROUP, "group") == 7
            await producer.stop()


@pytest.mark.usefixtures("looked_up_anywhere")
async def test_a_producer_asks_again_for_its_coordinator_while_no_broker_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client ends a producer for good on a lost connection here, but not on a node that is not ready."""
    producer = AIOKafkaProducer(bootstrap_servers=f"{HOST}:1", transactional_id="id")
    manager = producer._txn_manager
    looking = sender.Sender(
        producer.client,
        acks=-1,
        txn_manager=manager,
        message_accumulator=None,
        retry_backoff_ms=1,
        request_timeout_ms=1000,
    )
    asked: list[int] = []

    async def again() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(producer.client, "force_metadata_update", again)
    with pytest.raises(asyncio.CancelledError):
        await looking._find_coordinator(CoordinationType.TRANSACTION, "id")
    await producer.stop()


async def test_why_it_is_needed_the_clients_own_asks_one_and_no_other() -> None:
    """Once this fails, `kafka/asking.py` can go."""
    failed = 0
    async with served() as cluster:
        for _ in range(ROUNDS):
            admin = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{cluster.port}")
            await admin.start()
            try:
                await admin.list_topics()
            except KafkaError:
                failed += 1
            await admin.close()
    assert failed > 0


async def test_topics_are_made_by_the_controller_of_now() -> None:
    async with served() as cluster, admin_client(Connection(f"{HOST}:{cluster.port}"), 5.0) as admin:
        await admin.create_topics([NewTopic("made", 1, 1)])
        assert cluster.created == 1


async def test_it_is_known_who_answers() -> None:
    async with served() as cluster, admin_client(Connection(f"{HOST}:{cluster.port}"), 5.0) as admin:
        there, away = await who_answers(client_of(admin))
        assert there == [f"{HOST}:{cluster.port}"]
        assert away == [f"{HOST}:{port}" for port in cluster.dead]


async def test_an_owner_asks_for_the_topics_id_wherever_it_is_told() -> None:
    """This broker knows no ids."""
    async with served() as cluster:
        for _ in range(ROUNDS):
            client = AIOKafkaClient(bootstrap_servers=f"{HOST}:{cluster.port}")
            await client.bootstrap()
            assert await topic_id(client, "requests") == ""
            await client.close()


async def test_a_coordinator_is_found_wherever_it_is_told() -> None:
    async with served() as cluster:
        for _ in range(ROUNDS):
            client = AskingClient(bootstrap_servers=f"{HOST}:{cluster.port}")
            await client.bootstrap()
            assert await client.coordinator_lookup(CoordinationType.GROUP, "group") == 7
            await client.close()


async def test_where_nobody_answers_it_is_an_error() -> None:
    async with served() as cluster:
        client = AIOKafkaClient(bootstrap_servers=f"{HOST}:{cluster.port}")
        await client.bootstrap()
    with pytest.raises(KafkaError):
        await ask_any(client, MetadataRequest(["requests"]))
    await client.close()
