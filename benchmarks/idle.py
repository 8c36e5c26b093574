"""`python -m benchmarks.idle`: what an idle worker costs, and how soon a new worker answers.

The worker runs all three agents, with a model of MiniLM's size. A request waits in its topic before the worker starts.
The benchmark measures the seconds from the start until the committed result can be read, and then the CPU time while
nothing more comes.

The model is first a file of `torch.export`, then a callable that reads its weights. To read the former, torch imports
most of its compiler, which takes as long as importing torch itself.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson
from bisupervised.streams.topics.creating import create_topics
from bisupervised.streams.topics.reading import partitions_of, reader
from rich.console import Console
from rich.table import Table

from .command import command, missed
from .minilm import MINILM, MODEL, SMALL, Shape, export, save_weights, texts
from .spread import Spread, spread
from .worker import PATIENCE_S, Worker, produce, settings_for

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    shape: Shape = MINILM
    runs: int = 5
    settle_s: float = 8.0  #: seconds after the first result in which the last positions are committed
    watched_s: float = 20.0  #: seconds of idleness


SMOKE = Sizes(SMALL, 1, 0.1, 1.0)


class Start(NamedTuple):
    """The start of a worker."""

    loaded_s: float
    first_result_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/idle.json`."""

    cpu_share: Spread  #: of one core, idle
    loaded_s: Spread  #: from the start of the process until the model is loaded
    first_result_s: Spread  #: from the start of the process until the result can be read
    after_loaded_s: Spread  #: from the loaded model until the result can be read
    start_cpu_s: Spread  #: CPU time until the first result, seconds; a busy machine changes it little
    own_loaded_s: Spread  #: as `loaded_s`, with a callable for a model
    own_first_result_s: Spread  #: as `first_result_s`, with a callable for a model


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """Run one worker after the other, each with its own topics."""
    program, weights = folder / "minilm.pt2", folder / "minilm.weights"
    export(sizes.shape, program)
    save_weights(sizes.shape, weights)
    starts, shares, own_starts = [], [], []
    for number in range(sizes.runs):
        say.print(f"workers {number + 1} of {sizes.runs}: the first result, then {sizes.watched_s:g} s of nothing …")
        start, share = asyncio.run(_live(servers, sizes, folder, str(program)))
        starts.append(start)
        shares.append(share)
        own_starts.append(asyncio.run(_begin(servers, folder, weights)))
    return Report(
        cpu_share=spread(shares),
        loaded_s=spread([start.loaded_s for start in starts]),
        first_result_s=spread([start.first_result_s for start in starts]),
        after_loaded_s=spread([start.first_result_s - start.loaded_s for start in starts]),
        start_cpu_s=spread([start.cpu_s for start in starts]),
        own_loaded_s=spread([start.loaded_s for start in own_starts]),
        own_first_result_s=spread([start.first_result_s for start in own_starts]),
    )


async def _live(servers: str, sizes: Sizes, folder: Path, model: str) -> tuple[Start, float]:
    """The start of a worker, and its share of a core while it is idle."""
    async with _started(servers, folder, model) as (worker, start):
        worker.wait_until_owning(PARTITIONS)
        await asyncio.sleep(sizes.settle_s)
        before_s, began = worker.cpu_s, time.monotonic()
        await asyncio.sleep(sizes.watched_s)
        return start, (worker.cpu_s - before_s) / (time.monotonic() - began)


async def _begin(servers: str, folder: Path, weights: Path) -> Start:
    """The start of a worker whose model is a callable."""
    async with _started(servers, folder, "benchmarks.minilm:FromWeights", **{MODEL: str(weights)}) as (_, start):
        return start


@asynccontextmanager
async def _started(servers: str, folder: Path, model: str, **environment: str) -> AsyncIterator[tuple[Worker, Start]]:
    """A worker that has given its first result, and its start."""
    [text] = texts(1)
    local = {"model": model, "output": "logits", "warm_up": [text]}
    path, settings = settings_for(servers, folder, PARTITIONS, local=local)
    await create_topics(settings)
    await produce(settings, [orjson.dumps({"id": 0, "input": text})])
    async with reader(settings, await partitions_of(settings, settings.topics.results)) as consumer:
        began = time.time()
        with Worker(path, **environment) as worker:
            async with asyncio.timeout(PATIENCE_S):
                await consumer.getone()
            first_result_s, cpu_s = time.time() - began, worker.cpu_s
            yield worker, Start(worker.logged_at("worker_started") - began, first_result_s, cpu_s)


def as_table(report: Report) -> Table:
    """The report as a table."""
    table = Table("", "measured", "target", title=f"One idle worker, three agents, {PARTITIONS} partitions")
    table.add_row("CPU, of a core", report.cpu_share.percent, "< 2 %")
    table.add_row("start to first result, s; the model a file of torch.export", str(report.first_result_s), "< 5")
    table.add_row("  of which until the model is loaded", str(report.loaded_s), "")
    table.add_row("  of which from there on", str(report.after_loaded_s), "")
    table.add_row("  CPU time until then, s", str(report.start_cpu_s), "")
    table.add_row("start to first result, s; the model a callable with weights", str(report.own_first_result_s), "< 5")
    table.add_row("  of which until the model is loaded", str(report.own_loaded_s), "")
    return table


def faults(report: Report) -> list[str]:
    """The targets that were missed."""
    held = {
        "cpu_share": report.cpu_share.median < 0.02,
        "first_result_s": report.first_result_s.median < 5.0,
        "own_first_result_s": report.own_first_result_s.median < 5.0,
    }
    return missed(held)


def main() -> int:
    """Returns 0 where every target is met; `--smoke` checks none."""
    return command("idle", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
