"""Every private part of aiokafka that `streams/kafka/` reads or replaces: it is there, and has the shape we know.

No broker is needed. Where one of these fails with a new version of the client, look that part up in its source, mend
what `streams/kafka/` does with it, and only then set `KNOWN_VERSION` in `streams/kafka/client.py`.
"""

from __future__ import annotations

import ast
import asyncio
import copy
import gc
import inspect
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, conn
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import ConcurrentTransactions, KafkaError, ProducerFenced
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.protocol.api import Request
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import JoinGroupRequest, LeaveGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from bisupervised.streams.kafka import client as our_client
from bisupervised.streams.kafka import consumer as our_consumer
from bisupervised.streams.kafka import decompressing
from bisupervised.streams.kafka import metadata as our_metadata
from bisupervised.streams.kafka import records as our_records
from bisupervised.streams.kafka.batches import fill
from bisupervised.streams.kafka.client import KNOWN_VERSION, hear_left_errors
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.last_transaction import Producer
from bisupervised.streams.kafka.producer import (
    TieBroken,
    before_it_begins,
    idempotent_producer,
    identity_of,
    put_away,
    ties_of,
    transactional_producer,
)
from bisupervised.streams.kafka.requests import (
    DescribeTransactionsRequest,
    _DescribeTransactionsStruct,
    _MetadataRequest,
    _MetadataRequestStruct,
    _OffsetFetchRequest,
    _OffsetFetchRequestStruct,
)
from bisupervised.streams.telemetry.client_errors import TEXTS
from support.records import Record

ROOT = Path(__file__).parents[2]
WING = ROOT / "streams" / "kafka"
NOWHERE = Connection("127.0.0.1:1")

#: what `streams/kafka/` reads of the client's objects; each has a test below
READ = {
    "_broker_partitions",
    "_builder",
    "_client",
    "_conns",
    "_coordinator",
    "_coordinators",
    "_fetch_max_wait_ms",
    "_fetcher",
    "_maybe_do_transactional_request",
    "_maybe_uncompress",
    "_metadata_update",
    "_partition_records",
    "_partitions",
    "_rebalance_timeout",
    "_relative_offset",
    "_send_request",
    "_sender",
    "_sync_task",
    "_topic_partition",
    "_txn_manager",
    "_update_position",
    "_wait_on_metadata",
}
#: and what it overrides, or reads in classes derived from the client's
INHERITED = {"_buffer", "_consumer_record", "_next_slice", "_records_iterator"}


def test_the_version_is_the_one_whose_private_parts_are_known() -> None:
    installed = version("aiokafka")
    assert installed == KNOWN_VERSION, (
        f"aiokafka {installed} is installed; the product reads private parts known of {KNOWN_VERSION}: see "
        "streams/kafka/; look each of them up again"
    )


# nothing is forgotten


def _private(tree: ast.AST) -> Iterator[str]:
    """Private attributes of anything but `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and ast.unparse(node.value) != "self":
            yield node.attr


def test_each_that_is_read_has_a_test_here() -> None:
    found = {name for path in WING.glob("*.py") for name in _private(ast.parse(path.read_text()))}
    assert found == READ


@pytest.mark.parametrize("folder", ["agents", "benchmarks", "examples", "schemas", "scripts", "streams"])
def test_none_is_read_elsewhere(folder: str) -> None:
    sources = [path for path in (ROOT / folder).rglob("*.py") if path.parent != WING]
    reading = [str(path) for path in sources if "aiokafka" in (text := path.read_text()) and "SLF001" in text]
    assert reading == [], "move it behind a function of streams/kafka/"


# connections


@pytest.fixture
def unpatched() -> Iterator[None]:
    """The client's own parts are put back: the process is shared."""
    before = (conn.AIOKafkaConnection, fetcher.PartitionRecords, fetcher.MemoryRecords, sender.BACKOFF_OVERRIDE)
    yield
    conn.AIOKafkaConnection, fetcher.PartitionRecords, fetcher.MemoryRecords, sender.BACKOFF_OVERRIDE = before


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


async def test_every_connection_is_made_of_the_class_that_notices_broken_ones(
    unpatched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(_: Any) -> None: ...

    monkeypatch.setattr(AIOKafkaConnection, "connect", connect)
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", our_client._bootstrap)  # put back afterwards
    our_client.notice_broken_connections()
    made = await create_conn("nowhere", 1)
    assert type(made) is our_client._Connection
    assert (made.host, made.port) == ("nowhere", 1)
    assert parameters(AIOKafkaConnection.send) == ["self", "request", "expect_response"]
    assert "reason" in parameters(AIOKafkaConnection.close)
    assert "CONNECTION_BROKEN" in CloseReason.__members__
    assert our_client._Connection.connected is AIOKafkaConnection.connected


async def test_who_joins_a_group_waits_until_it_may_have_formed(
    unpatched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker answers it when all others have joined; the client's own gives up after the time of any request."""
    waited: list[float] = []
    monkeypatch.setattr(AIOKafkaConnection, "send", lambda self, *_: waited.append(self._request_timeout))
    made = our_client._Connection("nowhere", 1, request_timeout_ms=15_000)
    for rebalance_ms in (60_000, 5_000):
        made.send(JoinGroupRequest("group", 10_000, rebalance_ms, "", None, "consumer", []))
    made.send(MetadataRequest(["t"]))
    assert waited == [65.0, 15.0, 15.0]


def test_how_long_a_request_may_take_is_read_when_it_is_sent() -> None:
    assert "wait_for(fut, self._request_timeout)" in inspect.getsource(AIOKafkaConnection.send)


def test_connections_are_made_with_the_arguments_of_clients() -> None:
    """`why_not` connects past the clients."""
    arguments = {"request_timeout_ms", "ssl_context", "security_protocol", "sasl_mechanism"}
    assert arguments | {"sasl_plain_username", "sasl_plain_password"} <= set(parameters(create_conn))


# any client


async def test_what_a_client_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", our_client._bootstrap)  # another test may have put ours there
    made = AIOKafkaClient()
    assert made._conns == {}
    assert made._sync_task is None, "it is a task from bootstrap on"
    assert parameters(made._wait_on_metadata) == ["topic"]
    assert parameters(made.send) == ["node_id", "request", "group"]
    assert parameters(made.coordinator_lookup) == ["coordinator_type", "coordinator_key"]
    assert parameters(FindCoordinatorRequest) == ["coordinator_key", "coordinator_type"]
    assert parameters(made.get_random_node) == []
    assert inspect.iscoroutinefunction(made.bootstrap)
    assert names_of(AIOKafkaClient) >= {"_conns", "_sync_task", "_md_synchronizer"}
    assert {ConnectionGroup.COORDINATION} <= set(ConnectionGroup)
    assert {CoordinationType.GROUP, CoordinationType.TRANSACTION} <= set(CoordinationType)
    await made.close()


def test_the_one_task_that_asks_for_metadata_asks_by_the_method_that_we_replace() -> None:
    assert parameters(AIOKafkaClient._metadata_update) == ["self", "cluster_metadata", "topics"]
    assert "_metadata_update" in AIOKafkaClient._md_synchronizer.__code__.co_names
    assert inspect.iscoroutinefunction(AIOKafkaClient._metadata_update)


def answer(leader: int, *topics: str) -> Any:
    """What a broker says of topics of two partitions."""
    brokers = [(1, "one", 9092, None), (2, "two", 9092, None)]
    told = [(0, topic, False, [(0, number, leader, [1, 2], [1]) for number in range(2)]) for topic in topics]
    return SimpleNamespace(API_VERSION=1, brokers=brokers, controller_id=1, topics=told)


def knows(known: ClusterMetadata) -> tuple[Any, Any]:
    return known._partitions, known._broker_partitions


def test_a_client_makes_what_it_is_told_anew_and_leaves_what_it_was_told_before() -> None:
    known = ClusterMetadata()
    our_metadata._take_in(known, answer(1, "a"))
    partitions, places = knows(known)
    before = copy.deepcopy((partitions, places))
    our_metadata._take_in(known, answer(2, "a", "b"))
    assert knows(known)[0] is not partitions
    assert knows(known)[1] is not places
    assert (partitions, places) == before
    assert type(places) is defaultdict


def test_what_clients_are_told_alike_they_keep_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker with many partitions needs: each of its producers knows every partition of every topic."""
    monkeypatch.setattr(ClusterMetadata, "update_metadata", our_metadata._take_in)  # put back afterwards
    our_metadata.share_metadata()
    first, second, other = ClusterMetadata(), ClusterMetadata(), ClusterMetadata()
    for known, told in ((first, answer(1, "a", "b")), (second, answer(1, "a", "b")), (other, answer(2, "a"))):
        alone = ClusterMetadata()
        our_metadata._take_in(alone, told)
        known.update_metadata(told)
        assert knows(known) == knows(alone)
        assert type(known._broker_partitions) is defaultdict
    assert all(first._partitions[topic] is second._partitions[topic] for topic in "ab")
    assert first._broker_partitions[1] is second._broker_partitions[1]
    assert first.leader_for_partition(TopicPartition("a", 0)) == 1, "who was told otherwise later changes nothing"
    assert other.leader_for_partition(TopicPartition("a", 0)) == 2


async def test_partitions_are_waited_for_as_producers_do() -> None:
    made = AIOKafkaClient()
    made.cluster.partitions_for_topic = lambda _: {0, 1}
    assert await our_client.partitions_for(made, "topic") == {0, 1}
    await made.close()


async def test_an_admin_client_has_a_client() -> None:
    admin = AIOKafkaAdminClient()
    assert parameters(AIOKafkaAdminClient._send_request) == ["self", "request", "node_id"]
    assert parameters(AIOKafkaAdminClient._send_to_controller) == ["self", "request"]
    assert {"_send_request", "_send_to_controller"} <= names_of(AIOKafkaAdminClient)
    assert isinstance(our_client.client_of(admin), AIOKafkaClient)
    await admin.close()


# consumers


def names_of(*classes: type) -> set[str]:
    """What the methods of these classes read by name."""
    functions = [part for each in classes for part in vars(each).values() if isinstance(part, FunctionType)]
    return {name for function in functions for name in function.__code__.co_names}


async def test_a_consumer_waits_at_the_broker_for_so_long_and_tells_whether_it_fetches() -> None:
    consumer = AIOKafkaConsumer()
    assert consumer._client._sync_task is None
    waiter = consumer._client._md_update_waiter
    our_consumer.refresh_metadata(consumer)
    assert waiter.done(), "the task that updates metadata is woken"
    consumer._fetcher = fetcher.Fetcher(consumer._client, SubscriptionState())  # as `start` does
    our_consumer.wait_at_broker(consumer, 7)
    assert consumer._fetcher._fetch_max_wait_ms == 7
    assert "_fetch_max_wait_ms" in names_of(fetcher.Fetcher), "which each fetch reads anew"
    consumer._client._sync_task = running = consumer._client._loop.create_future()
    our_consumer.check_client(consumer)
    await consumer._fetcher.close()
    with pytest.raises(KafkaError, match="has stopped fetching"):
        our_consumer.check_client(consumer)
    running.cancel()
    consumer._client._sync_task = None
    await consumer.stop()


async def test_a_consumer_tells_who_it_is_in_its_group() -> None:
    consumer = AIOKafkaConsumer(group_id="group")
    sent: list[Any] = []

    async def send(node: int, request: Any, *, group: ConnectionGroup) -> None:
        sent.append((node, request._group, request._member_id, group))

    consumer._client.send = send
    assert consumer._coordinator is None
    await our_consumer.leave_group(consumer)
    consumer._coordinator = GroupCoordinator(consumer._client, SubscriptionState(), group_id="group")  # as `start` does
    await our_consumer.leave_group(consumer)
    assert sent == [], "it is no member"
    consumer._coordinator.coordinator_id = 5
    consumer._coordinator.member_id = "we"
    await our_consumer.leave_group(consumer)
    assert sent == [(5, "group", "we", ConnectionGroup.DEFAULT)]
    assert parameters(LeaveGroupRequest) == ["group", "member_id"]
    consumer._coordinator._closing.set_result(None)
    await consumer._coordinator._coordination_task
    await consumer.stop()


def test_a_consumer_makes_its_records_of_what_we_put_in_place(unpatched: None) -> None:
    our_records.fetch_lean(1 << 20)
    our_records.read_any_header()
    assert {"PartitionRecords", "MemoryRecords"} <= names_of(fetcher.Fetcher)
    assert fetcher.PartitionRecords is our_records._Records
    assert fetcher.MemoryRecords is our_records._ForgivingRecords
    assert parameters(fetcher.PartitionRecords._consumer_record) == ["self", "tp", "record"]
    assert {"_consumer_record", "_records_iterator"} <= names_of(our_records._Records.__mro__[1])
    assert fetcher.FetchResult.getall is our_records._taken
    assert {"_partition_records", "_topic_partition", "_update_position", "check_assignment"} <= names_of(
        fetcher.FetchResult
    )


@pytest.mark.parametrize("parser", decompressing._PARSERS, ids=lambda parser: parser.__name__)
def test_each_parser_finds_its_codecs_in_its_module(parser: Any) -> None:
    names = {"gzip_decode", "lz4_decode", "snappy_decode"}
    assert names <= set(vars(parser))
    assert ("zstd_decode" in vars(parser)) == ("default" in parser.__name__)


def test_the_parsers_that_we_derive_from_have_what_we_override() -> None:
    assert parameters(_DefaultRecordBatchPy._maybe_uncompress) == ["self"]
    assert "_buffer" in names_of(_DefaultRecordBatchPy)
    assert {"next_batch", "MAGIC_OFFSET"} <= set(vars(_MemoryRecordsPy))
    assert "_next_slice" in names_of(_MemoryRecordsPy)
    inherited = {*vars(_DefaultRecordBatchPy), *names_of(_DefaultRecordBatchPy, _MemoryRecordsPy)}
    assert inherited | names_of(fetcher.PartitionRecords) | set(vars(fetcher.PartitionRecords)) >= INHERITED


# producers


async def test_a_producer_tells_who_it_is() -> None:
    producer = transactional_producer(NOWHERE, "id", 15_000, 30.0, 1000)
    assert identity_of(producer) is None
    producer._txn_manager.set_pid_and_epoch(7, 2)
    assert identity_of(producer) == Producer(7, 2)
    await producer.stop()


def sending(producer: Any) -> Any:
    """With its sending part, as `start` makes it."""
    producer._sender = sender.Sender(
        producer.client,
        acks=-1,
        txn_manager=producer._txn_manager,
        message_accumulator=producer._message_accumulator,
        retry_backoff_ms=100,
        request_timeout_ms=1000,
    )
    return producer


async def test_a_producer_tells_its_connections_to_coordinators_and_leaders() -> None:
    producer = sending(transactional_producer(NOWHERE, "id", 15_000, 30.0, 1000))
    keys = [CoordinationType.TRANSACTION, ("results", 0)]
    assert ties_of(producer, keys) == dict.fromkeys(keys)
    producer._sender._coordinators[CoordinationType.TRANSACTION] = 5
    producer.client.cluster.leader_for_partition = {TopicPartition("results", 0): 5}.get
    lines = [SimpleNamespace(connected=lambda: True), SimpleNamespace(connected=lambda: True)]
    producer.client._conns[5, ConnectionGroup.COORDINATION] = lines[0]
    producer.client._conns[5, ConnectionGroup.DEFAULT] = lines[1]
    assert list(ties_of(producer, keys).values()) == lines
    lines[1].connected = lambda: False
    assert list(ties_of(producer, keys).values()) == [lines[0], None]
    assert "_coordinators" in names_of(sender.Sender)
    assert sender.EndTxnHandler.group is ConnectionGroup.COORDINATION
    assert sender.SendProduceReqHandler.group is ConnectionGroup.DEFAULT
    producer.client._conns.clear()
    await producer.stop()


async def test_what_is_asked_before_a_transaction_begins_ends_its_producer(caplog: pytest.LogCaptureFixture) -> None:
    """The task of the client that sends, as it is: it comes by before each try, and ends without a traceback."""
    hear_left_errors(asyncio.get_running_loop())
    producer = sending(transactional_producer(NOWHERE, "id", 15_000, 30.0, 1000))
    asked: list[str] = []
    tried: list[set[TopicPartition]] = []

    async def add(tps: set[TopicPartition]) -> None:  # the coordinator says: not yet
        tried.append(set(tps))

    def check() -> None:
        asked.append("checked")
        if len(asked) == 3:
            raise TieBroken

    producer._sender._do_add_partitions_to_txn = add
    producer._txn_manager.set_pid_and_epoch(7, 2)
    before_it_begins(producer, check)
    producer._txn_manager.begin_transaction()
    await producer._sender.start()
    ack = await producer._message_accumulator.add_batch(filled(producer), TopicPartition("results", 0), 1.0)
    with pytest.raises(TieBroken):
        await ack
    assert len(tried) == 2
    assert not [record for record in caplog.records if record.exc_info]
    producer._txn_manager._txn_partitions.add(TopicPartition("results", 0))
    assert producer._sender._maybe_do_transactional_request() is None, "nothing is asked of one that has begun"
    assert len(asked) == 3
    await put_away(producer)


def filled(producer: Any) -> Any:
    batch = producer.create_batch()
    batch.append(timestamp=None, key=b"k", value=b"v")
    return batch


async def test_a_producer_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = idempotent_producer(NOWHERE, 30.0, 1000)
    assert isinstance(sender.Sender.sender_task, property)

    async def broken(_: Any) -> None:
        raise KafkaError

    monkeypatch.setattr(AIOKafkaProducer, "stop", broken)
    closed: list[str] = []

    async def close() -> None:
        closed.append("client")

    producer._sender = SimpleNamespace(sender_task=SimpleNamespace(cancel=lambda: closed.append("task")))
    producer.client.close = close
    await put_away(producer)
    assert closed == ["task", "client"]
    producer._closed = True  # or it warns


class Complaints:
    """What asyncio says of errors that nobody hears, and of tasks that nobody ends, after the loop was told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[str] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "default_exception_handler", lambda context: self.heard.append(context["message"]))
        hear_left_errors(loop)

    async def after(self, leave: Callable[[], Awaitable[object]]) -> list[str]:
        """Let something be left behind, and collected."""
        await leave()
        await asyncio.sleep(0)
        gc.collect()
        return self.heard


async def _fenced() -> None:
    """A transaction is fenced before its commit."""
    producer = transactional_producer(NOWHERE, "id", 15_000, 30.0, 1000)
    producer._txn_manager.set_pid_and_epoch(7, 2)
    producer._txn_manager.begin_transaction()
    producer._txn_manager.fatal_error(ProducerFenced())
    await put_away(producer)


async def _thrown_away() -> None:
    """A producer ends while it waits for what cannot be sent: nobody refers to what waits."""
    accumulator = MessageAccumulator(AIOKafkaClient().cluster, 1000, None, 30.0)
    accumulator.flush = lambda: asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().create_task(accumulator.close())
    await asyncio.sleep(0)


async def _given_up() -> None:
    """We stop waiting for a commit, which then fails: the client shields it."""

    async def commit() -> None:
        await asyncio.sleep(0)
        raise KafkaError

    waiting = asyncio.get_running_loop().create_task(_shielded(commit()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])


async def _shielded(work: Coroutine[Any, Any, None]) -> None:
    await asyncio.shield(work)


@pytest.mark.parametrize("leave", [_fenced, _thrown_away, _given_up])
async def test_what_the_client_leaves_to_nobody_is_no_traceback_in_the_log(
    leave: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await Complaints(monkeypatch).after(leave) == []


async def test_what_others_leave_to_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise RuntimeError

    async def begin() -> None:
        asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(0)

    assert await Complaints(monkeypatch).after(begin) == ["Task exception was never retrieved"]


async def test_a_transaction_begins_soon_after_the_last_one(unpatched: None) -> None:
    """The wait is a global of the sender's module, read each time."""
    producer = transactional_producer(NOWHERE, "id", 15_000, 30.0, 1000)
    of_a_sender = SimpleNamespace(_txn_manager=producer._txn_manager, _retry_backoff=0.1)
    handler = sender.AddPartitionsToTxnHandler(of_a_sender, [TopicPartition("t", 0)])
    busy = SimpleNamespace(errors=[("t", [(0, ConcurrentTransactions.errno)])])
    assert handler.handle_response(busy) == 0.003
    await producer.stop()


def test_a_batch_is_filled_past_its_own_append() -> None:
    """What it holds is what its own `append` would have made of it."""
    records = [Record(b"v%d" % number, key=None, headers=[("a", b"b")]) for number in range(3)]
    (ours,) = fill(lambda: BatchBuilder(1000, 0), records, [("t", 0)] * 3, {"t": 1000})
    theirs = BatchBuilder(1000, 0)
    for record in records:
        theirs.append(timestamp=record.timestamp, key=record.key, value=record.value, headers=list(record.headers))
    assert ours.batch.record_count() == theirs.record_count() == 3
    assert bytes(ours.batch._build()) == bytes(theirs._build())
    assert [record.value for record in DefaultRecordBatch(bytes(ours.batch._build()))] == [b"v0", b"v1", b"v2"]


# requests


@pytest.mark.parametrize(
    ("request_", "struct"),
    [
        (_MetadataRequest("t"), _MetadataRequestStruct),
        (_OffsetFetchRequest("g", [TopicPartition("t", 0)], stable=True), _OffsetFetchRequestStruct),
        (DescribeTransactionsRequest("id"), _DescribeTransactionsStruct),
    ],
)
def test_our_requests_are_sent_as_the_clients_own(request_: Any, struct: Any) -> None:
    """`send` prepares a request for what the broker speaks, and reads the answer by its response type."""
    assert parameters(Request.prepare) == ["self", "versions"]
    made = request_.prepare({struct.API_KEY: (0, 99)})
    assert type(made) is struct
    assert made.FLEXIBLE_VERSION
    assert made.encode()
    assert (made.RESPONSE_TYPE.API_KEY, made.RESPONSE_TYPE.API_VERSION) == (struct.API_KEY, struct.API_VERSION)


def test_the_texts_that_are_told_as_a_number_are_the_clients() -> None:
    """One that the client does not say any more would be written hundreds of times while a broker is away."""
    written = {
        node.value
        for path in Path(aiokafka.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert written >= TEXTS
