"""`python -m benchmarks.contest`: compare the local path with other libraries, on one broker, in turns.

All candidates do the same job: JSON in, a decision by a model that takes no time, JSON out to one of two topics. A
candidate is one process that reads a topic of four partitions from its beginning. A rate is measured by the broker's
clock, from the first record batch that it appended to an output to the last one. So it contains neither the start nor
the cost of this program. Afterwards every outcome is read. A request without its one right outcome ends the run.

Within a round the candidates take turns, in a different order each round, and ratios are taken within a round. Each
round ends with two workers of ours that share the four partitions.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np
import psutil
from bisupervised.streams.flow import group_of
from bisupervised.streams.topics.creating import create_topics
from rich.console import Console
from rich.table import Table

from scripts import peers

from . import job, topics
from .command import command
from .job import Outcome
from .process import ROOT, Process, broker_process, cpu_s
from .spread import Spread, ratios, spread
from .worker import PATIENCE_S, Worker, settings_for

SCRIPTS = ROOT / "benchmarks" / "candidates"
PARTITIONS = 4
OURS, DIRECT = "BiSupervised", "BiSupervised without Faust's channel"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program that takes part."""

    name: str
    promise: str  #: its delivery guarantee, in words
    share: float = 1.0  #: share of the records that it gets, so that each candidate takes several seconds
    script: str = ""  #: its file in `candidates`; empty for our own worker
    peer: str = ""  #: the environment it needs; empty for our own
    decides: bool = True  #: False where it only copies


BARE, CONFLUENT, QUIX = "aiokafka, record batches as they are", "confluent-kafka", "quixstreams"
FAUST, FASTSTREAM, FASTSTREAM_BATCHES = "Faust agent", "FastStream", "FastStream, batches"
CANDIDATES = (
    Candidate(OURS, "exactly once"),
    Candidate(DIRECT, "exactly once"),
    Candidate(BARE, "exactly once", 2.0, "bare.py", decides=False),
    Candidate(CONFLUENT, "exactly once", 2.0, "confluent.py", "confluent"),
    Candidate(QUIX, "exactly once", 0.5, "quix.py", "quixstreams"),
    Candidate(FAUST, "at least once", 0.05, "faust_agent.py"),
    Candidate(FASTSTREAM_BATCHES, "at most once", 0.25, "faststream_batches.py", "faststream"),
    Candidate(FASTSTREAM, "at most once", 0.01, "faststream_app.py", "faststream"),
)
TWO_WORKERS = Candidate("BiSupervised, two workers", "exactly once")
#: how much faster our worker must be
TARGETS = {BARE: 0.5, QUIX: 2.0, FASTSTREAM: 30.0}
#: least records of a candidate, even in a smoke run
LEAST = 200
#: seconds between two questions how far a candidate is
LOOK_S = 0.1


class ContestError(Exception):
    """A candidate did not do the job, so its rate would mean nothing."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    records: int = 400_000  #: of a candidate with share 1
    rounds: int = 5


SMOKE = Sizes(4000, 1)


@dataclass(frozen=True, slots=True)
class Run:
    """The measurement of a candidate in one round."""

    candidate: str
    round: int
    records: int
    seconds: float  #: from the first record batch of outcomes to the last
    per_s: float  #: outcomes a second
    cpu_us: float  #: CPU time of the candidate, microseconds an outcome
    broker_share: float  #: CPU time of the broker, share of all cores, over the same time


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate over all rounds."""

    candidate: str
    promise: str
    records: int
    per_s: Spread
    cpu_us: Spread
    broker_share: Spread


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/contest.json`. A ratio is None where the other library is not installed."""

    standings: tuple[Standing, ...]
    local_path_vs_bare: Spread | None  #: events/s, ours divided by theirs
    local_path_vs_confluent: Spread | None
    local_path_vs_quixstreams: Spread | None
    local_path_vs_faust: Spread | None
    local_path_vs_faststream: Spread | None
    local_path_vs_faststream_batches: Spread | None
    channel_cost: Spread | None  #: CPU time an event with Faust's channel, divided by that without
    two_workers_per_s: Spread
    two_workers_broker_share: Spread
    two_workers_vs_one: Spread | None  #: events/s of two workers, divided by that of one
    contest_runs: tuple[Run, ...]


@dataclass(slots=True)
class Costs:
    """CPU time over the time of a run."""

    at_s: list[float] = field(default_factory=list)  #: by the system's clock, as the broker's timestamps are
    candidate_s: list[float] = field(default_factory=list)
    broker_s: list[float] = field(default_factory=list)

    def note(self, processes: Sequence[Process], broker: psutil.Process) -> None:
        """Add the CPU time up to now."""
        self.at_s.append(time.time())
        self.candidate_s.append(sum(process.cpu_s for process in processes))
        self.broker_s.append(cpu_s(broker))

    def between(self, began_s: float, ended_s: float) -> tuple[float, float]:
        """CPU time of the candidate and of the broker between two moments."""
        candidate, broker = (
            np.interp((began_s, ended_s), self.at_s, spent) for spent in (self.candidate_s, self.broker_s)
        )
        return float(np.diff(candidate)[0]), float(np.diff(broker)[0])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a candidate reads and writes."""

    requests: str
    results: str
    doubtful: str
    group: str


class Contest:
    """Runs candidates on one broker."""

    def __init__(self, servers: str, folder: Path) -> None:
        self._servers = servers
        self._folder = folder
        _, self._settings = settings_for(servers, folder)  # how to reach the broker
        self._broker = broker_process(servers)
        self._inputs: dict[int, str] = {}  # number of requests -> the topic that holds them

    def run(self, candidate: Candidate, number: int, records: int) -> Run:
        """Run one candidate once."""
        requests = self._requests(records)
        if candidate.script:
            name = f"c{uuid4().hex[:8]}"
            place = _Place(requests, f"{name}-results", f"{name}-doubtful", name)
            self._make_outputs(place)
            process = self._script(candidate, place)
        else:
            config, place = self._configure(requests)
            process = Worker(config, "local") if candidate.name == OURS else _direct(config)
        with process:
            costs = self._watch([process], place, records)
        return self._weigh(candidate, number, records, place, costs)

    def two_workers(self, number: int, records: int) -> Run:
        """Run two workers of ours. They are suspended while the backlog is written, so that no rebalance is timed."""
        config, place = self._configure()
        with Worker(config, "local") as first:
            first.wait_for("partition_acquired", PARTITIONS)
            with Worker(config, "local") as second:
                second.wait_for("partition_acquired", PARTITIONS // 2)
                first.wait_for("partition_acquired", PARTITIONS + PARTITIONS // 2)
                workers = [first, second]
                for worker in workers:
                    worker.suspend()
                asyncio.run(topics.fill(self._servers, place.requests, PARTITIONS, job.requests(records)))
                for worker in workers:
                    worker.resume()
                costs = self._watch(workers, place, records)
        return self._weigh(TWO_WORKERS, number, records, place, costs)

    def _requests(self, records: int) -> str:
        """The topic with so many requests. It is made once, for every candidate that needs it."""
        if records not in self._inputs:
            name = f"requests-{records}-{uuid4().hex[:4]}"
            asyncio.run(self._make(name))
            asyncio.run(topics.fill(self._servers, name, PARTITIONS, job.requests(records)))
            self._inputs[records] = name
        return self._inputs[records]

    def _configure(self, requests: str = "") -> tuple[Path, _Place]:
        """Write a configuration for our worker and make its topics. Without `requests`, it gets an empty topic."""
        local = {"model": "benchmarks.job:FreeModel", "threshold": job.THRESHOLD}
        shared = {"requests": requests} if requests else {}
        config, settings = settings_for(self._servers, self._folder, PARTITIONS, local=local, topics=shared)
        names = settings.topics
        place = _Place(names.requests, names.results, names.doubtful, group_of(settings, "local"))
        self._make_outputs(place)
        asyncio.run(create_topics(settings))  # the rest
        return config, place

    def _make_outputs(self, place: _Place) -> None:
        asyncio.run(self._make(place.results, place.doubtful))

    async def _make(self, *names: str) -> None:
        async with topics.admin(self._servers) as client:
            await topics.make(client, PARTITIONS, *names)

    def _script(self, candidate: Candidate, place: _Place) -> Process:
        python = peers.python_of(candidate.peer) if candidate.peer else sys.executable
        options = {
            "servers": self._servers,
            "group": place.group,
            "requests": place.requests,
            "results": place.results,
            "doubtful": place.doubtful,
            "transactional-id": place.group,
        }
        named = [part for option, value in options.items() for part in (f"--{option}", value)]
        return Process([str(python), SCRIPTS / candidate.script, *named], self._folder / f"{place.group}.log")

    def _watch(self, processes: Sequence[Process], place: _Place, records: int) -> Costs:
        """Wait until every request is committed. Only offsets are asked for, which costs the candidates nothing."""
        return asyncio.run(self._watched(processes, place, records))

    async def _watched(self, processes: Sequence[Process], place: _Place, records: int) -> Costs:
        costs, began = Costs(), time.monotonic()
        async with topics.admin(self._servers) as client:
            while await topics.committed(client, place.group) < records:
                ended = [process for process in processes if not process.alive]
                if ended or time.monotonic() - began > PATIENCE_S:
                    output = (ended or processes)[0].output[-2000:]
                    raise ContestError(f"{place.group} did not come through its {records:,} requests:\n{output}")
                costs.note(processes, self._broker)
                await asyncio.sleep(LOOK_S)
        costs.note(processes, self._broker)
        return costs

    def _weigh(self, candidate: Candidate, number: int, records: int, place: _Place, costs: Costs) -> Run:
        """Read the outcomes, check them, and compute the rate."""
        found = asyncio.run(topics.outcomes(self._settings, place.results, place.doubtful))
        if wrong := job.faults(records, found, decides=candidate.decides):
            raise ContestError(f"{candidate.name}: of {records:,} requests, {', '.join(wrong)}")
        read = [] if place.requests in self._inputs.values() else [place.requests]
        asyncio.run(self._delete(place.results, place.doubtful, *read))
        return weigh(candidate, number, found, costs, psutil.cpu_count() or 1)

    async def _delete(self, *names: str) -> None:
        async with topics.admin(self._servers) as client:
            await client.delete_topics(list(names))


def _direct(config: Path) -> Process:
    return Process(
        [sys.executable, "-m", "benchmarks.direct", str(config)], config.with_suffix(".log"), PYTHONPATH=str(ROOT)
    )


def weigh(candidate: Candidate, number: int, found: Sequence[Outcome], costs: Costs, cores: int) -> Run:
    """The rate and the CPU time. The first record batch only starts the clock, for its own time is unknown."""
    stamps = [outcome.appended_ms for outcome in found]
    began_ms, ended_ms = min(stamps), max(stamps)
    after = sum(stamp > began_ms for stamp in stamps)
    # a smoke run may fit into a millisecond
    after, seconds = (after, (ended_ms - began_ms) / 1000) if after else (len(found), 0.001)
    spent_s, broker_s = costs.between(began_ms / 1000, ended_ms / 1000)
    return Run(
        candidate.name, number, len(found), seconds, after / seconds, spent_s / after * 1e6, broker_s / seconds / cores
    )


def present(say: Console) -> list[Candidate]:
    """The candidates whose environment is installed. `make bench` installs all."""
    here = [each for each in CANDIDATES if not each.peer or peers.python_of(each.peer) is not None]
    missing = [each.name for each in CANDIDATES if each not in here]
    if missing:
        say.print(f"not here, so left out: {', '.join(missing)} (scripts/peers.py installs them)")
    return here


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """Run all rounds."""
    contest, candidates = Contest(servers, folder), present(say)
    runs: list[Run] = []
    for number in range(sizes.rounds):
        for candidate in random.Random(number).sample(candidates, len(candidates)):
            runs.append(contest.run(candidate, number, max(LEAST, round(sizes.records * candidate.share))))
            say.print(_line(runs[-1]))
        runs.append(contest.two_workers(number, sizes.records))
        say.print(_line(runs[-1]))
    return summed_up(candidates, runs)


def _line(run: Run) -> str:
    return f"round {run.round + 1}: {run.candidate}: {run.per_s:,.0f}/s, {run.cpu_us:.1f} µs CPU an event"


def summed_up(candidates: Sequence[Candidate], runs: Sequence[Run]) -> Report:
    """The report: medians, ranges, and ratios within rounds."""
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_name[run.candidate].append(run)

    def against(one: str, other: str, figure: Literal["per_s", "cpu_us"] = "per_s") -> Spread | None:
        ours, theirs = ([getattr(run, figure) for run in by_name[name]] for name in (one, other))
        return ratios(ours, theirs) if theirs else None

    both = _standing(TWO_WORKERS, by_name[TWO_WORKERS.name])
    return Report(
        standings=(*(_standing(each, by_name[each.name]) for each in candidates), both),
        local_path_vs_bare=against(OURS, BARE),
        local_path_vs_confluent=against(OURS, CONFLUENT),
        local_path_vs_quixstreams=against(OURS, QUIX),
        local_path_vs_faust=against(OURS, FAUST),
        local_path_vs_faststream=against(OURS, FASTSTREAM),
        local_path_vs_faststream_batches=against(OURS, FASTSTREAM_BATCHES),
        channel_cost=against(OURS, DIRECT, "cpu_us"),
        two_workers_per_s=both.per_s,
        two_workers_broker_share=both.broker_share,
        two_workers_vs_one=against(TWO_WORKERS.name, OURS),
        contest_runs=tuple(runs),
    )


def _standing(candidate: Candidate, runs: Sequence[Run]) -> Standing:
    return Standing(
        candidate.name,
        candidate.promise,
        runs[0].records,
        spread([run.per_s for run in runs]),
        spread([run.cpu_us for run in runs]),
        spread([run.broker_share for run in runs]),
    )


def as_table(report: Report) -> Table:
    """The report as a table."""
    columns = ("", "promise", "events/s", "CPU, µs an event", "broker, % of all cores", "BiSupervised ÷ this")
    table = Table(*columns, title="Local path, one process")
    factors = {
        BARE: report.local_path_vs_bare,
        CONFLUENT: report.local_path_vs_confluent,
        QUIX: report.local_path_vs_quixstreams,
        FAUST: report.local_path_vs_faust,
        FASTSTREAM: report.local_path_vs_faststream,
        FASTSTREAM_BATCHES: report.local_path_vs_faststream_batches,
    }
    for row in report.standings:
        factor, target = factors.get(row.candidate), TARGETS.get(row.candidate)
        wanted = f", target ≥ {target:g}" if target else ""
        table.add_row(
            row.candidate,
            row.promise,
            str(row.per_s),
            str(row.cpu_us),
            f"{row.broker_share.median:.0%}",
            f"{factor}{wanted}" if factor else "",
        )
    table.add_row("CPU with Faust's channel, to without", "", "", str(report.channel_cost), "", "")
    return table


def faults(report: Report) -> list[str]:
    """The targets that were missed."""
    held = {
        "local_path_vs_bare": (report.local_path_vs_bare, TARGETS[BARE]),
        "local_path_vs_quixstreams": (report.local_path_vs_quixstreams, TARGETS[QUIX]),
        "local_path_vs_faststream": (report.local_path_vs_faststream, TARGETS[FASTSTREAM]),
    }
    return [name for name, (factor, target) in held.items() if factor is None or factor.median < target]


def main() -> int:
    """Returns 0 where every target is met; `--smoke` checks none."""
    return command("contest", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
