"""OffsetFetch of version 7, byte by byte as Kafka's protocol guide lays it out, and what older brokers are asked."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import GroupLoadInProgressError, NotCoordinatorForGroupError
from bisupervised.streams.kafka.errors import Lost, Unsettled
from bisupervised.streams.kafka.requests import committed_offsets

TP = TopicPartition("requests", 3)

REQUEST = (
    b"\x06group"
    + b"\x02"  # topics: 1
    + b"\x09requests"
    + b"\x02\x00\x00\x00\x03"  # partitions: [3]
    + b"\x00"  # no tagged fields
    + b"\x01"  # require_stable
    + b"\x00"  # no tagged fields
)


def response(offset: int = 7, metadata: bytes = b"\x06marks", error: int = 0, whole: int = 0) -> bytes:
    return (
        b"\x00\x00\x00\x00"  # throttle_time_ms
        + b"\x02"  # topics: 1
        + b"\x09requests"
        + b"\x02"  # partitions: 1
        + b"\x00\x00\x00\x03"  # partition
        + offset.to_bytes(8, signed=True)
        + b"\xff\xff\xff\xff"  # leader_epoch
        + metadata
        + error.to_bytes(2)
        + b"\x00"  # no tagged fields
        + b"\x00"  # no tagged fields
        + whole.to_bytes(2)
        + b"\x00"  # no tagged fields
    )


#: what a broker of version 1 says of offset 7
OLD_RESPONSE = (
    b"\x00\x00\x00\x01"  # topics: 1
    + b"\x00\x08requests"
    + b"\x00\x00\x00\x01"  # partitions: 1
    + b"\x00\x00\x00\x03"
    + (7).to_bytes(8)
    + b"\x00\x05marks"
    + b"\x00\x00"
)


class FakeClient:
    """Answers with these bytes, as a broker of these versions."""

    def __init__(self, answer: bytes, versions: tuple[int, int] = (1, 10)) -> None:
        self.answer = answer
        self.versions = versions
        self.asked: list[bytes] = []

    async def coordinator_lookup(self, kind: CoordinationType, group: str) -> int:
        assert (kind, group) == (CoordinationType.GROUP, "group")
        return 5

    async def send(self, node: int, request: Any, *, group: ConnectionGroup) -> Any:
        assert (node, group) == (5, ConnectionGroup.COORDINATION)
        made = request.prepare({9: self.versions})
        self.asked.append(made.encode())
        rest = BytesIO(self.answer + b"next")
        answer = made.RESPONSE_TYPE.decode(rest)
        assert rest.read() == b"next"
        return answer


async def ask(answer: bytes, *versions: int) -> tuple[int, str | None] | None:
    client: Any = FakeClient(answer, versions or (1, 10))  # type: ignore[arg-type]  # none or two
    return (await committed_offsets(client, "group", [TP])).get(TP)


async def test_it_asks_for_what_is_stable() -> None:
    client: Any = FakeClient(response())
    assert await committed_offsets(client, "group", [TP]) == {TP: (7, "marks")}
    assert client.asked == [REQUEST]


async def test_it_asks_for_whatever_there_is_where_that_will_do() -> None:
    client: Any = FakeClient(response())
    assert await committed_offsets(client, "group", [TP], stable=False) == {TP: (7, "marks")}
    assert client.asked == [REQUEST[:-2] + b"\x00\x00"]


async def test_several_partitions_are_asked_for_at_once() -> None:
    client: Any = FakeClient(response())
    await committed_offsets(client, "group", [TP, TopicPartition("requests", 4), TopicPartition("other", 0)])
    assert (
        client.asked
        == [
            REQUEST[:6]
            + b"\x03"  # topics: 2
            + b"\x09requests"
            + b"\x03\x00\x00\x00\x03\x00\x00\x00\x04\x00"  # partitions: [3, 4]
            + b"\x06other"
            + b"\x02\x00\x00\x00\x00\x00"  # partitions: [0]
            + REQUEST[-2:]
        ]
    )


async def test_metadata_may_be_missing_and_so_may_the_offset() -> None:
    assert await ask(response(metadata=b"\x00")) == (7, None)
    assert await ask(response(offset=-1, metadata=b"\x01")) is None


async def test_an_offset_that_may_still_change_is_not_told() -> None:
    with pytest.raises(Unsettled) as raised:
        await ask(response(offset=-1, error=88))
    assert isinstance(raised.value, Lost), "who knows no better asks again"


async def test_other_errors_are_the_clients_own() -> None:
    with pytest.raises(GroupLoadInProgressError):
        await ask(response(error=14))
    with pytest.raises(NotCoordinatorForGroupError):
        await ask(response(whole=16))


async def test_a_broker_that_knows_no_stable_offsets_is_asked_as_ever() -> None:
    assert await ask(OLD_RESPONSE, 0, 1) == (7, "marks")
