"""`python -m benchmarks.whole`: all three agents in one worker, and a fifth of the events for the remote.

The number of calls in flight divided by the latency of a call is the most calls a second, and five times as many are
the most events a second. Events come a fifth faster than that during the whole run, so that the remote always has
calls. The rate that is reached is taken from the server's log, over the middle of the run.

The CPU may be the limit instead of the pipeline: where, in the median of several runs, the worker's event loop is
always at work or waiting for a core, or the machine has no core left. Such a number of calls in flight is marked and
not judged.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import psutil
from aiohttp import ClientSession
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.creating import create_topics
from rich.console import Console
from rich.table import Table

from .command import command, missed
from .remote import log_of, server
from .spread import Spread, spread
from .traffic import DOUBTFUL_ONE_IN, LOCAL, Outcomes, mixed, outcomes
from .worker import Worker, producer_of, put, settings_for

PARTITIONS = 4
#: seconds between two portions of events
_PORTION_S = 0.05
#: shares from which on the worker's loop counts as never idle, and the machine as having no core left
LOOP_FULL, MACHINE_FULL = 0.95, 0.95


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    in_flight: tuple[int, ...] = (16, 64, 256)  #: calls at once
    rounds: int = 5  #: runs for each number of calls in flight
    latency_s: float = 0.05  #: seconds that the server takes for a call
    seconds: float = 30.0  #: length of a run that reaches the most events a second
    most_events: int = 60_000  #: most events of a run, for runs that the CPU limits
    faster: float = 1.2  #: how much faster events come than the most events a second
    calls: int = 100  #: calls, one after the other, that the latency is measured with


SMOKE = Sizes((8,), rounds=1, seconds=3.0, calls=5)


@dataclass(frozen=True, slots=True)
class Busy:
    """How busy the CPU was in the middle half of a run."""

    worker: float  #: CPU time of the worker, share of a core
    loop: float  #: share of the time in which the worker's main thread ran or waited for a core
    machine: float  #: share of all cores


@dataclass(frozen=True, slots=True)
class Run:
    """The measurement of one run."""

    in_flight: int
    latency_ms: float  #: of one call while there is no other
    allowed_per_s: float  #: most events a second
    reached_per_s: float  #: events a second
    efficiency: float  #: reached_per_s / allowed_per_s
    busy: Busy
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Level:
    """The summary of the runs with the same number of calls in flight."""

    in_flight: int
    latency_ms: Spread
    allowed_per_s: Spread
    reached_per_s: Spread
    efficiency: Spread
    worker: Spread
    loop: Spread
    machine: Spread

    @property
    def cpu_full(self) -> bool:
        """Whether the CPU was the limit."""
        return self.loop.median >= LOOP_FULL or self.machine.median >= MACHINE_FULL


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/whole.json`."""

    remote_efficiency: float | None  #: lowest median of the levels that the CPU did not limit; None without any
    runs: list[Run]


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """Run each number of calls in flight several times, in turns."""
    runs = []
    for number in range(sizes.rounds):
        for in_flight in sizes.in_flight:
            say.print(f"three agents, {in_flight} calls in flight, {number + 1} of {sizes.rounds} …")
            runs.append(_run(servers, sizes, in_flight, folder))
    judged = [level.efficiency.median for level in levels(runs) if not level.cpu_full]
    return Report(min(judged, default=None), runs)


def levels(runs: Sequence[Run]) -> list[Level]:
    """The summaries by calls in flight, the fewest first."""
    return [
        level_of([run for run in runs if run.in_flight == in_flight])
        for in_flight in sorted({run.in_flight for run in runs})
    ]


def level_of(runs: Sequence[Run]) -> Level:
    """The summary of runs with the same number of calls in flight, at least one."""
    return Level(
        runs[0].in_flight,
        spread([run.latency_ms for run in runs]),
        spread([run.allowed_per_s for run in runs]),
        spread([run.reached_per_s for run in runs]),
        spread([run.efficiency for run in runs]),
        spread([run.busy.worker for run in runs]),
        spread([run.busy.loop for run in runs]),
        spread([run.busy.machine for run in runs]),
    )


def _run(servers: str, sizes: Sizes, in_flight: int, folder: Path) -> Run:
    with server("free", latency_s=sizes.latency_s) as url:
        latency_s = asyncio.run(one_call_s(url, sizes.calls))
        allowed_per_s = in_flight / latency_s * DOUBTFUL_ONE_IN
        events = min(sizes.most_events, round(allowed_per_s * sizes.faster * sizes.seconds))
        remote = {"url": url, "model": "big", "in_flight": in_flight, "batch_size": 1, "batch_wait_ms": 0}
        path, settings = settings_for(servers, folder, PARTITIONS, local=LOCAL, remote=remote)
        asyncio.run(create_topics(settings))
        alone = len(asyncio.run(log_of(url)))
        with Worker(path) as worker:
            worker.wait_until_owning(PARTITIONS)
            busy = asyncio.run(_feed(settings, worker, events, allowed_per_s * sizes.faster))
            worker.wait_until(lambda: worker.outcomes >= events, "the end of its backlog")
        calls = asyncio.run(log_of(url))[alone:]
    reached_per_s = middle_per_s([at for at, _ in calls]) * DOUBTFUL_ONE_IN
    counted = asyncio.run(outcomes(settings, events))
    return Run(
        in_flight,
        latency_s * 1000,
        allowed_per_s,
        reached_per_s,
        reached_per_s / allowed_per_s,
        busy,
        counted,
    )


async def one_call_s(url: str, calls: int) -> float:
    """The median of the seconds of so many calls, one after the other."""
    body = {"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 0.5]}]}
    took = []
    async with ClientSession() as session:
        for _ in range(calls):
            began = time.perf_counter()
            async with session.post(f"{url}/v2/models/big/infer", json=body) as response:
                await response.read()
            took.append(time.perf_counter() - began)
    return median(took)


async def _feed(settings: Settings, worker: Worker, events: int, per_s: float) -> Busy:
    """Send events by a schedule. Returns how busy the CPU was."""
    values, portion = mixed(events), max(1, round(per_s * _PORTION_S))
    async with producer_of(settings) as producer:
        watching = asyncio.create_task(_watched(worker, events / per_s))
        began = time.monotonic()
        for sent in range(0, events, portion):
            await asyncio.sleep(max(0.0, began + sent / per_s - time.monotonic()))
            await put(producer, settings, islice(values, portion))
        return await watching


async def _watched(worker: Worker, seconds: float) -> Busy:
    """Measure the CPU in the middle half of so many seconds."""
    await asyncio.sleep(seconds / 4)
    psutil.cpu_percent()  # the next call measures the time since this one
    began, cpu_s, wanted_s = time.monotonic(), worker.cpu_s, worker.wanted_s
    await asyncio.sleep(seconds / 2)
    took_s = time.monotonic() - began
    return Busy((worker.cpu_s - cpu_s) / took_s, (worker.wanted_s - wanted_s) / took_s, psutil.cpu_percent() / 100)


def middle_per_s(at: Sequence[float]) -> float:
    """Calls a second in the middle half of these calls. `at`: when each came."""
    came = sorted(at)
    middle = came[len(came) // 4 : -(len(came) // 4)]
    return (len(middle) - 1) / (middle[-1] - middle[0])


def as_table(report: Report) -> Table:
    """The report as a table."""
    table = Table(title="All three agents, one event in five for the remote", caption="*: the CPU is full")
    shares = ("efficiency", "CPU worker", "its loop", "CPU machine")
    for name in ("in flight", "a call, ms", "events/s allowed", "reached", *shares):
        table.add_column(name)
    for level in levels(report.runs):
        table.add_row(
            f"{level.in_flight}{'*' if level.cpu_full else ''}",
            str(level.latency_ms),
            str(level.allowed_per_s),
            str(level.reached_per_s),
            level.efficiency.percent,
            level.worker.percent,
            level.loop.percent,
            level.machine.percent,
        )
    return table


def faults(report: Report) -> list[str]:
    """The targets that were missed."""
    held = {
        "remote_efficiency": report.remote_efficiency is not None and report.remote_efficiency >= 0.95,
        "outcomes": all(run.outcomes.exact for run in report.runs),
    }
    return missed(held)


def main() -> int:
    """Returns 0 where every target is met; `--smoke` checks none."""
    return command("whole", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
