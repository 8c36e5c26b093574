"""`python -m benchmarks.partitions`: what many partitions cost one worker, against the embedded broker.

For each number of partitions: one worker with the agent `local`, a model that costs nothing, 300-byte requests. Exactly
once keeps a transactional producer for each partition. Told are the seconds until all partitions are owned, records
answered a second, CPU time a record, and memory at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
import psutil
from aiokafka import AIOKafkaProducer
from bisupervised.streams.broker import Broker
from bisupervised.streams.settings import Settings
from bisupervised.streams.settings_file import load_settings
from bisupervised.streams.topics import admin_client, create_topics
from bisupervised.streams.topology import group_of
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
PATIENCE_S = 300.0
TOML = """
name = "{name}"
[kafka]
bootstrap_servers = "{servers}"
session_timeout_s = 60
[topics]
partitions = {partitions}
{topics}
[local]
model = "benchmarks.partitions:Sure"
output = "probabilities"
threshold = 0.5
[remote]
url = "http://127.0.0.1"
model = "none"
threshold = 0.5
in_flight = {partitions}
[log]
json = true
"""


class Sure:
    """A model that costs nothing and doubts nothing."""

    def __call__(self, inputs: Sequence[Any]) -> NDArray[np.float64]:
        """Probabilities of two classes."""
        return np.tile([0.1, 0.9], (len(inputs), 1))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of partitions costs a worker."""

    partitions: int
    owned_s: float  #: seconds from the start of the process until it owns them all
    per_s: float  #: records answered a second, behind a backlog
    cpu_us: float  #: CPU time of the worker, microseconds a record
    memory_mb: float  #: resident, at the end


def settings_for(servers: str, partitions: int, folder: Path) -> tuple[Path, Settings]:
    name = f"b{uuid4().hex[:8]}"
    roles = ("requests", "doubtful", "answers", "results", "fallback")
    topics = "\n".join(f'{role} = "{name}-{role}"' for role in roles)
    path = folder / f"{name}.toml"
    path.write_text(TOML.format(name=name, servers=servers, partitions=partitions, topics=topics))
    return path, load_settings(path, {})


async def produce(settings: Settings, records: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, linger_ms=20)
    await producer.start()
    try:
        for number in range(records):
            value = orjson.dumps({"id": number, "input": "x" * 270})
            await producer.send(settings.topics.requests, value, partition=number % settings.topics.partitions)
    finally:
        await producer.stop()


async def answered(settings: Settings) -> int:
    """Requests that have an outcome: the offsets that the group has committed."""
    async with admin_client(settings) as admin:
        committed = await admin.list_consumer_group_offsets(group_of(settings, "local"))
    return sum(max(0, stored.offset) for stored in committed.values())


def wait_for(log: Path, action: str, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while log.read_text().count(f'"{action}"') < count:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the worker did not come to {count} x {action}:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)


def measure(servers: str, partitions: int, records: int, folder: Path) -> Cost:
    path, settings = settings_for(servers, partitions, folder)
    asyncio.run(create_topics(settings))
    log = folder / f"{partitions}.log"
    command = [sys.executable, "-m", "bisupervised.streams.cli", "worker", "--config", str(path), "--agents", "local"]
    with log.open("wb") as sink:
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=folder, env=environment)
    try:
        wait_for(log, "partition_acquired", partitions, process)
        owned_s = time.monotonic() - began
        return run_through(settings, records, psutil.Process(process.pid), owned_s)
    finally:
        process.terminate()
        process.wait(60)


def run_through(settings: Settings, records: int, worker: psutil.Process, owned_s: float) -> Cost:
    """Let a backlog pile up behind a worker that stands still, for less than its session lasts; then time it."""
    worker.suspend()
    asyncio.run(produce(settings, records))
    before = sum(worker.cpu_times()[:2])
    began = time.monotonic()
    worker.resume()
    while asyncio.run(answered(settings)) < records:
        if time.monotonic() - began > PATIENCE_S:
            sys.exit("the worker did not come through its backlog")
        time.sleep(0.05)
    took_s = time.monotonic() - began
    cpu_s = sum(worker.cpu_times()[:2]) - before
    memory_mb = worker.memory_info().rss / 2**20
    partitions = settings.topics.partitions
    return Cost(partitions, owned_s, records / took_s, cpu_s / records * 1e6, memory_mb)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, nargs="+", default=[4, 32, 128])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--out", type=Path, default=Path("build/partitions.json"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Broker() as broker:
        costs = [measure(broker.bootstrap_servers, n, asked.records, Path(folder)) for n in asked.partitions]
    tell(costs)
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps([asdict(cost) for cost in costs], indent=2))


def tell(costs: Sequence[Cost]) -> None:
    table = Table("partitions", "owned after", "records/s", "CPU/record", "memory", title="One worker, exactly once")
    for cost in costs:
        table.add_row(
            str(cost.partitions),
            f"{cost.owned_s:.1f} s",
            f"{cost.per_s:,.0f}",
            f"{cost.cpu_us:.0f} µs",
            f"{cost.memory_mb:.0f} MB",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
