"""Requests that the client does not have, or not in a version that tells enough.

- Metadata of version 10: the id of a topic (`topic_id`), and how often its leaders changed (`LeadersRequest`).
- ListOffsets without a consumer: where partitions begin and end (`bounds`), and where all records end, what is not
  committed yet, too (`high_watermarks`).
- OffsetFetch of version 7: whether a transaction may still change a committed offset (`committed_offsets`).
- DescribeTransactions: what became of the last transaction of a transactional id (`last_transaction.py`).

Each request is made of parts of the client that it exports for nobody: `Request`, `RequestStruct`, `Schema`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterable
from io import BytesIO
from typing import Any, NamedTuple, TypeAlias

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, LeaderNotAvailableError, NoError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v1, OffsetFetchRequest_v2, OffsetFetchRequest_v3
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.structs import OffsetAndMetadata

from .asking import ask_any
from .errors import Unsettled


class _Uuid:
    """Sixteen bytes on the wire."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)

    @classmethod
    def repr(cls, value: bytes) -> str:
        return value.hex()


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                ("name", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]  # as above
    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        return request_struct_class([(bytes(16), self._topic, {})], False, False, False, {})


_LeadersStructs: TypeAlias = MetadataRequest_v4 | MetadataRequest_v5 | _MetadataRequestStruct


class LeadersRequest(Request[_LeadersStructs]):  # type: ignore[misc]  # as above
    """Who leads the partitions of these topics: `leaders_in` its answer."""

    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = sorted(topics)

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        if request_struct_class is _MetadataRequestStruct:
            named = [(bytes(16), topic, dict[int, bytes]()) for topic in self._topics]
            return request_struct_class(named, False, False, False, {})
        return request_struct_class(self._topics, False)


class Leader(NamedTuple):
    """Who leads a partition."""

    node: int  #: -1 where nobody does
    epoch: int  #: counts who led it; -1 where the broker (before 2.8) does not tell
    copies: int


def leaders_in(response: Response) -> dict[TopicPartition, Leader]:
    """Who leads what, as it was answered."""
    found = {}
    tells_epochs = response.API_VERSION >= _MetadataResponse.API_VERSION
    for _, name, *told in response.topics:
        partitions = told[2] if tells_epochs else told[1]
        for _, number, node, *rest in partitions:
            epoch, copies = rest[:2] if tells_epochs else (-1, rest[0])
            found[TopicPartition(name, number)] = Leader(node, epoch, len(copies))
    return found


async def topic_id(client: AIOKafkaClient, topic: str) -> str:
    """The id of a topic, 32 hexadecimal digits; '' where the broker (before 2.8) has none.

    Raises `KafkaError`.
    """
    try:
        response: Any = (await ask_any(client, _MetadataRequest(topic))).answer
    except (IncompatibleBrokerVersion, NotImplementedError):
        return ""
    for error_code, name, identity, *_ in response.topics:
        if name == topic:
            if error_code:
                raise KafkaError(f"no metadata of topic {topic!r}: error {error_code}")
            return uuid.UUID(bytes=identity).hex if any(identity) else ""
    raise KafkaError(f"the broker said nothing of topic {topic!r}")


class DescribeTransactionsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", CompactString("utf-8")),
                ("state", CompactString("utf-8")),
                ("timeout_ms", Int32),
                ("start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(
                        ("topic", CompactString("utf-8")),
                        ("partitions", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeTransactionsStruct(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = DescribeTransactionsResponse
    SCHEMA = Schema(
        ("transactional_ids", CompactArray(CompactString("utf-8"))),
        ("tags", TaggedFields),
    )


class DescribeTransactionsRequest(Request[_DescribeTransactionsStruct]):  # type: ignore[misc]  # as above
    """From Kafka 3.0 on."""

    API_KEY = 65

    def __init__(self, transactional_id: str) -> None:
        self._transactional_id = transactional_id

    def build(self, request_struct_class: type[_DescribeTransactionsStruct]) -> _DescribeTransactionsStruct:
        return request_struct_class([self._transactional_id], {})


_LATEST, _EARLIEST, _NO_REPLICA, _UNCOMMITTED, _COMMITTED = -1, -2, -1, 0, 1  # of a request for offsets
_UNSTABLE = 88  # UNSTABLE_OFFSET_COMMIT, which the client does not know


class _OffsetFetchResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class _OffsetFetchRequestStruct(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _OffsetFetchResponse
    SCHEMA = Schema(
        ("group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


_Structs: TypeAlias = OffsetFetchRequest_v1 | OffsetFetchRequest_v2 | OffsetFetchRequest_v3 | _OffsetFetchRequestStruct


class _OffsetFetchRequest(Request[_Structs]):  # type: ignore[misc]  # as above
    API_KEY = 9

    def __init__(self, group: str, places: Iterable[TopicPartition], *, stable: bool) -> None:
        self._group = group
        self._stable = stable
        self._topics: dict[str, list[int]] = {}
        for tp in places:
            self._topics.setdefault(tp.topic, []).append(tp.partition)

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        if request_struct_class is _OffsetFetchRequestStruct:
            topics = [(topic, numbers, dict[int, bytes]()) for topic, numbers in self._topics.items()]
            return request_struct_class(self._group, topics, self._stable, {})
        return request_struct_class(self._group, list(self._topics.items()))


async def committed_offsets(
    client: AIOKafkaClient, group: str, places: Iterable[TopicPartition], *, stable: bool = True
) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a group has committed for these partitions; those without an offset are left out.

    Raises `Unsettled` while a transaction hangs on one of them, or tells what was committed before it where that need
    not be `stable`; and `KafkaError`.
    """
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    request = _OffsetFetchRequest(group, places, stable=stable)
    response: Any = await client.send(node, request, group=ConnectionGroup.COORDINATION)
    _raise_for(getattr(response, "error_code", 0))  # version 1 has none for the whole
    found = {}
    for topic, partitions, *_ in response.topics:
        for number, offset, *_, metadata, error_code in (_without_tags(told) for told in partitions):
            _raise_for(error_code)
            if offset >= 0:
                found[TopicPartition(topic, number)] = OffsetAndMetadata(offset, metadata)
    return found


class Bounds(NamedTuple):
    """Where a partition begins and ends, for those who read what is committed."""

    begin: int
    end: int


async def bounds(client: AIOKafkaClient, places: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
    """Where these partitions begin and end. The client has to know their topics. Raises `KafkaError`.

    A consumer tells it, too, and gets to know one topic at a time for that, each after a rest of its own.
    """
    begins, ends = await asyncio.gather(
        _offsets(client, places, _EARLIEST, _COMMITTED), _offsets(client, places, _LATEST, _COMMITTED)
    )
    return {tp: Bounds(begins[tp], ends[tp]) for tp in places}


async def high_watermarks(client: AIOKafkaClient, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Where these partitions end for those who read what is not committed, too: a consumer asks as it reads.

    Raises `KafkaError`.
    """
    return await _offsets(client, places, _LATEST, _UNCOMMITTED)


async def _offsets(
    client: AIOKafkaClient, places: Iterable[TopicPartition], which: int, isolation: int
) -> dict[TopicPartition, int]:
    by_leader: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for tp in places:
        leader = client.cluster.leader_for_partition(tp)
        if leader is None or leader < 0:
            raise LeaderNotAvailableError(tp)
        by_leader.setdefault(leader, {}).setdefault(tp.topic, []).append((tp.partition, which))
    found = {}
    for leader, topics in by_leader.items():
        response: Any = await client.send(leader, OffsetRequest(_NO_REPLICA, isolation, list(topics.items())))
        for topic, partitions in response.topics:
            for number, error_code, *_, offset in partitions:
                _raise_for(error_code)
                found[TopicPartition(topic, number)] = int(offset)
    return found


def _without_tags(told: tuple[Any, ...]) -> tuple[Any, ...]:
    return told[:-1] if isinstance(told[-1], dict) else told


def _raise_for(error_code: int) -> None:
    if error_code == _UNSTABLE:
        raise Unsettled
    error = for_code(error_code)
    if error is not NoError:
        raise error
