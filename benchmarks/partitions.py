"""`python -m benchmarks.partitions`: what many partitions cost one worker, against the embedded broker.

For each number of partitions: one worker with the agent `local`, a model that costs nothing, 300-byte requests. Exactly
once keeps a transactional producer for each partition. Told are the seconds until all partitions are owned, records
answered a second, CPU time a record, and connections and memory at the end. Then the same with a backlog in one of them
alone, which is how every backlog ends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import orjson
from bisupervised.streams.topics.creating import create_topics
from rich.console import Console
from rich.table import Table

from .command import command
from .worker import Worker, produce, settings_for, wait_until_answered


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is tried."""

    partitions: tuple[int, ...] = (4, 32, 128)
    lopsided: int = 4  #: of so many, one has the whole backlog
    records: int = 50_000


SMOKE = Sizes((4, 8), records=1000)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of partitions costs a worker."""

    partitions: int
    filled: int  #: of these, with a backlog
    owned_s: float  #: seconds from the start of the process until it owns them all
    per_s: float  #: records answered a second, behind a backlog
    cpu_us: float  #: CPU time of the worker, microseconds a record
    connections: int  #: to the broker, at the end
    memory_mb: float  #: resident, at the end


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/partitions.json`."""

    partition_costs: tuple[Cost, ...]


def cost(servers: str, partitions: int, filled: int, records: int, folder: Path) -> Cost:
    """Let a backlog pile up behind a worker that stands still, for less than its session lasts; then time it."""
    path, settings = settings_for(servers, folder, partitions)
    asyncio.run(create_topics(settings))
    values = [orjson.dumps({"id": number, "input": "x" * 270}) for number in range(records)]
    with Worker(path, "local") as worker:
        owned_s = worker.wait_until_owning(partitions)
        worker.suspend()
        asyncio.run(produce(settings, values, filled))
        before_s, began = worker.cpu_s, time.monotonic()
        worker.resume()
        wait_until_answered(settings, records)
        took_s = time.monotonic() - began
        cpu_s = worker.cpu_s - before_s
        held = (worker.connections, worker.memory_mb)
        return Cost(partitions, filled, owned_s, records / took_s, cpu_s / records * 1e6, *held)


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """One number of partitions after the other."""
    costs = []
    for partitions in sizes.partitions:
        say.print(f"{partitions} partitions …")
        costs.append(cost(servers, partitions, partitions, sizes.records, folder))
    say.print(f"one of {sizes.lopsided} partitions …")
    costs.append(cost(servers, sizes.lopsided, 1, sizes.records, folder))
    return Report(tuple(costs))


def as_table(report: Report) -> Table:
    """The report for people."""
    figures = ("records/s", "CPU, µs a record", "connections", "memory, MB")
    table = Table(
        "partitions", "with a backlog", "owned after", *figures, title="Many partitions, one worker, exactly once"
    )
    for row in report.partition_costs:
        table.add_row(
            str(row.partitions),
            str(row.filled),
            f"{row.owned_s:.1f} s",
            f"{row.per_s:,.0f}",
            f"{row.cpu_us:.0f}",
            str(row.connections),
            f"{row.memory_mb:.0f}",
        )
    return table


def faults(report: Report) -> list[str]:
    """Nothing is asked of these figures."""
    return []


def main() -> int:
    """0: there is no target to miss."""
    return command("partitions", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
