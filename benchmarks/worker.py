"""A worker of ours in a process of its own, as a benchmark needs it: settings, start, log, and what it costs."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
import psutil
import tomli_w
from aiokafka import AIOKafkaProducer
from bisupervised.streams.settings import Settings
from bisupervised.streams.settings_file import load_settings
from bisupervised.streams.topics import admin_client
from bisupervised.streams.topology import AgentName, group_of
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
#: seconds that a worker may take for what it is waited for
PATIENCE_S = 300.0
_TOPICS = ("requests", "doubtful", "answers", "results", "fallback")


class Sure:
    """A model that costs nothing and doubts nothing."""

    def __call__(self, inputs: Sequence[Any]) -> NDArray[np.float64]:
        """Probabilities of two classes."""
        return np.tile([0.1, 0.9], (len(inputs), 1))


def settings_for(servers: str, folder: Path, partitions: int = 4, **tables: dict[str, Any]) -> tuple[Path, Settings]:
    """A configuration of its own name and topics, where `tables` adds to what every benchmark has."""
    name = f"b{uuid4().hex[:8]}"
    document: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap_servers": servers, "session_timeout_s": 60},
        "topics": {"partitions": partitions} | {role: f"{name}-{role}" for role in _TOPICS},
        "local": {"model": "benchmarks.worker:Sure", "output": "probabilities", "threshold": 0.5},
        "remote": {"url": "http://127.0.0.1", "model": "none", "threshold": 0.5, "in_flight": max(64, partitions)},
        "log": {"json": True},
    }
    for table, values in tables.items():
        document[table] = document.get(table, {}) | values
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps({"name": name, **document}))
    return path, load_settings(path, {})


class Worker:
    """`bisupervised worker`, started on entering and ended on leaving. What it logs is kept."""

    def __init__(self, config: Path, *agents: AgentName, **environment: str) -> None:
        command = [sys.executable, "-m", "bisupervised.streams.cli", "worker", "--config", str(config)]
        self._command = [*command, *(["--agents", ",".join(agents)] if agents else [])]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._log = config.with_suffix(f".{uuid4().hex[:4]}.log")
        self.process: psutil.Popen

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        with self._log.open("wb") as sink:
            self.process = psutil.Popen(
                self._command, stdout=sink, stderr=sink, cwd=self._log.parent, env=self._environment
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except psutil.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    @property
    def cpu_s(self) -> float:
        """CPU time so far, seconds, in the kernel as well."""
        return float(sum(self.process.cpu_times()[:2]))

    @property
    def memory_mb(self) -> float:
        """Resident."""
        return float(self.process.memory_info().rss) / 2**20

    def wait_for(self, action: str, count: int = 1) -> float:
        """Until it has logged this action so often. Returns the seconds since it was started."""
        while self._log.read_text().count(f'"{action}"') < count:
            if self.process.poll() is not None or time.monotonic() - self.began > PATIENCE_S:
                sys.exit(f"the worker did not come to {count} x {action}:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)
        return time.monotonic() - self.began

    def suspend(self) -> None:
        """Stand still; for less than its session lasts."""
        self.process.suspend()

    def resume(self) -> None:
        """Go on."""
        self.process.resume()


def wait_until_answered(settings: Settings, records: int, agent: AgentName = "local") -> None:
    """Until so many records of an agent's topic have an outcome that is committed."""
    began = time.monotonic()
    while asyncio.run(_answered(settings, agent)) < records:
        if time.monotonic() - began > PATIENCE_S:
            sys.exit("the worker did not come through its backlog")
        time.sleep(0.05)


async def _answered(settings: Settings, agent: AgentName) -> int:
    async with admin_client(settings) as admin:
        committed = await admin.list_consumer_group_offsets(group_of(settings, agent))
    return sum(max(0, stored.offset) for stored in committed.values())


async def produce(settings: Settings, values: Sequence[bytes]) -> None:
    """Put requests into all partitions in turn."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, linger_ms=20)
    await producer.start()
    try:
        for number, value in enumerate(values):
            await producer.send(settings.topics.requests, value, partition=number % settings.topics.partitions)
    finally:
        await producer.stop()
