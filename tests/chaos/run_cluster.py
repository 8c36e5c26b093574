"""Chaos on a cluster: the whole pipeline on three nodes of Kafka while nodes, workers and the lines between them fail.

    python tests/chaos/run_cluster.py --faults 48

Topics have three copies, of which two must be in sync. First exactly once, then at least once, each on a cluster of its
own. Every kind of fault has a phase. At the end everything is counted afresh. Prints a table, writes
`build/chaos-cluster.json`, and with `--page` puts the table into that page. Exits 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aiokafka.errors import KafkaError
from bisupervised.streams.console.signals import interrupted_by
from bisupervised.streams.kafka.metadata import pace_metadata
from node_faults import NODE_FAULTS
from nodes import ThreeNodes
from rig import running
from run import broken
from support.archive import use_archive
from support.beginnings import beginnings
from witness import Count, Load, Sampler, Witness, count

ROOT = Path(__file__).resolve().parents[2]
DELIVERIES = ("exactly_once", "at_least_once")
#: of the faults, so many are tried exactly once: it is the default, and promises more
_EXACTLY_ONCE = 0.625
RATE = 50.0  #: requests a second
#: about what a fault takes with its recovery, and a cluster with its workers to start and to be counted, seconds
_FAULT_S, _CLUSTER_S = 28.0, 60.0
_RESUME_S = 120.0
_DRAIN_S = 90.0
#: how long work should take to go on after the cluster is well, seconds, at most
MOST_RESUME_S = 15.0


@dataclass
class Hit:
    """One fault and what came of it."""

    kind: str
    whom: str
    fault: str  #: of the harness: why it could not be done, or what was still wrong when we stopped waiting
    took_s: float  #: from the fault until the cluster was well
    resume_s: float | None  #: from then until every partition had an outcome of a request that came later
    load: Load  #: of the busiest worker


@dataclass
class NodePhase:
    """One kind of fault under one mode of delivery."""

    delivery: str
    kind: str
    hits: list[Hit] = field(default_factory=list)
    inputs: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    stuck: int = 0


async def hit(rig: ThreeNodes, watch: Witness, sampler: Sampler, kind: str, number: int) -> Hit:
    """One fault: until the cluster is well, and until work goes on."""
    rig.doing = f"{kind} {number}"
    rig.well = False
    began = time.monotonic()
    try:
        whom = await NODE_FAULTS[kind](rig)
    except (KafkaError, OSError, TimeoutError) as error:  # the others can be tried
        whom, failed = "", repr(error)
    else:
        failed = ""
    unwell = await rig.mend()
    well = time.monotonic()
    rig.well = True
    rig.revive()
    resume_s = await watch.resumed(well, _RESUME_S)
    load = sampler.during(rig.doing)
    rig.doing = ""
    return Hit(kind, whom, failed or unwell, well - began, resume_s, load)


async def run_phase(rig: ThreeNodes, watch: Witness, sampler: Sampler, phase: NodePhase, faults: int) -> None:
    """Produce while faults of one kind happen; return when all inputs have their outcome, or will never have."""
    enough = asyncio.Event()
    before = (watch.missing, watch.duplicated, watch.outcomes.out_of_order, watch.stuck)
    producing = asyncio.create_task(watch.produce(1, RATE, enough))
    await watch.resumed(time.monotonic())
    for number in range(1, faults + 1):
        rig.revive()
        await asyncio.sleep(random.uniform(0.5, 1.5))
        phase.hits.append(await hit(rig, watch, sampler, phase.kind, number))
        print(_line(phase.hits[-1]), file=sys.stderr, flush=True)
    enough.set()
    phase.inputs = await producing
    rig.revive()
    await watch.drained(_DRAIN_S)
    after = (watch.missing, watch.duplicated, watch.outcomes.out_of_order, watch.stuck)
    phase.lost, phase.duplicated, phase.out_of_order, phase.stuck = (a - b for a, b in zip(after, before, strict=True))


def _line(one: Hit) -> str:
    resumed = "did not resume" if one.resume_s is None else f"resumed after {one.resume_s:.1f} s"
    told = f"  {one.kind}: {one.whom}; well after {one.took_s:.1f} s, {resumed}; "
    told += f"{one.load.lines:.0f} lines/s, {one.load.metadata:.0f} metadata/s, {one.load.cpu:.2f} cores"
    return told + (f"; NOT AS IT SHOULD: {one.fault}" if one.fault else "")


async def torment(rig: ThreeNodes, delivery: str, plan: dict[str, int]) -> tuple[list[NodePhase], dict[str, Any]]:
    """All phases of a mode, one after the other, and the count at the end."""
    watch, sampler = Witness(rig), Sampler(rig)
    beside = [asyncio.create_task(watch.follow()), asyncio.create_task(sampler.run())]
    phases = [NodePhase(delivery, kind) for kind in plan]
    for phase in phases:
        await run_phase(rig, watch, sampler, phase, plan[phase.kind])
        for task in beside:
            if task.done():
                task.result()
    for task in beside:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    counted = await count(rig.brokers.bootstrap_servers)
    return phases, figures(counted, watch, rig)


def figures(counted: Count, watch: Witness, rig: ThreeNodes) -> dict[str, Any]:
    """What came of a mode, as `broken` reads it."""
    return {
        **asdict(counted),
        "duplicated": counted.duplicated + counted.foreign,
        "stuck": watch.stuck,
        "stuck_after_s": watch.stuck_s,
        "unacknowledged": watch.unacknowledged,
        "worker_deaths": rig.deaths,
        "outcomes_by_reason": dict(watch.outcomes.reasons),
    }


def plan_of(faults: int, kinds: Sequence[str]) -> dict[str, int]:
    """How many faults of each kind, one after the other until all are dealt out."""
    dealt = {kind: faults // len(kinds) + (number < faults % len(kinds)) for number, kind in enumerate(kinds)}
    return {kind: number for kind, number in dealt.items() if number}


def missed_aims(phases: Sequence[NodePhase]) -> list[str]:
    """Where an aim was not reached; it is no broken promise."""
    return [
        f"{phase.delivery.replace('_', ' ')}, `{one.kind}` ({one.whom}): {told}"
        for phase in phases
        for one in phase.hits
        for told in _missed(one)
    ]


def _missed(one: Hit) -> Iterator[str]:
    if one.resume_s is None or one.resume_s > MOST_RESUME_S:
        yield "did not resume" if one.resume_s is None else f"{one.resume_s:.1f} s to resume"
    if one.load.lines_over:
        yield f"{one.load.lines:.0f} log lines in a second, {one.load.lines_over} s above the aim"
    if one.load.metadata_over:
        yield f"{one.load.metadata:.0f} metadata requests in a second, {one.load.metadata_over} s above the aim"


HEADINGS = (
    "delivery", "fault", "faults", "inputs", "lost", "duplicated", "out of order", "stuck", "resume s, median",
    "resume s, worst", "log lines a second", "metadata requests a second", "cores",
)  # fmt: skip


def table(phases: Sequence[NodePhase]) -> str:
    """The table of the docs."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_cells, phases)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def _cells(phase: NodePhase) -> tuple[object, ...]:
    resumed = [_RESUME_S if one.resume_s is None else one.resume_s for one in phase.hits]
    loads = [one.load for one in phase.hits]
    return (
        phase.delivery.replace("_", " "),
        f"`{phase.kind}`",
        len(phase.hits),
        f"{phase.inputs:,}",
        *(phase.lost, phase.duplicated, phase.out_of_order, phase.stuck),
        *(f"{statistics.median(resumed):.1f}", f"{max(resumed):.1f}"),
        *(f"{max(load.lines for load in loads):.0f}", f"{max(load.metadata for load in loads):.0f}"),
        f"{max(load.cpu for load in loads):.2f}",
    )


def report(
    phases: Sequence[NodePhase],
    totals: dict[str, dict[str, Any]],
    begun: dict[str, float],
    faults: int,
    seconds: float,
) -> str:
    """What goes into the docs."""
    head = f"**{time.strftime('%Y-%m-%d')}, `make chaos-cluster FAULTS={faults}`, {_commit()}, {seconds:,.0f} s.**"
    counts = [
        f"- {delivery.replace('_', ' ')}: {told['inputs']:,} inputs, {told['outcomes']:,} outcomes: "
        f"**{told['lost']} lost, {told['duplicated']} duplicated, {told['out_of_order']} out of key order among first "
        f"deliveries, {told['stuck']} stuck**; {told['worker_deaths']} workers ended by themselves"
        for delivery, told in totals.items()
    ]
    counts += [f"- {what}: every request had its one outcome after {after:.0f} s" for what, after in begun.items()]
    missed = missed_aims(phases) or ["none"]
    aims = "Aims (at most 15 s to resume, 20 log lines and 50 metadata requests a second) that were missed:"
    return "\n".join([head, "", table(phases), "", *counts, "", aims, "", *(f"- {text}" for text in missed)])


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return f"commit {found.stdout.strip()}" if found.returncode == 0 else "no commit"


def write(page: Path, text: str) -> None:
    """Put it into the place that the page has for it."""
    marks = r"(<!-- chaos-cluster -->\n).*?(\n<!-- end of chaos-cluster -->)"
    filled, places = re.subn(marks, lambda found: found[1] + text + found[2], page.read_text(), flags=re.DOTALL)
    if places != 1:
        sys.exit(f"{page} has no place for the table: <!-- chaos-cluster --> and <!-- end of chaos-cluster -->")
    page.write_text(filled)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=48, help="faults in all")
    parser.add_argument("--kinds", nargs="*", choices=list(NODE_FAULTS), help="kinds of faults; all by default")
    parser.add_argument("--delivery", choices=DELIVERIES, help="one mode; both by default")
    parser.add_argument("--workers", type=int, default=2, help="workers, each with lines of its own")
    parser.add_argument("--seed", type=int, default=None, help="seed of what is random here")
    parser.add_argument("--out", type=Path, default=Path("build/chaos-cluster.json"), help="file for the figures")
    parser.add_argument("--page", type=Path, default=None, help="page that has a place for the table")
    parser.add_argument("--logs", type=Path, default=None, help="keep the processes' logs in this new folder")
    return parser.parse_args(argv)


def plans(arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    """How many faults of each kind, by mode."""
    kinds = arguments.kinds or list(NODE_FAULTS)
    if arguments.delivery:
        return {arguments.delivery: plan_of(arguments.faults, kinds)}
    first = round(arguments.faults * _EXACTLY_ONCE)
    shares = dict(zip(DELIVERIES, (first, arguments.faults - first), strict=True))
    return {delivery: plan_of(faults, kinds) for delivery, faults in shares.items() if faults}


def main() -> int:
    """Run, tell, and fail when a promise was broken."""
    arguments = parse()
    random.seed(arguments.seed)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells every retry while a node is dead
    use_archive()
    pace_metadata()  # the clients of the harness, too, would ask a thousand times a second
    folder = (arguments.logs or Path(tempfile.mkdtemp(prefix="bisupervised-chaos-"))).resolve()
    planned = plans(arguments)
    minutes = (arguments.faults * _FAULT_S + len(planned) * _CLUSTER_S) / 60
    print(f"{arguments.faults} faults: about {minutes:.0f} minutes on two idle cores", file=sys.stderr, flush=True)
    began = time.monotonic()
    phases: list[NodePhase] = []
    totals: dict[str, dict[str, Any]] = {}
    begun: dict[str, float] = {}
    with interrupted_by(signal.SIGTERM):
        for delivery, plan in planned.items():
            print(f"{delivery}: {plan}", file=sys.stderr, flush=True)
            with running(ThreeNodes(folder / delivery, delivery, arguments.workers), arguments.workers) as rig:
                found, totals[delivery] = asyncio.run(torment(rig, delivery, plan))
                if delivery == "exactly_once" and not arguments.kinds:
                    begun = beginnings(rig.brokers.bootstrap_servers, folder)
            phases += found
    text = report(phases, totals, begun, arguments.faults, time.monotonic() - began)
    print(text)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    told = {"totals": totals, "beginnings": begun, "phases": [asdict(phase) for phase in phases]}
    arguments.out.write_text(json.dumps(told, indent=2) + "\n")
    if arguments.page is not None:
        write(arguments.page, text)
    faults = [f"{mode}: {fault}" for mode in totals for fault in broken(totals[mode], mode, demand_aborts=False)]
    faults += [f"{phase.delivery} {one.kind}: {one.fault}" for phase in phases for one in phase.hits if one.fault]
    for fault in faults:
        print(f"BROKEN: {fault}")
    if faults or arguments.logs is not None:
        print(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
