"""`make audit-trust`: check what the audit promises, on thousands of streams of the recorded predictions.

The recorded case studies are played as streams of labelled requests through the functions that the audit uses. Six
things are checked: the interval misses in at most 5 % of the streams at any time; false alarms come at most once for
so many labels as was asked for, on average, even where the true rate is the promised one; a jump from 9.9 % to
18.7 % at a promise of 11 % is noticed after 150 to 210 labels (median); feedback that comes back rather for wrong
answers, and later for them, does not move the estimate (`audit_feedback.py`); the ladder holds the true error below
the promise but for the time that it takes to notice (`audit_ladder.py`); and a share that rises after alarms changes
nothing about intervals and alarms (`audit_share.py`).

Writes build/audit-trust.json and the tables of docs/audit.md, docs/ladder.md and docs/versions.md. Exits 1 where a
promise is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bisupervised.agents.auditing.losses import Kind, losses
from bisupervised.agents.supervision.evaluation import decide
from bisupervised.agents.supervision.recording import Recording
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.streams.audit.simulation import Phase, Plan, Simulated, simulate
from bisupervised.streams.offline.replicate import load_case, present
from rich.console import Console
from rich.progress import track

from scripts import audit_feedback, audit_ladder, audit_share
from scripts.audit_feedback import Heard, heard
from scripts.audit_ladder import Climbed, climbs, together
from scripts.audit_share import Raised, raises
from scripts.trust import DATA, fill

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "audit.md"
LADDER_PAGE = ROOT / "docs" / "ladder.md"
VERSIONS_PAGE = ROOT / "docs" / "versions.md"
ALPHA, LABELS_TO_FALSE_ALARM = 0.05, 10_000.0
#: the jump of the design, and between which numbers of labels the median must lie
JUMP, NOTICED_AFTER = ("imdb", 0.099, 0.187, 0.11), (150, 210)


@dataclass(frozen=True, slots=True)
class Played:
    """One case, and what its streams showed."""

    case: str
    kind: Kind
    what: str  #: what happens to the rate, in words
    runs: int
    made: Simulated

    def faults(self) -> list[str]:
        """The promises that are broken."""
        found = []
        if self.made.interval_missed_share > ALPHA:
            found.append(f"the interval misses in {self.made.interval_missed_share:.1%}")
        if self.made.error_before <= self.made.promise and self.made.false_alarms_per_10000_labels > 1.0:
            found.append(f"{self.made.false_alarms_per_10000_labels:.2f} false alarms per 10,000 labels")
        if self.what == "the jump of the design":
            spread = self.made.labels_to_notice
            median = None if spread is None else spread.median
            if median is None or not NOTICED_AFTER[0] <= median <= NOTICED_AFTER[1]:
                found.append(f"the jump is noticed after {median} labels")
        return found


def phase(recording: Recording, kind: Kind, flipped: float = 0.0) -> Phase:
    """A recording judged by the medians of both scores. Of a share `flipped`, right is wrong and wrong is right."""
    lines = [Supervisor("", float(np.median(side.scores))) for side in (recording.local, recording.remote)]
    made = decide(recording, *lines)
    right = np.where(made.by_local, recording.local.correct, recording.remote.correct)
    right ^= np.random.default_rng(0).random(len(right)) < flipped
    found = losses(kind, ~made.rejected, right)
    return Phase(found.wrong[found.counts], float(found.counts.mean()), float(made.by_local.mean()))


def at_rate(played: Phase, rate: float) -> Phase:
    """The same requests, with as many wrong or right ones left out as makes the rate, to one row."""
    wrong, right = int(played.wrong.sum()), int((~played.wrong).sum())
    kept_right = round(min(right, wrong * (1 - rate) / rate))
    kept_wrong = round(kept_right * rate / (1 - rate))
    marks = np.arange(kept_right + kept_wrong) < kept_wrong
    return Phase(marks, played.evidence, played.by_local)


def plays(populations: dict[str, Recording], runs: int, seed: int) -> Iterator[Played]:
    """Every case: the rate at the promise and staying there, the labels flipped in part, the jump of the design."""
    plan = Plan(share=0.01, runs=runs, alpha=ALPHA, labels_to_false_alarm=LABELS_TO_FALSE_ALARM, seed=seed)
    for name, recording in populations.items():
        for kind in ("error", "false_positive_rate"):
            before = phase(recording, kind)
            yield Played(name, kind, "stays at the promise", runs, simulate(before.rate, before, None, plan))
            flipped = phase(recording, kind, flipped=0.1)
            if flipped.rate > 1.1 * before.rate:
                promise = 1.1 * before.rate
                yield Played(name, kind, "10 % of the labels flip", runs, simulate(promise, before, flipped, plan))
    name, low, high, promise = JUMP
    if name in populations:
        rates = [at_rate(phase(populations[name], "error"), rate) for rate in (low, high)]
        yield Played(name, "error", "the jump of the design", runs, simulate(promise, rates[0], rates[1], plan))


def as_markdown(played: list[Played]) -> str:
    """The table of the page."""
    lines = [
        "| recorded case | promise about | what happens | promise | before | after | streams | interval ever misses in "
        "| false alarms per 10,000 labels | labels until it is noticed, median / 90 % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in played:
        made, spread = one.made, one.made.labels_to_notice
        after = "-" if made.error_after is None else f"{made.error_after:.1%}"
        noticed = "-" if spread is None else f"{_count(spread.median)} / {_count(spread.p90)}"
        lines.append(
            f"| {one.case} | {one.kind.replace('_', ' ')} | {one.what} | {made.promise:.1%} | {made.error_before:.1%} "
            f"| {after} | {one.runs:,} | {made.interval_missed_share:.1%} | {made.false_alarms_per_10000_labels:.2f} "
            f"| {noticed} |"
        )
    return "\n".join(lines)


def _count(labels: float | None) -> str:
    return "never" if labels is None else f"{labels:,.0f}"


def climbed(populations: dict[str, Recording], runs: int, seed: int, console: Console) -> list[Climbed]:
    """Fixed thresholds and the ladder on `runs` streams in all; nothing where the case is not there."""
    if audit_ladder.CASE not in populations:
        return []
    each = -(-runs // audit_ladder.LADDERS)
    made = climbs(populations[audit_ladder.CASE], each, seed)
    both = list(track(made, "climbing", total=audit_ladder.LADDERS, console=console))
    return [together(list(way)) for way in zip(*both, strict=True)]


def main() -> int:
    """Play every case, print and write the results. Returns 1 where a promise is broken."""
    arguments = _arguments()
    populations = {case.name: load_case(case, arguments.data) for case in present(arguments.data)}
    if not populations:
        sys.exit(f"no recorded predictions in {arguments.data}: name their folder with --data")
    console, runs, seed = Console(stderr=True), arguments.runs, arguments.seed
    played = list(track(plays(populations, runs, seed), "playing", console=console))
    heeded = [heard(*case, runs, seed) for case in track(populations.items(), "complaining", console=console)]
    ways = climbed(populations, arguments.ladder_runs, seed, console)
    raised = raises(arguments.share_runs, seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "streams": [asdict(one) for one in played],
        "feedback": [asdict(one) for one in heeded],
        "ladder": [asdict(way) for way in ways],
        "alarm_share": asdict(raised),
    }
    arguments.out.write_text(json.dumps(made, indent=2) + "\n")
    fill(arguments.page, as_markdown(played), "audit-trust")
    fill(arguments.page, audit_feedback.as_markdown(heeded), "audit-feedback")
    fill(arguments.ladder_page, audit_ladder.as_markdown(ways), "audit-ladder")
    fill(arguments.versions_page, audit_share.as_markdown(raised), "audit-share")
    return _told(played, heeded, ways, raised)


def _told(played: list[Played], heeded: list[Heard], ways: list[Climbed], raised: Raised) -> int:
    broken = [f"{one.case}, {one.what}: {fault}" for one in played for fault in one.faults()]
    broken += [f"{one.case}: {fault}" for one in heeded for fault in one.faults()]
    broken += [f"{way.thresholds}: {fault}" for way in ways for fault in way.faults()]
    broken += [f"a share that rises after alarms: {fault}" for fault in raised.faults()]
    counts = (sum(one.runs for one in played), sum(one.streams for one in heeded), sum(way.streams for way in ways[:1]))
    streams = sum(counts) + raised.streams
    for line in broken or [f"{streams:,} streams: every promise is kept"]:
        Console(soft_wrap=True).print(line)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the recorded predictions")
    parser.add_argument("--runs", type=int, default=2000, help="streams of each case")
    parser.add_argument("--ladder-runs", type=int, default=600, help="streams with the ladder")
    parser.add_argument("--share-runs", type=int, default=200, help="streams with a share that rises after alarms")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "audit-trust.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose tables about the audit are filled")
    parser.add_argument(
        "--ladder-page", type=Path, default=LADDER_PAGE, help="page whose table of the ladder is filled"
    )
    parser.add_argument("--versions-page", type=Path, default=VERSIONS_PAGE, help="page with that about the share")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
