"""`python -m benchmarks.partitions`: what many partitions cost one worker, on the embedded broker.

For each number of partitions one worker runs the agent `local`, with a model that takes no time and requests of 300
bytes. Exactly once keeps a transactional producer for each partition. Measured are the seconds until all partitions are
owned, the records answered a second, the CPU time of a record, and connections and memory at the end. Finally the
backlog is in one partition only, as at the end of every backlog.
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
    """How large a run is."""

    partitions: tuple[int, ...] = (4, 32, 128)
    lopsided: int = 4  #: number of partitions of which one has the whole backlog
    records: int = 50_000


SMOKE = Sizes((4, 8), records=1000)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a number of partitions for one worker."""

    partitions: int
    filled: int  #: partitions with a backlog
    owned_s: float  #: seconds from the start of the process until it owns them all
    per_s: float  #: records answered a second while there is a backlog
    cpu_us: float  #: CPU time of the worker, microseconds a record
    connections: int  #: to the broker, at the end
    memory_mb: float  #: resident, at the end


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/partitions.json`."""

    partition_costs: tuple[Cost, ...]


def cost(servers: str, partitions: int, filled: int, records: int, folder: Path) -> Cost:
    """Write a backlog while the worker is suspended, for less than its session lasts. Then time the worker."""
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
    """Measure one number of partitions after the other."""
    costs = []
    for partitions in sizes.partitions:
        say.print(f"{partitions} partitions …")
        costs.append(cost(servers, partitions, partitions, sizes.records, folder))
    say.print(f"one of {sizes.lopsided} partitions …")
    costs.append(cost(servers, sizes.lopsided, 1, sizes.records, folder))
    return Report(tuple(costs))


def as_table(report: Report) -> Table:
    """The report as a table."""
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
    """None: these figures have no targets."""
    return []


def main() -> int:
    """Returns 0: there is no target."""
    return command("partitions", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
