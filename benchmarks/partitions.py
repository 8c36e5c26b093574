"""`python -m benchmarks.partitions`: what many partitions cost one worker, against the embedded broker.

For each number of partitions: one worker with the agent `local`, a model that costs nothing, 300-byte requests. Exactly
once keeps a transactional producer for each partition. Told are the seconds until all partitions are owned, records
answered a second, CPU time a record, and memory at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from bisupervised.streams.broker import Broker
from bisupervised.streams.topics import create_topics
from rich.console import Console
from rich.table import Table

from .worker import Worker, produce, settings_for, wait_until_answered


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of partitions costs a worker."""

    partitions: int
    owned_s: float  #: seconds from the start of the process until it owns them all
    per_s: float  #: records answered a second, behind a backlog
    cpu_us: float  #: CPU time of the worker, microseconds a record
    memory_mb: float  #: resident, at the end


def measure(servers: str, partitions: int, records: int, folder: Path) -> Cost:
    """Let a backlog pile up behind a worker that stands still, for less than its session lasts; then time it."""
    path, settings = settings_for(servers, folder, partitions)
    asyncio.run(create_topics(settings))
    values = [orjson.dumps({"id": number, "input": "x" * 270}) for number in range(records)]
    with Worker(path, "local") as worker:
        owned_s = worker.wait_for("partition_acquired", partitions)
        worker.suspend()
        asyncio.run(produce(settings, values))
        before_s, began = worker.cpu_s, time.monotonic()
        worker.resume()
        wait_until_answered(settings, records)
        took_s = time.monotonic() - began
        cpu_s = worker.cpu_s - before_s
        return Cost(partitions, owned_s, records / took_s, cpu_s / records * 1e6, worker.memory_mb)


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
