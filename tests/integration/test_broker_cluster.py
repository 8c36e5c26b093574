"""`bisupervised broker --nodes 3`, as a user starts it, loses a node and stops it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from bisupervised.streams.sandbox.ports import claim_port
from bisupervised.streams.settings.keys.kafka import KafkaSettings, TopicsSettings
from bisupervised.streams.settings.keys.local import LocalSettings
from bisupervised.streams.settings.keys.remote import RemoteSettings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.creating import create_topics

COMMAND = [sys.executable, "-m", "bisupervised.streams.cli", "broker", "--nodes", "3", "--port", "0", "--data"]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def lines_until(process: subprocess.Popen[str], word: str) -> list[str]:
    """What it says, up to the line with this word."""
    assert process.stdout is not None
    lines: list[str] = []
    while word not in (lines or [""])[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return lines


async def copies(servers: str) -> dict[str, set[int]]:
    """How many copies the partitions of each topic have."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        described = await admin.describe_topics()
        return {topic["topic"]: {len(part["replicas"]) for part in topic["partitions"]} for topic in described}
    finally:
        await admin.close()


async def transact(servers: str, topic: str) -> bytes:
    """Write in a transaction, and read what is committed."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id="cluster-writer")
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    async with asyncio.timeout(60):
        await producer.start()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"kept")
        await producer.stop()
        await consumer.start()
        value: bytes = (await consumer.getone()).value
        await consumer.stop()
        return value


@pytest.mark.long(20)
def test_a_cluster_keeps_three_copies_goes_on_without_a_node_and_ends_cleanly(command: subprocess.Popen[str]) -> None:
    told = lines_until(command, "min_insync_replicas")
    servers = re.findall(r"listens on (\S+), data in", "".join(told))[0]
    nodes = [int(pid) for pid in re.findall(r"process (\d+)", "".join(told))]
    assert (len(servers.split(",")), len(nodes)) == (3, 3)

    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=servers),
        topics=TopicsSettings(requests="trial-requests", replication_factor=3, min_insync_replicas=2),
        local=LocalSettings(model="module:callable", threshold=0.5),
        remote=RemoteSettings(url="http://127.0.0.1", model="model", threshold=0.5),
    )
    asyncio.run(create_topics(settings))
    assert asyncio.run(transact(servers, "results")) == b"kept"
    found = asyncio.run(copies(servers))
    assert {"results", "trial-requests", "__transaction_state", "__consumer_offsets"} <= found.keys()
    assert all(number == {3} for number in found.values()), found

    os.kill(nodes[0], signal.SIGKILL)
    lines_until(command, "node 1 has ended")
    assert asyncio.run(transact(servers, "results")) == b"kept"

    command.terminate()
    assert command.wait(45) == 0
    for server in servers.split(","):
        port = int(server.rpartition(":")[2])
        assert claim_port(port) == port
    deadline = time.monotonic() + 5
    while any(map(_runs, nodes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, nodes))


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
