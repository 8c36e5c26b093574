"""What aiokafka's admin client has no verb for: the health of a cluster, coordinators, elections, other copies.

Each question has a connection of its own: what was down a moment ago may be there now.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import CompactArray, CompactString, Int8, Int16, Int32, Schema, TaggedFields
from aiokafka.structs import PartitionMetadata
from bisupervised.streams.kafka.asking import AskingClient, ask_any
from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.sandbox.ports import HOST

_ASK_S = 5.0
_LOOK_S = 0.25
_CHANGE_MS = 20_000
#: of an election: let the first copy lead; and what Kafka says where it leads already
_PREFERRED, _NOT_NEEDED = 0, 84

_NAME, _TAGS = CompactString("utf-8"), ("tags", TaggedFields)
_REFUSALS = CompactArray(("partition", Int32), ("error_code", Int16), ("error_message", _NAME), _TAGS)
_ANSWERS = Schema(
    ("throttle_time_ms", Int32),
    ("error_code", Int16),
    ("topics", CompactArray(("topic", _NAME), ("partitions", _REFUSALS), _TAGS)),
    _TAGS,
)


class _ElectResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 43
    API_VERSION = 2
    SCHEMA = _ANSWERS


class _ElectStruct(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = 43
    API_VERSION = 2
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _ElectResponse
    SCHEMA = Schema(
        ("election_type", Int8),
        ("topics", CompactArray(("topic", _NAME), ("partitions", CompactArray(Int32)), _TAGS)),
        ("timeout_ms", Int32),
        _TAGS,
    )


class _ReassignResponse(Response):  # type: ignore[misc]  # as above
    API_KEY = 45
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _NAME),
        ("topics", CompactArray(("topic", _NAME), ("partitions", _REFUSALS), _TAGS)),
        _TAGS,
    )


class _ReassignStruct(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = 45
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _ReassignResponse
    SCHEMA = Schema(
        ("timeout_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _NAME),
                ("partitions", CompactArray(("partition", Int32), ("replicas", CompactArray(Int32)), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _Elect(Request[_ElectStruct]):  # type: ignore[misc]  # as above
    API_KEY = 43

    def __init__(self, partitions: Iterable[TopicPartition]) -> None:
        self._topics = _by_topic((tp, tp.partition) for tp in partitions)

    def build(self, request_struct_class: type[_ElectStruct]) -> _ElectStruct:
        return request_struct_class(_PREFERRED, self._topics, _CHANGE_MS, {})


class _Reassign(Request[_ReassignStruct]):  # type: ignore[misc]  # as above
    API_KEY = 45

    def __init__(self, replicas: Mapping[TopicPartition, Sequence[int]]) -> None:
        self._topics = _by_topic((tp, (tp.partition, list(numbers), {})) for tp, numbers in replicas.items())

    def build(self, request_struct_class: type[_ReassignStruct]) -> _ReassignStruct:
        return request_struct_class(_CHANGE_MS, self._topics, {})


def _by_topic(partitions: Iterable[tuple[TopicPartition, Any]]) -> list[tuple[str, list[Any], dict[int, bytes]]]:
    topics: defaultdict[str, list[Any]] = defaultdict(list)
    for tp, what in partitions:
        topics[tp.topic].append(what)
    return [(topic, parts, {}) for topic, parts in topics.items()]


class Admin:
    """Asks the nodes of a cluster, and changes where its partitions are."""

    def __init__(self, nodes: Sequence[Broker]) -> None:
        self._nodes = nodes

    async def fault(self) -> str:
        """Why the cluster is not well; '' when every node says that all are there and all copies are in sync."""
        for number, node in enumerate(self._nodes, start=1):
            try:
                view = await _view(node)
            except (KafkaError, OSError, TimeoutError) as error:
                return f"node {number} does not answer: {error!r}"
            if len(view.brokers()) < len(self._nodes):
                return f"node {number} sees {len(view.brokers())} brokers"
            for told in _partitions(view).values():
                if told.leader < 0 or len(told.isr) < len(told.replicas):
                    return f"node {number} says: {told}"
        return ""

    async def well(self, timeout_s: float) -> str:
        """Wait until nothing is wrong. Returns what still is, after that time."""
        until = time.monotonic() + timeout_s
        while (fault := await self.fault()) and time.monotonic() < until:  # noqa: ASYNC110  # they have to be asked
            await asyncio.sleep(_LOOK_S)
        return fault

    async def partitions(self) -> dict[TopicPartition, PartitionMetadata]:
        """Every partition of every topic, Kafka's own too."""
        return _partitions(await _view(next(node for node in self._nodes if node.running)))

    async def leaders(self, topics: Iterable[str]) -> Counter[int]:
        """How many partitions of these topics each node leads."""
        wanted = set(topics)
        return Counter(told.leader for tp, told in (await self.partitions()).items() if tp.topic in wanted)

    async def coordinators(self, groups: Iterable[str], transactional_ids: Iterable[str]) -> Counter[int]:
        """How many groups and transactional ids each node coordinates."""
        found: Counter[int] = Counter()
        async with self._client() as client:
            for kind, names in ((CoordinationType.GROUP, groups), (CoordinationType.TRANSACTION, transactional_ids)):
                for name in names:
                    found[await client.coordinator_lookup(kind, name)] += 1
        return found

    async def reassign(self, replicas: Mapping[TopicPartition, Sequence[int]]) -> None:
        """Give partitions these copies, the first of them preferred as leader. Raises `KafkaError`."""
        await self._change(_Reassign(replicas))

    async def elect(self, partitions: Iterable[TopicPartition]) -> None:
        """Let the preferred copy of each lead. One that does so already is no fault. Raises `KafkaError`."""
        await self._change(_Elect(partitions))

    async def _change(self, request: _Elect | _Reassign) -> None:
        async with self._client() as client:
            response = (await ask_any(client, request)).answer
        codes = [code for _, parts, _ in response.topics for _, code, _, _ in parts]
        for code in (response.error_code, *codes):
            if code not in (0, _NOT_NEEDED):
                raise for_code(code)(str(response))

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AskingClient]:
        servers = [node.bootstrap_servers for node in self._nodes if node.running]
        client = AskingClient(bootstrap_servers=servers, request_timeout_ms=_CHANGE_MS)
        await client.bootstrap()
        try:
            yield client
        finally:
            await client.close()


async def _view(node: Broker) -> ClusterMetadata:
    """What this node knows of the cluster. Raises `KafkaError`, `OSError` or `TimeoutError`."""
    async with asyncio.timeout(_ASK_S):
        connection = await create_conn(HOST, node.port, request_timeout_ms=round(_ASK_S * 1000))
        try:
            answer = await connection.send(MetadataRequest(None))
        finally:
            connection.close()
    view = ClusterMetadata()
    view.update_metadata(answer)
    return view


def _partitions(view: ClusterMetadata) -> dict[TopicPartition, PartitionMetadata]:
    return {
        TopicPartition(topic, number): told
        for topic, parts in view._partitions.items()
        for number, told in parts.items()
    }
