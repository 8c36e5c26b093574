"""`python -m benchmarks.idle`: what a worker costs that has nothing to do, and how soon a new one answers.

A model of MiniLM's size as a file of `torch.export`, all three agents. A request waits in its topic before the worker
is started; told are the seconds from there until its result can be read, committed. Then nothing more comes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson
from bisupervised.streams.tools.reading import partitions_of, reader
from bisupervised.streams.topics import create_topics
from rich.console import Console
from rich.table import Table

from .command import command, missed
from .minilm import MINILM, SMALL, Shape, export, texts
from .spread import Spread, spread
from .worker import PATIENCE_S, Worker, produce, settings_for

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long it all takes."""

    shape: Shape = MINILM
    runs: int = 3
    settle_s: float = 8.0  #: seconds after the first result in which the last positions are committed
    watched_s: float = 20.0  #: seconds of idleness


SMOKE = Sizes(SMALL, 1, 0.1, 1.0)


class Run(NamedTuple):
    """One worker's life."""

    loaded_s: float
    first_result_s: float
    start_cpu_s: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/idle.json`."""

    cpu_share: Spread  #: of one core, idle
    loaded_s: Spread  #: from the start of the process until the model is loaded
    first_result_s: Spread  #: from the start of the process until the result can be read
    after_loaded_s: Spread  #: from the one to the other
    start_cpu_s: Spread  #: CPU time until the first result, seconds: what a busy machine does not change much


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """One worker after the other, each with topics of its own."""
    model = folder / "minilm.pt2"
    export(sizes.shape, model)
    runs = []
    for number in range(sizes.runs):
        say.print(f"worker {number + 1} of {sizes.runs}: the first result, then {sizes.watched_s:g} s of nothing …")
        runs.append(asyncio.run(_live(servers, sizes, folder, model)))
    return Report(
        cpu_share=spread([run.cpu_share for run in runs]),
        loaded_s=spread([run.loaded_s for run in runs]),
        first_result_s=spread([run.first_result_s for run in runs]),
        after_loaded_s=spread([run.first_result_s - run.loaded_s for run in runs]),
        start_cpu_s=spread([run.start_cpu_s for run in runs]),
    )


async def _live(servers: str, sizes: Sizes, folder: Path, model: Path) -> Run:
    [text] = texts(1)
    local = {"model": str(model), "output": "logits", "warm_up": [text]}
    path, settings = settings_for(servers, folder, PARTITIONS, local=local)
    await create_topics(settings)
    await produce(settings, [orjson.dumps({"id": 0, "input": text})])
    async with reader(settings, await partitions_of(settings, settings.topics.results)) as consumer:
        started = time.time()
        with Worker(path) as worker:
            async with asyncio.timeout(PATIENCE_S):
                await consumer.getone()
            first_result_s, start_cpu_s = time.time() - started, worker.cpu_s
            worker.wait_until_owning(PARTITIONS)
            await asyncio.sleep(sizes.settle_s)
            before_s, began = worker.cpu_s, time.monotonic()
            await asyncio.sleep(sizes.watched_s)
            cpu_share = (worker.cpu_s - before_s) / (time.monotonic() - began)
            return Run(worker.logged_at("worker_started") - started, first_result_s, start_cpu_s, cpu_share)


def as_table(report: Report) -> Table:
    """The report for people."""
    table = Table("", "measured", "target", title=f"One idle worker, three agents, {PARTITIONS} partitions")
    table.add_row("CPU, of a core", report.cpu_share.percent, "< 2 %")
    table.add_row("start to first result, s", str(report.first_result_s), "< 5")
    table.add_row("  of which until the model is loaded", str(report.loaded_s), "")
    table.add_row("  of which from there on", str(report.after_loaded_s), "")
    table.add_row("  CPU time until then, s", str(report.start_cpu_s), "")
    return table


def faults(report: Report) -> list[str]:
    """Targets that were missed."""
    held = {"cpu_share": report.cpu_share.median < 0.02, "first_result_s": report.first_result_s.median < 5.0}
    return missed(held)


def main() -> int:
    """0 when every target is met, or nothing was asked of them (`--smoke`)."""
    return command("idle", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
