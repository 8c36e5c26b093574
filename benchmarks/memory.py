"""`python -m benchmarks.memory`: a worker's memory while the remote is down for a million events, and after it is back.

At first nothing listens at the remote's address, and a fifth of the events wait in Kafka. When the others are answered,
a server begins to listen there, and the wait ends. Growth is measured over each of the two times, without its first
fifth, in which caches and windows fill. At the end each event must have one outcome.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bisupervised.streams.telemetry import metrics
from bisupervised.streams.topics.creating import create_topics
from rich.console import Console
from rich.table import Table

from .command import command, missed
from .remote import server
from .spread import Spread, spread
from .traffic import LOCAL, Outcomes, mixed, outcomes
from .worker import Worker, produce, settings_for

PARTITIONS = 4
#: share of the events after which the worker is warm
WARM_UP = 0.2
#: of the events after the warm-up, the first and the last eighth are compared: each is a tenth of all
COMPARED_ONE_IN = 8
#: most seconds of each of the two times
_PATIENCE_S = 1800.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    events: int = 1_000_000
    runs: int = 3
    padding: int = 150  #: bytes of an event that nobody reads
    every_s: float = 1.0  #: seconds between two samples
    remote_batch: int = 64  #: inputs of a call


SMOKE = Sizes(events=2_000, runs=1, every_s=0.05, remote_batch=8)


class Sample(NamedTuple):
    """The worker's memory at one moment."""

    done: float  #: events that are done
    mb: float  #: megabytes of memory that it shares with no other process


@dataclass(frozen=True, slots=True)
class Life:
    """The measurement of one worker."""

    growth: float  #: while the remote is down: memory at the end divided by that after the warm-up, less 1
    growth_draining: float  #: the same after the remote is back
    warm_mb: float  #: after the warm-up
    most_mb: float  #: while the remote is down, after the warm-up
    most_draining_mb: float  #: after the remote is back
    down_s: float  #: seconds in which the remote was down
    draining_s: float  #: seconds until all was answered
    waited: int  #: events that were waiting when the remote came back
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/memory.json`."""

    memory_growth: Spread  #: while the remote is down
    lives: tuple[Life, ...]


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """Run several workers, one after the other, each with its own topics: their memory differs by some megabytes."""
    lives = []
    for number in range(sizes.runs):
        say.print(f"worker {number + 1} of {sizes.runs}:")
        lives.append(live(servers, sizes, folder, say))
    return Report(spread([life.growth for life in lives]), tuple(lives))


def live(servers: str, sizes: Sizes, folder: Path, say: Console) -> Life:
    """Run one worker: first without the remote, then with it, then count the outcomes."""
    with socket.socket() as held:  # reserves the port; as nobody listens on it, connections are refused
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        path, settings = settings_for(servers, folder, PARTITIONS, local=LOCAL, remote=_remote(port, sizes))
        asyncio.run(create_topics(settings))
        say.print(f"{sizes.events:,} events are written …")
        asyncio.run(produce(settings, mixed(sizes.events, sizes.padding)))
        with Worker(path) as worker:
            worker.wait_until_owning(PARTITIONS)
            say.print("they go through while the remote is down …")
            began = time.monotonic()
            down = watch(worker, lambda: worker.total(metrics.RECORDS, agent="local"), sizes.events, sizes.every_s)
            back, trusted = time.monotonic(), worker.outcomes
            held.close()
            say.print(f"the remote is back, {sizes.events - trusted:,} events have waited …")
            with server("free", latency_s=0.05, port=port):
                draining = watch(worker, lambda: worker.outcomes - trusted, sizes.events - trusted, sizes.every_s)
            ended = time.monotonic()
    say.print("all outcomes are read …")
    counted = asyncio.run(outcomes(settings, sizes.events))
    return Life(
        growth=growth(down),
        growth_draining=growth(draining),
        warm_mb=median([sample.mb for sample in _compared(down)[0]]),
        most_mb=max(sample.mb for sample in warm(down)),
        most_draining_mb=max(sample.mb for sample in draining),
        down_s=back - began,
        draining_s=ended - back,
        waited=sizes.events - trusted,
        outcomes=counted,
    )


def _remote(port: int, sizes: Sizes) -> dict[str, Any]:
    """Settings with which the waiting events are answered quickly: many inputs a call, and short pauses."""
    calls = {"batch_size": sizes.remote_batch, "breaker_cool_down_s": 2.0}
    return {"url": f"http://127.0.0.1:{port}", "model": "big", **calls}


def watch(worker: Worker, done: Callable[[], float], events: int, every_s: float) -> list[Sample]:
    """Take samples until so many events are done."""
    samples = list[Sample]()

    def all_done() -> bool:
        samples.append(Sample(done(), worker.unshared_mb))
        return samples[-1].done >= events

    worker.wait_until(all_done, f"{events} events", every_s, _PATIENCE_S)
    return samples


def warm(samples: Sequence[Sample]) -> list[Sample]:
    """The samples after the warm-up."""
    return [sample for sample in samples if sample.done >= WARM_UP * samples[-1].done]


def growth(samples: Sequence[Sample]) -> float:
    """By which share memory grew from the warm-up to the end. Medians are compared, for single samples vary."""
    first, last = (median([sample.mb for sample in part]) for part in _compared(samples))
    return last / first - 1


def _compared(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    after = warm(samples)
    some = max(1, len(after) // COMPARED_ONE_IN)
    return after[:some], after[-some:]


def as_table(report: Report) -> Table:
    """The report as a table."""
    lives = report.lives
    table = Table("", "measured", "target", title=f"A worker's memory over {lives[0].outcomes.inputs:,} events")
    table.add_row("growth while the remote is down", report.memory_growth.percent, "≤ 5 %")
    table.add_row("growth while it is back", spread([life.growth_draining for life in lives]).percent, "")
    table.add_row("memory after the warm-up, MB", str(spread([life.warm_mb for life in lives])), "")
    table.add_row("at most while the remote is down, MB", str(spread([life.most_mb for life in lives])), "")
    table.add_row("at most while it is back, MB", str(spread([life.most_draining_mb for life in lives])), "")
    table.add_row("remote down, s", str(spread([life.down_s for life in lives])), "")
    table.add_row("events that waited for it", str(spread([life.waited for life in lives])), "")
    table.add_row("until they had been asked, s", str(spread([life.draining_s for life in lives])), "")
    for told in (life.outcomes for life in lives):
        row = f"{told.inputs:,}, {told.records:,}, {told.sources:,}"
        table.add_row("inputs, outcomes, inputs that have one", row, "=")
    return table


def faults(report: Report) -> list[str]:
    """The targets that were missed."""
    exact = all(life.outcomes.exact for life in report.lives)
    held = {"memory_growth": report.memory_growth.median <= 0.05, "outcomes": exact}
    return missed(held)


def main() -> int:
    """Returns 0 where every target is met; `--smoke` checks none."""
    return command("memory", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
