"""Chaos: the whole pipeline on real Kafka while processes are killed, frozen and replaced.

    python tests/chaos/run.py --inputs 300000 --faults 120

Every kind of fault has a phase of its own: at least its share of the inputs is produced at a steady rate while its
faults happen, then everything must drain. Prints a table, writes `build/chaos.json`, exits 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import TopicPartition
from bisupervised.schemas.bulk import BatchTold
from bisupervised.streams.bulk.reading import read_ledger
from bisupervised.streams.console.signals import interrupted_by
from bisupervised.streams.flow import group_of
from bisupervised.streams.plane.sending.coordinator import Coordinator
from bisupervised.streams.settings.broker import connection
from bisupervised.streams.settings.tables import Settings
from faults import FAULTS, LEAVE_OPEN
from rich.console import Console
from rich.table import Table
from rig import BATCH_SHARE, PARTITIONS, OneBroker, running
from tightening import DEMANDS, examined, ladder_file, lowered, settled
from watch import AbortedRecords, Watch

#: about how long one fault of any kind takes with its recovery, to spread the inputs over a phase, seconds
_FAULT_S = 13.0
#: seconds without any outcome after which a phase counts as not drained
_DRAIN_S = 90.0
#: what an audit must have none of
_AUDIT_DEMANDS = ("unaudited", "audited_twice", "audited_undrawn")
#: what batches must have none of
_BATCH_DEMANDS = ("not_ended", "paid_twice_uncounted", "over_budget")
#: faults that batches are tried with, unless others are named
_BATCH_KINDS = ("kill", "kill_in_transaction", "kill_broker")
#: share of the money that all inputs would cost in batches
_BATCH_MONEY = 0.9
#: requests after everything else, which must be judged by the version in force then, and how many of them a second
_PROBES, _PROBES_PER_SECOND = 200, 50.0


@dataclass
class Phase:
    """One kind of fault: what was done and what came of it."""

    kind: str
    faults: int = 0
    missed: int = 0  #: traps that no transaction stepped into
    inputs: int = 0
    aborted: int = 0
    resume_s: list[float] = field(default_factory=list)
    pause_s: float = 0.0  #: the longest that a partition stood still


async def run_phase(rig: OneBroker, watch: Watch, kind: str, inputs: int, faults: int) -> Phase:
    """Produce while faults of one kind happen; return when all inputs have their outcome, or will never have."""
    phase, enough = Phase(kind), asyncio.Event()
    producing = asyncio.create_task(watch.produce(inputs, inputs / max(faults * _FAULT_S, 5.0), enough))
    await watch.resumed(time.monotonic())
    while phase.faults + phase.missed < faults:
        rig.revive()
        await asyncio.sleep(random.uniform(0.5, 2.0))
        started = time.monotonic()
        if await FAULTS[kind](rig):
            phase.faults += 1
        else:
            phase.missed += 1
        if (seconds := await watch.resumed(started)) is not None:
            phase.resume_s.append(seconds)
        print(
            f"  {kind} {phase.faults}/{faults}  outcomes {len(watch.outcomes.seen)}",
            file=sys.stderr,
            flush=True,
        )
    enough.set()
    phase.inputs = await producing
    rig.revive()
    await watch.drained(_DRAIN_S)
    phase.pause_s = watch.longest_pause()
    return phase


async def versions_at_the_end(rig: OneBroker, watch: Watch) -> dict[str, Any]:
    """Let the last labels be taken in, ask once more, and look at what judged, and at what the topics say."""
    await watch.labeller.all_said(_DRAIN_S)
    await settled(rig.settings, _DRAIN_S)
    await lowered(rig.config(0), _DRAIN_S + rig.settings.audit.alarm_hours * 3600)
    before, at_once = set(watch.inputs), asyncio.Event()
    at_once.set()
    await watch.produce(_PROBES, _PROBES_PER_SECOND, at_once)
    await watch.drained(_DRAIN_S)
    await watch.all_audited(_DRAIN_S)
    return await examined(rig.config(0), watch.judgements, watch.inputs - before, watch.labeller)


async def batches_at_the_end(rig: OneBroker) -> dict[str, Any]:
    """The provider's bill, and what the log of the batches says."""
    rig.revive()
    told: dict[str, Any] = {}
    deadline = time.monotonic() + _DRAIN_S
    batches = await last_words(rig.settings)
    while any(batch.state != "ended" for batch in batches) and time.monotonic() < deadline:
        await asyncio.sleep(1.0)
        batches = await last_words(rig.settings)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{rig.remote_port}/told") as response:
        told = await response.json()
    unsure = sum(batch.unsure for batch in batches)
    paid = told["answered"] * BATCH_SHARE
    return {
        "batches": len(batches),
        "not_ended": sum(batch.state != "ended" for batch in batches),
        "created": told["created"],
        "creations_tried": sum(batch.tries for batch in batches),
        "inputs_answered": told["answered"],
        "paid_twice": told["twice"],
        "paid_twice_uncounted": told["twice"] if told["twice"] and not unsure else 0,
        "money": rig.batches_money,
        "paid": paid,
        "over_budget": max(0.0, paid - rig.batches_money),
    }


async def last_words(settings: Settings) -> list[BatchTold]:
    """The last word about each batch."""
    found: list[BatchTold] = []
    for number in range(PARTITIONS):
        place = TopicPartition(settings.topics.batches, number)
        coordinator = Coordinator(connection(settings.kafka), group_of(settings, "bulk"))
        topic_id = await coordinator.topic_id(settings.topics.batched)
        await coordinator.close()
        ledger, _ = await read_ledger(connection(settings.kafka), place, settings.name, topic_id, all_of_it=True)
        found += [*ledger.open.values(), *ledger.ended]
    return found


async def torment(rig: OneBroker, arguments: argparse.Namespace) -> tuple[list[Phase], Watch, dict[str, Any], float]:
    """All phases, one after the other. Returns what became of versions, too; nothing where nobody tightens."""
    watch = Watch(rig)
    aborted = AbortedRecords(rig.broker.bootstrap_servers, ("batched", "batches") if rig.batches_money else ())
    following = asyncio.create_task(watch.follow())
    labelling = asyncio.create_task(watch.labeller.run()) if rig.ladder else None
    started = time.monotonic()
    phases = []
    kinds = arguments.kinds or list(FAULTS)
    for number, kind in enumerate(kinds):
        faults = arguments.faults // len(kinds) + (number < arguments.faults % len(kinds))
        phase = await run_phase(rig, watch, kind, arguments.inputs // len(kinds), faults)
        phase.aborted = await aborted.since_last()
        phases.append(phase)
        for task in (following, labelling):
            if task is not None and task.done():
                task.result()
    if rig.audit:
        rig.revive()
        await watch.all_audited(_DRAIN_S)
    versions = await versions_at_the_end(rig, watch) if rig.ladder else {}
    if rig.batches_money:
        versions |= {"provider_batches": await batches_at_the_end(rig)}
    for task in (following, labelling):
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return phases, watch, versions, time.monotonic() - started


def summary(
    phases: list[Phase], watch: Watch, rig: OneBroker, versions: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """The figures, as they go into the file."""
    return {
        "inputs": len(watch.inputs),
        "faults": sum(phase.faults for phase in phases),
        "outcomes": sum(watch.outcomes.seen.values()),
        "lost": watch.missing,
        "duplicated": watch.duplicated,
        "out_of_order": watch.outcomes.out_of_order,
        "stuck": watch.stuck,
        "stuck_after_s": watch.stuck_s,
        "longest_pause_s": {phase.kind: round(phase.pause_s, 1) for phase in phases},
        "aborted_records": sum(phase.aborted for phase in phases),
        "faults_by_kind": {phase.kind: phase.faults for phase in phases},
        "aborted_by_kind": {phase.kind: phase.aborted for phase in phases},
        "outcomes_by_reason": dict(watch.outcomes.reasons),
        "traps_missed": sum(phase.missed for phase in phases),
        "worker_deaths": rig.deaths,
        "seconds": round(seconds, 1),
        **({"audit": watch.audited() | {"shadows": dict(watch.audits.shadows)}} if rig.audit else {}),
        **({"versions": versions} if versions else {}),
    }


def broken(figures: dict[str, Any], delivery: str, demand_aborts: bool) -> list[str]:
    """Which promises were not kept."""
    demands = ["lost", "stuck", *(() if "provider_batches" in figures.get("versions", {}) else ("out_of_order",))]
    if delivery == "exactly_once":
        demands += ["duplicated"]
    faults = [f"{figures[name]} {name}" for name in demands if figures[name]]
    audit = figures.get("audit", {})
    faults += [f"{audit[name]} {name}" for name in _AUDIT_DEMANDS if audit.get(name)]
    versions = figures.get("versions", {})
    batches = versions.get("provider_batches", {})
    faults += [f"batches: {batches[name]} {name}" for name in _BATCH_DEMANDS if batches.get(name)]
    faults += [f"versions: {versions[name]} {name}" for name in DEMANDS if versions.get(name)]
    faults += ["versions: none was chosen"] * (versions.get("chosen") == 0)
    if demand_aborts and delivery == "exactly_once":
        aborted = figures["aborted_by_kind"]
        faults += [f"no aborted record by {kind}" for kind in LEAVE_OPEN if kind in aborted and not aborted[kind]]
    return faults


def show(phases: list[Phase], figures: dict[str, Any]) -> None:
    """The table for people."""
    table = Table(title="Chaos: faults, and what came of the inputs")
    columns = ("fault", "faults", "inputs", "aborted records", "resume s, median", "resume s, worst", "longest pause s")
    for column in columns:
        table.add_column(column, justify="left" if column == "fault" else "right")
    for phase in phases:
        times = phase.resume_s
        median, worst = (f"{statistics.median(times):.1f}", f"{max(times):.1f}") if times else ("-", "-")
        counts = (phase.faults, phase.inputs, phase.aborted)
        table.add_row(phase.kind, *map(str, counts), median, worst, f"{phase.pause_s:.1f}")
    console = Console(width=110)
    console.print(table)
    names = ("inputs", "outcomes", "faults", "lost", "duplicated", "out_of_order", "stuck", "aborted_records")
    console.print("  ".join(f"{name} {figures[name]}" for name in names))
    for part in ("audit", "versions"):
        if part in figures:
            console.print("  ".join(f"{name} {count}" for name, count in figures[part].items()))
    console.print(f"outcomes by reason {figures['outcomes_by_reason']}  seconds {figures['seconds']}")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=300_000, help="requests in all, at least")
    parser.add_argument("--faults", type=int, default=120, help="faults in all")
    parser.add_argument("--workers", type=int, default=2, help="workers that run all the time")
    parser.add_argument("--kinds", nargs="*", choices=list(FAULTS), help="kinds of faults; all by default")
    parser.add_argument("--delivery", choices=("exactly_once", "at_least_once"), default="exactly_once")
    parser.add_argument("--audit", action="store_true", help="draw requests for an audit, and ask about shadows")
    parser.add_argument("--tighten", action="store_true", help="with --audit: label what is drawn; the fleet tightens")
    parser.add_argument("--batches", action="store_true", help="ask the remote in batches, with a budget for most")
    parser.add_argument("--seed", type=int, default=None, help="seed of what is random here")
    parser.add_argument("--out", type=Path, default=Path("build/chaos.json"), help="file for the figures")
    parser.add_argument("--logs", type=Path, default=None, help="keep the processes' logs in this new folder")
    arguments = parser.parse_args(argv)
    if arguments.tighten and not arguments.audit:
        parser.error("--tighten needs --audit: without an audit nobody knows when to tighten")
    if arguments.batches and (arguments.audit or arguments.delivery != "exactly_once"):
        parser.error("--batches goes without --audit, and exactly once")
    arguments.kinds = arguments.kinds or (list(_BATCH_KINDS) if arguments.batches else None)
    return arguments


def main() -> int:
    """Run, tell, and fail when a promise was broken."""
    arguments = parse()
    random.seed(arguments.seed)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells every retry while the broker is dead
    folder = arguments.logs or Path(tempfile.mkdtemp(prefix="bisupervised-chaos-"))
    # a run that is told to end ends what it started
    with (
        interrupted_by(signal.SIGTERM),
        running(
            OneBroker(
                folder,
                arguments.delivery,
                audit=arguments.audit,
                ladder=ladder_file(folder) if arguments.tighten else None,
                batches_money=arguments.inputs * BATCH_SHARE * _BATCH_MONEY if arguments.batches else 0.0,
            ),
            arguments.workers,
        ) as rig,
    ):
        phases, watch, versions, seconds = asyncio.run(torment(rig, arguments))
        figures = summary(phases, watch, rig, versions, seconds)
    show(phases, figures)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    faults = broken(figures, arguments.delivery, demand_aborts=arguments.faults >= 8 * len(arguments.kinds or FAULTS))
    for fault in faults:
        print(f"BROKEN: {fault}")
    if not faults and arguments.logs is None:
        shutil.rmtree(folder)
    elif faults:
        print(f"the logs are in {folder}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
