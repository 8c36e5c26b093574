from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from bisupervised.streams.sandbox import kafka_jars
from bisupervised.streams.sandbox.broker import Broker, FolderInUse, StartFailed
from bisupervised.streams.sandbox.kafka_jars import JarsUnavailable
from bisupervised.streams.sandbox.ports import PortUnavailable, claim_port

COMMAND = """
import sys, pathlib
from bisupervised.streams.sandbox.foreground import run_broker
sys.exit(run_broker(0, pathlib.Path(sys.argv[1])))
"""


async def create_topic(servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def write(servers: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{topic}-writer")
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def read(servers: str, topic: str) -> bytes:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            record = await consumer.getone()
        value: bytes = record.value
        return value
    finally:
        await consumer.stop()


async def write_new(servers: str, topic: str) -> None:
    await create_topic(servers, topic)
    await write(servers, topic, b"kept")


async def test_a_transaction_is_read_back(broker: Broker) -> None:
    await write_new(broker.bootstrap_servers, "broker-transaction")
    assert await read(broker.bootstrap_servers, "broker-transaction") == b"kept"


def test_data_and_cluster_id_survive_a_stop_and_a_crash(tmp_path: Path) -> None:
    identity = tmp_path / "kafka" / "meta.properties"
    with Broker(tmp_path) as first:
        asyncio.run(write_new(first.bootstrap_servers, "survivor"))
        before = identity.read_text()
    with Broker(tmp_path) as second:
        assert asyncio.run(read(second.bootstrap_servers, "survivor")) == b"kept"
        port = second.port
        second.kill()
        assert not second.running
        second.restart()
        assert second.port == port
        assert asyncio.run(read(second.bootstrap_servers, "survivor")) == b"kept"
    assert identity.read_text() == before


def test_a_taken_port_is_refused_without_a_process(broker: Broker, tmp_path: Path) -> None:
    second = Broker(tmp_path, broker.port)
    with pytest.raises(PortUnavailable, match=str(broker.port)):
        second.start()
    assert not second.running


def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    failing = Broker(tmp_path, properties={"log.retention.ms": "soon"})
    with pytest.raises(StartFailed, match=r"log\.retention\.ms"):
        failing.start()
    assert not failing.running


def test_two_brokers_cannot_share_a_data_folder(tmp_path: Path) -> None:
    with Broker(tmp_path), pytest.raises(FolderInUse, match=str(tmp_path)):
        Broker(tmp_path).start()


def test_a_corrupted_jar_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (good,) = {jar.parent for jar in kafka_jars.fetch_jars(print)}
    folder = tmp_path / "bisupervised" / good.name
    shutil.copytree(good, folder)
    victim = next(folder.glob("kafka-clients-*.jar"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    fetched: list[tuple[str, ...]] = []

    def unreachable(artifacts: tuple[str, ...], _staging: Path) -> list[Path]:
        fetched.append(artifacts)
        raise JarsUnavailable("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kafka_jars, "download", unreachable)
    damaged = Broker(tmp_path / "data")
    with pytest.raises(JarsUnavailable, match="no network"):
        damaged.start()
    assert fetched
    assert not damaged.running


@pytest.fixture
def command(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`run_broker` in a process of its own, and the port that it says it listens on."""
    with subprocess.Popen([sys.executable, "-c", COMMAND, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"Kafka 4\.\S+ listens on 127\.0\.0\.1:(\d+), data in \S+", line)
        assert found, line
        yield process, int(found[1])
        process.kill()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_command_stops_cleanly(command: tuple[subprocess.Popen[str], int], signum: signal.Signals) -> None:
    process, port = command
    process.send_signal(signum)
    assert process.wait(30) == 0
    assert claim_port(port) == port


def test_a_broker_does_not_outlive_a_killed_owner(command: tuple[subprocess.Popen[str], int]) -> None:
    process, port = command
    process.kill()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.05)
    pytest.fail("the broker still listens")


def test_a_broker_that_ends_by_itself_ends_the_command(command: tuple[subprocess.Popen[str], int]) -> None:
    process, _port = command
    (java,) = (child for child in psutil.Process(process.pid).children() if child.name() == "java")
    java.kill()
    assert process.wait(30) == 1
