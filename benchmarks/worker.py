"""A worker in a process of its own, for a benchmark: its settings, its start, its log and its metrics."""

from __future__ import annotations

import asyncio
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
import tomli_w
from aiokafka import AIOKafkaProducer
from bisupervised.streams.flow import AGENTS, AgentName, group_of
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.telemetry import metrics
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from . import topics
from .process import ROOT, Process

#: most seconds to wait for a worker
PATIENCE_S = 300.0
#: bytes of a record batch of requests
_BATCH_BYTES = 2**16
_TOPICS = ("requests", "doubtful", "answers", "results", "fallback")


class FreeModel:
    """A model that takes no time and is always sure."""

    def __call__(self, inputs: Sequence[Any]) -> NDArray[np.float64]:
        """Probabilities of two classes."""
        return np.tile([0.1, 0.9], (len(inputs), 1))


def settings_for(servers: str, folder: Path, partitions: int = 4, **tables: dict[str, Any]) -> tuple[Path, Settings]:
    """A configuration with a new name and topics. `tables` adds to the settings that every benchmark has."""
    name = f"b{uuid4().hex[:8]}"
    document: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap_servers": servers, "session_timeout_s": 60},
        "topics": {"partitions": partitions} | {role: f"{name}-{role}" for role in _TOPICS},
        "local": {"model": "benchmarks.worker:FreeModel", "output": "probabilities", "threshold": 0.5},
        "remote": {"url": "http://127.0.0.1", "model": "none", "threshold": 0.5, "in_flight": max(64, partitions)},
        "web": {"port": 0},
        "log": {"json": True},
    }
    for table, values in tables.items():
        document[table] = document.get(table, {}) | values
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps({"name": name, **document}))
    return path, load_settings(path, {})


class Worker(Process):
    """`bisupervised worker`, started on entering and ended on leaving. Its log is kept."""

    def __init__(self, config: Path, *agents: AgentName, **environment: str) -> None:
        command = [sys.executable, "-m", "bisupervised.streams.cli", "worker", "--config", str(config)]
        log = config.with_suffix(f".{uuid4().hex[:4]}.log")
        chosen = ["--agents", ",".join(agents)] if agents else []
        self._agents = agents or AGENTS
        super().__init__([*command, *chosen], log, PYTHONPATH=str(ROOT), **environment)

    @property
    def unshared_mb(self) -> float:
        """Memory that it shares with no other process, megabytes."""
        return float(self.process.memory_full_info().uss) / 2**20

    def logged_at(self, action: str) -> float:
        """When it first logged this action, seconds since epoch."""
        return _seconds(self._first(action)["time"])

    def total(self, metric: metrics.Metric, **labels: str) -> float:
        """The present sum of a metric over the samples with these labels."""
        url = self._first("web_started")["url"]
        with urllib.request.urlopen(f"{url}metrics", timeout=30) as response:  # noqa: S310  # http, and ours
            families = text_string_to_metric_families(response.read().decode())
        samples = (sample for family in families for sample in family.samples if sample.name == metric.name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    @property
    def outcomes(self) -> int:
        """The number of committed records of results and fallback."""
        return int(sum(self.total(metrics.RECORDS, route=route) for route in ("results", "fallback")))

    def _first(self, action: str) -> dict[str, Any]:
        lines = (orjson.loads(line) for line in self.output.splitlines() if line.startswith("{"))
        found: dict[str, Any] = next(line for line in lines if line["action"] == action)
        return found

    def wait_for(self, action: str, count: int = 1) -> float:
        """Wait until it has logged this action so often. Returns the seconds since its start."""
        self.wait_until(lambda: self.output.count(f'"{action}"') >= count, f"{count} x {action}", 0.02)
        return time.monotonic() - self.began

    def wait_until_owning(self, partitions: int) -> float:
        """Wait until each of its agents owns all these partitions. Returns the seconds since its start."""
        return self.wait_for("partition_acquired", partitions * len(self._agents))

    def wait_until(
        self, holds: Callable[[], bool], what: str, every_s: float = 0.5, patience_s: float = PATIENCE_S
    ) -> None:
        """Wait until `holds`. Ends the benchmark where the worker has ended, or takes too long."""
        deadline = time.monotonic() + patience_s
        while not holds():
            if not self.alive or time.monotonic() > deadline:
                sys.exit(f"the worker did not come to {what}:\n{self.output[-2000:]}")
            time.sleep(every_s)


def wait_until_answered(settings: Settings, records: int, agent: AgentName = "local") -> None:
    """Wait until so many records of an agent's topic have a committed outcome."""
    began = time.monotonic()
    while asyncio.run(_answered(settings, agent)) < records:
        if time.monotonic() - began > PATIENCE_S:
            sys.exit("the worker did not come through its backlog")
        time.sleep(0.05)


async def _answered(settings: Settings, agent: AgentName) -> int:
    async with topics.admin(settings.kafka.bootstrap_servers) as client:
        return await topics.committed(client, group_of(settings, agent))


def _seconds(logged: str) -> float:
    """The time of a line of the log, seconds since epoch."""
    return datetime.strptime(logged, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


async def produce(settings: Settings, values: Iterable[bytes], partitions: int | None = None) -> None:
    """Send requests to so many partitions in turn, by default to all."""
    async with producer_of(settings) as producer:
        await put(producer, settings, values, partitions)


def producer_of(settings: Settings) -> AIOKafkaProducer:
    """A producer for `put`."""
    return AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, enable_idempotence=True, max_batch_size=_BATCH_BYTES
    )


async def put(
    producer: AIOKafkaProducer, settings: Settings, values: Iterable[bytes], partitions: int | None = None
) -> None:
    """Send requests to so many partitions in turn, and wait for the acknowledgements."""
    names = settings.topics
    placed = ((number % (partitions or names.partitions), None, value) for number, value in enumerate(values))
    await topics.send(producer, names.requests, placed)
