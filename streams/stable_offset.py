"""Ask for a committed offset that no open transaction can change any more. The client speaks no version that can.

A broker before 2.5 is asked as the client does; there an offset that hangs in a transaction is not told from none.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v1, OffsetFetchRequest_v2, OffsetFetchRequest_v3
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from .outbox import Unsettled

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

    def __init__(self, group: str, tp: TopicPartition) -> None:
        self._group = group
        self._tp = tp

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        topic, partition = self._tp
        if request_struct_class is _OffsetFetchRequestStruct:
            return request_struct_class(self._group, [(topic, [partition], {})], True, {})
        return request_struct_class(self._group, [(topic, [partition])])


async def stable_offset(client: AIOKafkaClient, group: str, tp: TopicPartition) -> tuple[int, str | None] | None:
    """The committed offset of a partition and its metadata; None where there is none.

    Raises `Unsettled` while a transaction hangs on it, and `KafkaError`.
    """
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    response: Any = await client.send(node, _OffsetFetchRequest(group, tp), group=ConnectionGroup.COORDINATION)
    _raise_for(getattr(response, "error_code", 0))  # version 1 has none for the whole
    for _, partitions, *_ in response.topics:
        for _, offset, *_, metadata, error_code in (_without_tags(told) for told in partitions):
            _raise_for(error_code)
            return None if offset < 0 else (offset, metadata)
    return None


def _without_tags(told: tuple[Any, ...]) -> tuple[Any, ...]:
    return told[:-1] if isinstance(told[-1], dict) else told


def _raise_for(error_code: int) -> None:
    if error_code == _UNSTABLE:
        raise Unsettled
    error = for_code(error_code)
    if error is not NoError:
        raise error
