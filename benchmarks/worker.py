"""A worker of ours in a process of its own, as a benchmark needs it: settings, start, log, and what it costs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tomli_w
from aiokafka import AIOKafkaProducer
from bisupervised.streams.settings import Settings
from bisupervised.streams.settings_file import load_settings
from bisupervised.streams.topics import admin_client
from bisupervised.streams.topology import AgentName, group_of
from numpy.typing import NDArray

from .process import ROOT, Process

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


class Worker(Process):
    """`bisupervised worker`, started on entering and ended on leaving. What it logs is kept."""

    def __init__(self, config: Path, *agents: AgentName, **environment: str) -> None:
        command = [sys.executable, "-m", "bisupervised.streams.cli", "worker", "--config", str(config)]
        log = config.with_suffix(f".{uuid4().hex[:4]}.log")
        chosen = ["--agents", ",".join(agents)] if agents else []
        super().__init__([*command, *chosen], log, PYTHONPATH=str(ROOT), **environment)

    def wait_for(self, action: str, count: int = 1) -> float:
        """Until it has logged this action so often. Returns the seconds since it was started."""
        while self.said.count(f'"{action}"') < count:
            if not self.alive or time.monotonic() - self.began > PATIENCE_S:
                sys.exit(f"the worker did not come to {count} x {action}:\n{self.said[-2000:]}")
            time.sleep(0.02)
        return time.monotonic() - self.began


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
