"""A real socket on the worker's event loop, reset by the other side while the client still writes to it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop
from aiokafka import conn
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.conn import CloseReason, create_conn
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest
from bisupervised.streams.kafka import client as module
from bisupervised.streams.kafka.client import notice_broken_connections
from bisupervised.streams.kafka.requests import DescribeTransactionsRequest

API_VERSIONS, METADATA = 18, 3
ROUNDS = 20


@pytest.fixture(autouse=True)
def client_class() -> Iterator[None]:
    """The client's own, put back afterwards: the process is shared."""
    before = conn.AIOKafkaConnection, AIOKafkaClient.bootstrap
    yield
    conn.AIOKafkaConnection, AIOKafkaClient.bootstrap = before


class Peer:
    """As much of a broker as lets a client in, then answers nothing, and ends the connection as a crash does."""

    def __init__(self) -> None:
        self.closed: list[CloseReason] = []
        self._accepted: asyncio.StreamWriter | None = None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted = writer
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        _, _, correlation_id = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
        keys = [(API_VERSIONS, 0, 0), (METADATA, 0, 0)]
        answer = struct.pack(">ihi", correlation_id, 0, len(keys)) + b"".join(struct.pack(">hhh", *key) for key in keys)
        writer.write(struct.pack(">i", len(answer)) + answer)

    def reset(self) -> None:
        assert self._accepted is not None
        linger = struct.pack("ii", 1, 0)
        self._accepted.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._accepted.transport.abort()

    def on_close(self, connection: Any, reason: CloseReason) -> None:
        self.closed.append(reason)


async def write_until_it_fails(connection: Any) -> tuple[BaseException, list[Awaitable[Any]]]:
    """What the failing write raised, and the answers that the writes before it wait for."""
    answers: list[Awaitable[Any]] = []
    while True:
        try:
            answers.append(connection.send(MetadataRequest(["t"])))
        except (KafkaConnectionError, RuntimeError) as error:
            return error, answers
        await asyncio.sleep(0)


async def broken() -> tuple[BaseException, list[Any], list[CloseReason]]:
    peer = Peer()
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        connection = await create_conn("127.0.0.1", port, on_close=peer.on_close)
        asyncio.get_running_loop().call_later(0.005, peer.reset)
        error, answers = await write_until_it_fails(connection)
        closed = list(peer.closed)  # by then, so that the next request opens another one
        return error, await asyncio.gather(*answers, return_exceptions=True), closed


def on_the_workers_loop(played: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(played())  # type: ignore[arg-type]  # a coroutine


def test_a_write_to_it_tells_that_the_connection_is_broken() -> None:
    notice_broken_connections()
    for _ in range(ROUNDS):
        error, answers, closed = on_the_workers_loop(broken)
        assert isinstance(error, KafkaConnectionError), error
        assert answers
        assert {type(answer) for answer in answers} == {KafkaConnectionError}
        assert closed == [CloseReason.CONNECTION_BROKEN]


async def refused_request() -> tuple[BaseException, list[CloseReason]]:
    """A request of a later Kafka, to a broker that knows two of the oldest."""
    peer = Peer()
    async with await asyncio.start_server(peer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await create_conn("127.0.0.1", port, on_close=peer.on_close)
        with pytest.raises((KafkaError, NotImplementedError)) as refused:
            connection.send(DescribeTransactionsRequest("an-id"))
        closed = list(peer.closed)
        peer.reset()
        await connection.close()
        await asyncio.sleep(0)
        return refused.value, closed


def test_a_request_that_an_old_broker_does_not_know_breaks_no_connection() -> None:
    notice_broken_connections()
    error, closed = on_the_workers_loop(refused_request)
    assert isinstance(error, IncompatibleBrokerVersion)
    assert closed == [], "the connection is as good as before"


async def nobody_there() -> tuple[int, list[Any]]:
    """Forty clients that want to connect where nobody listens: how often it was tried, and what each was told."""
    loop, tries = asyncio.get_running_loop(), 0
    connect = loop.create_connection

    async def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal tries
        tries += 1
        return await connect(*arguments, **more)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    loop.create_connection = counted  # type: ignore[method-assign]  # put back with the loop
    told = []
    for _ in range(40):
        try:
            await create_conn("127.0.0.1", port)
        except OSError as error:
            told.append(error)
    return tries, told


def test_all_clients_of_a_process_try_a_broker_that_is_away_a_few_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notice_broken_connections()
    now = iter(range(1000))
    monkeypatch.setattr(module, "_reach", module.Reach(lambda: 0.01 * next(now)))  # two looks at the clock a client
    tries, told = asyncio.run(nobody_there())
    assert {type(error) for error in told} == {ConnectionRefusedError}
    assert len(told) == 40
    assert 1 <= tries <= 4


async def starting_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker that has just begun: it answers, and knows nobody."""
    keys = [(API_VERSIONS, 0, 0), (METADATA, 0, 0)]
    answers = [
        struct.pack(">hi", 0, len(keys)) + b"".join(struct.pack(">hhh", *key) for key in keys),
        struct.pack(">ii", 0, 0),  # no brokers, no topics
    ]
    for answer in answers:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        _, _, correlation_id = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
        writer.write(struct.pack(">ii", 4 + len(answer), correlation_id) + answer)
    await reader.read()
    writer.close()


async def bootstrapped() -> AIOKafkaClient:
    async with await asyncio.start_server(starting_broker, "127.0.0.1", 0) as server:
        client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            await client.bootstrap()
            await client.coordinator_lookup(CoordinationType.GROUP, "a group")
        finally:
            await client.close()
            await asyncio.sleep(0)


def test_a_broker_that_knows_nobody_yet_is_no_start() -> None:
    notice_broken_connections()
    with pytest.raises(KafkaConnectionError, match="knows no broker yet"):
        on_the_workers_loop(bootstrapped)


def test_why_that_is_needed_the_client_fails_later_in_a_way_that_nobody_expects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once this fails, `_bootstrapped` of `kafka/client.py` can go."""
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", module._bootstrap)  # another test may have put ours there
    with pytest.raises(AssertionError, match="bootstrap"):
        on_the_workers_loop(bootstrapped)


def test_why_it_is_needed_the_clients_own_takes_it_for_a_fault_in_the_program() -> None:
    """Once this fails, `_Connection` of `kafka/client.py` can go."""
    assert any(isinstance(on_the_workers_loop(broken)[0], RuntimeError) for _ in range(ROUNDS))
