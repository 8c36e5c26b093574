"""A real consumer whose partition has no leader: how often it asks for one."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataResponse_v0
from bisupervised.streams.kafka.metadata import pace_metadata

API_VERSIONS, METADATA, FETCH, OFFSETS = 18, 3, 1, 2
TP = TopicPartition("requests", 0)
LEADER_NOT_AVAILABLE = 5
LOOKING_S = 2.0


@pytest.fixture(autouse=True)
def unpatched() -> Iterator[None]:
    """The client's own, put back afterwards: the process is shared."""
    before = AIOKafkaClient._metadata_update
    yield
    AIOKafkaClient._metadata_update = before


class Leaderless:
    """A broker that knows the topic, and nobody who leads it."""

    def __init__(self) -> None:
        self.asked = 0
        self._port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                key, _, correlation_id = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
                answer = struct.pack(">i", correlation_id) + (self._metadata() if key == METADATA else self._versions())
                writer.write(struct.pack(">i", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _versions(self) -> bytes:
        keys = [(API_VERSIONS, 0, 0), (METADATA, 0, 0), (FETCH, 0, 4), (OFFSETS, 0, 1)]
        return struct.pack(">hi", 0, len(keys)) + b"".join(struct.pack(">hhh", *key) for key in keys)

    def _metadata(self) -> bytes:
        self.asked += 1
        partitions: list[tuple[int, int, int, list[int], list[int]]] = [
            (LEADER_NOT_AVAILABLE, TP.partition, -1, [0], [])
        ]
        told = MetadataResponse_v0(
            brokers=[(0, "127.0.0.1", self._port)], topics=[(LEADER_NOT_AVAILABLE, TP.topic, partitions)]
        )
        return bytes(told.encode())

    async def looked_at(self) -> float:
        """Questions a second of a consumer that wants to read the topic."""
        async with await asyncio.start_server(self, "127.0.0.1", 0) as server:
            self._port = server.sockets[0].getsockname()[1]
            consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{self._port}", auto_offset_reset="none")
            await consumer.start()
            consumer.assign([TP])
            consumer.seek(TP, 0)
            before = self.asked
            await asyncio.sleep(LOOKING_S)
            found = (self.asked - before) / LOOKING_S
            await consumer.stop()
        return found


async def test_it_backs_off() -> None:
    pace_metadata()
    assert 1.0 <= await Leaderless().looked_at() <= 6.0


async def test_why_it_is_needed_the_clients_own_asks_without_a_rest() -> None:
    """Once this fails, `kafka/metadata.py` can go."""
    assert await Leaderless().looked_at() > 100.0
