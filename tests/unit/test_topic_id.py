"""The metadata request of version 10, byte by byte as Kafka's protocol guide lays it out."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from bisupervised.streams.kafka.requests import _MetadataRequest, _MetadataRequestStruct, _MetadataResponse, topic_id

IDENTITY = bytes(range(16))

REQUEST = (
    b"\x02"  # topics: a compact array of 1
    + bytes(16)  # topic_id: none, asked by name
    + b"\x09requests"  # name: a compact string of 8
    + b"\x00"  # no tagged fields
    + b"\x00"  # allow_auto_topic_creation
    + b"\x00"  # include_cluster_authorized_operations
    + b"\x00"  # include_topic_authorized_operations
    + b"\x00"  # no tagged fields
)

RESPONSE = (
    b"\x00\x00\x00\x07"  # throttle_time_ms
    + b"\x02"  # brokers: 1
    + b"\x00\x00\x00\x01"  # node_id
    + b"\x0alocalhost"  # host: 9 characters
    + b"\x00\x00\x23\x84"  # port 9092
    + b"\x00"  # rack: null
    + b"\x00"  # no tagged fields
    + b"\x04abc"  # cluster_id
    + b"\x00\x00\x00\x01"  # controller_id
    + b"\x02"  # topics: 1
    + b"\x00\x00"  # error_code
    + b"\x09requests"
    + IDENTITY
    + b"\x00"  # is_internal
    + b"\x02"  # partitions: 1
    + b"\x00\x00"  # error_code
    + b"\x00\x00\x00\x00"  # partition_index
    + b"\x00\x00\x00\x01"  # leader_id
    + b"\x00\x00\x00\x05"  # leader_epoch
    + b"\x02\x00\x00\x00\x01"  # replica_nodes: [1]
    + b"\x02\x00\x00\x00\x01"  # isr_nodes: [1]
    + b"\x01"  # offline_replicas: []
    + b"\x00"  # no tagged fields
    + b"\x80\x00\x00\x00"  # topic_authorized_operations: unknown
    + b"\x00"  # no tagged fields
    + b"\x80\x00\x00\x00"  # cluster_authorized_operations: unknown
    + b"\x00"  # no tagged fields
)


class FakeClient:
    """Answers with these bytes, or raises."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)])
        self._conns: dict[Any, Any] = {}

    async def send(self, node_id: int, request: _MetadataRequest) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.asked.append(request.build(_MetadataRequestStruct).encode())
        return _MetadataResponse.decode(BytesIO(self.answer))


async def ask(answer: bytes | Exception, topic: str = "requests") -> str:
    client: Any = FakeClient(answer)
    return await topic_id(client, topic)


async def test_the_request_asks_for_one_topic_and_creates_none() -> None:
    client: Any = FakeClient(RESPONSE)
    await topic_id(client, "requests")
    assert client.asked == [REQUEST]
    assert (_MetadataRequestStruct.API_KEY, _MetadataRequestStruct.API_VERSION) == (3, 10)


async def test_the_id_is_read() -> None:
    assert await ask(RESPONSE) == "000102030405060708090a0b0c0d0e0f"


def test_the_response_is_read_to_its_last_byte() -> None:
    rest = BytesIO(RESPONSE + b"next")
    _MetadataResponse.decode(rest)
    assert rest.read() == b"next"


async def test_a_topic_without_an_id_has_none() -> None:
    assert await ask(RESPONSE.replace(IDENTITY, bytes(16))) == ""


@pytest.mark.parametrize("error", [IncompatibleBrokerVersion(), NotImplementedError()])
async def test_a_broker_that_knows_no_ids_has_none(error: Exception) -> None:
    assert await ask(error) == ""


async def test_an_error_for_the_topic_is_raised() -> None:
    unknown = RESPONSE.replace(b"\x00\x00\x09requests", b"\x00\x03\x09requests")
    with pytest.raises(KafkaError, match="error 3"):
        await ask(unknown)


async def test_an_answer_about_another_topic_is_an_error() -> None:
    with pytest.raises(KafkaError, match="said nothing of topic 'answers'"):
        await ask(RESPONSE, "answers")
