"""`python -m benchmarks.latency`: the latency that a worker adds, at a steady rate.

Requests are sent by a schedule, and results are read once they are committed. The latency is the time from the one to
the other. Three setups take turns: the floor, in which the reader reads the requests themselves, and a worker with each
of the two delivery guarantees. The model takes no time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.telemetry import metrics
from bisupervised.streams.topics.creating import create_topics
from bisupervised.streams.topics.reading import partitions_of, reader
from rich.console import Console
from rich.table import Table

from .command import command, missed
from .spread import Spread, spread
from .worker import Worker, settings_for

PARTITIONS = 4
#: seconds after the last request until a missing event counts as lost, and seconds to wait for repeated events
_LATE_S, _REPEATED_S = 30.0, 1.0
Delivery = Literal["at_least_once", "exactly_once"]
#: most milliseconds that may be added, p50 and p99
TARGETS: dict[Delivery, tuple[int, int]] = {"at_least_once": (10, 50), "exactly_once": (30, 100)}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    per_s: float = 500.0  #: events
    seconds: float = 20.0  #: a run
    warm_up_s: float = 3.0  #: seconds at the beginning of a run that do not count
    rounds: int = 5


SMOKE = Sizes(seconds=2.0, warm_up_s=0.5, rounds=1)


@dataclass(slots=True)
class Arrived:
    """The events that were read."""

    at: dict[int, float] = field(default_factory=dict)  #: when each event came first, seconds since epoch
    repeated: int = 0  #: events that came again

    def add(self, number: int, now: float) -> None:
        """Add an event. Its first time counts."""
        self.repeated += number in self.at
        self.at.setdefault(number, now)


@dataclass(frozen=True, slots=True)
class Run:
    """The measurement of one run; latencies in milliseconds."""

    p50: float
    p99: float
    lost: int = 0
    repeated: int = 0
    transactions_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Added:
    """What a worker adds with one delivery guarantee."""

    p50_ms: Spread  #: the whole latency
    p99_ms: Spread
    added_p50_ms: Spread  #: the latency less the floor of the same round
    added_p99_ms: Spread
    transactions_per_s: Spread  #: commits where there are no transactions
    lost: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/latency.json`."""

    floor_p50_ms: Spread
    floor_p99_ms: Spread
    latency_ms: dict[Delivery, Added]
    events: int  #: of each run


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """Measure the floor and both guarantees, in turn."""
    floors, at_least_once, exactly_once = list[Run](), list[Run](), list[Run]()
    for number in range(sizes.rounds):
        say.print(f"round {number + 1} of {sizes.rounds}: the floor, at least once, exactly once …")
        floors.append(_floor(servers, sizes, folder))
        at_least_once.append(_behind_worker(servers, sizes, folder, "at_least_once"))
        exactly_once.append(_behind_worker(servers, sizes, folder, "exactly_once"))
    return Report(
        floor_p50_ms=spread([run.p50 for run in floors]),
        floor_p99_ms=spread([run.p99 for run in floors]),
        latency_ms={"at_least_once": _added(at_least_once, floors), "exactly_once": _added(exactly_once, floors)},
        events=events_of(sizes),
    )


def _floor(servers: str, sizes: Sizes, folder: Path) -> Run:
    """Measure without a worker."""
    _, settings = settings_for(servers, folder, PARTITIONS)
    asyncio.run(create_topics(settings))
    return asyncio.run(_stream(settings, sizes, settings.topics.requests))


def _behind_worker(servers: str, sizes: Sizes, folder: Path, delivery: Delivery) -> Run:
    path, settings = settings_for(servers, folder, PARTITIONS, stream={"delivery": delivery})
    asyncio.run(create_topics(settings))
    with Worker(path) as worker:
        worker.wait_until_owning(PARTITIONS)
        before = worker.total(metrics.TRANSACTIONS, agent="local")
        run = asyncio.run(_stream(settings, sizes, settings.topics.results))
        transactions = worker.total(metrics.TRANSACTIONS, agent="local") - before
    return replace(run, transactions_per_s=transactions / sizes.seconds)


async def _stream(settings: Settings, sizes: Sizes, topic: str) -> Run:
    """Send requests by a schedule, and read `topic`."""
    sent, arrived = list[float](), Arrived()
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, enable_idempotence=True, linger_ms=0
    )
    async with reader(settings, await partitions_of(settings, topic)) as consumer, producer:
        reading = asyncio.create_task(_read(consumer, arrived, events_of(sizes)))
        await _send(producer, settings.topics.requests, sizes, sent)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LATE_S):
                await reading
    return weigh(sent, arrived, round(sizes.warm_up_s * sizes.per_s))


async def _send(producer: AIOKafkaProducer, topic: str, sizes: Sizes, sent: list[float]) -> None:
    """Send each event when it is due, however late the one before was. `sent` gets the time of each."""
    began, acks = time.monotonic(), []
    for number in range(events_of(sizes)):
        await asyncio.sleep(max(0.0, began + number / sizes.per_s - time.monotonic()))
        value = orjson.dumps({"id": number, "input": "x" * 200})
        sent.append(time.time())
        acks.append(await producer.send(topic, value, partition=number % PARTITIONS))
    await asyncio.gather(*acks)


async def _read(consumer: AIOKafkaConsumer, arrived: Arrived, events: int) -> None:
    """Read until all events have come, and for a while longer, for some may come again."""
    until = float("inf")
    while time.monotonic() < until:
        fetched = await consumer.getmany(timeout_ms=200)
        now = time.time()
        for records in fetched.values():
            for record in records:
                arrived.add(orjson.loads(record.value)["id"], now)
        if until == float("inf") and len(arrived.at) == events:
            until = time.monotonic() + _REPEATED_S


def events_of(sizes: Sizes) -> int:
    """The number of events in a run."""
    return round(sizes.per_s * sizes.seconds)


def weigh(sent: Sequence[float], arrived: Arrived, skipped: int) -> Run:
    """Quantiles over the events after the first `skipped`. A lost event has no latency, and is counted."""
    waits = [(arrived.at[number] - at) * 1000 for number, at in enumerate(sent) if number in arrived.at]
    p50, p99 = np.percentile(waits[skipped:], (50, 99)).tolist()
    return Run(p50, p99, lost=len(sent) - len(waits), repeated=arrived.repeated)


def _added(runs: Sequence[Run], floors: Sequence[Run]) -> Added:
    pairs = list(zip(runs, floors, strict=True))
    return Added(
        p50_ms=spread([run.p50 for run in runs]),
        p99_ms=spread([run.p99 for run in runs]),
        added_p50_ms=spread([run.p50 - floor.p50 for run, floor in pairs]),
        added_p99_ms=spread([run.p99 - floor.p99 for run, floor in pairs]),
        transactions_per_s=spread([run.transactions_per_s for run in runs]),
        lost=sum(run.lost for run in runs),
        repeated=sum(run.repeated for run in runs),
    )


def as_table(report: Report) -> Table:
    """The report as a table."""
    title = f"Latency of {report.events:,} events a run, milliseconds: what a worker adds to the floor"
    table = Table("", "p50", "p99", "added p50", "added p99", "target", "commits/s", title=title)
    table.add_row("floor", str(report.floor_p50_ms), str(report.floor_p99_ms))
    for delivery, added in report.latency_ms.items():
        name, target = delivery.replace("_", " "), f"≤ {TARGETS[delivery][0]} / {TARGETS[delivery][1]}"
        measured = (added.p50_ms, added.p99_ms, added.added_p50_ms, added.added_p99_ms)
        table.add_row(name, *map(str, measured), target, str(added.transactions_per_s))
    return table


def faults(report: Report) -> list[str]:
    """The targets that were missed."""
    held: dict[str, bool] = {}
    for delivery, added in report.latency_ms.items():
        p50_ms, p99_ms = TARGETS[delivery]
        held |= {
            f"latency_{delivery}_p50": added.added_p50_ms.median <= p50_ms,
            f"latency_{delivery}_p99": added.added_p99_ms.median <= p99_ms,
            f"latency_{delivery}_lost": added.lost == 0,
            f"latency_{delivery}_repeated": added.repeated == 0 or delivery == "at_least_once",
        }
    return missed(held)


def main() -> int:
    """Returns 0 where every target is met; `--smoke` checks none."""
    return command("latency", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
