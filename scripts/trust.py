"""`make trust`: check the promise of a calibrated threshold on many samples of the recorded predictions.

The whole recording is the population. The first threshold comes from one half of a sample, the second from the other
half, and their rates are measured on the population. Samples are drawn with replacement, because future events come
from an endless population. Without replacement a sample would resemble the recording more than future events do, and
the promise would be kept too easily.

`exceeded` is the share of samples whose second threshold breaks its target. It must not be above delta by more than the
chance of so many samples explains. The paper's rule promises nothing and is listed for comparison.

Writes build/trust.json and the table of docs/thresholds.md. Exits 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bisupervised.agents.supervision.calibration import Feasible
from bisupervised.agents.supervision.evaluation import evaluate
from bisupervised.agents.supervision.procedure import First, Method, Second, first_threshold, second_threshold
from bisupervised.agents.supervision.recording import Recording
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.streams.offline.replicate import load_case, present
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "bisupervised"
PAGE = ROOT / "docs" / "thresholds.md"
DELTA = 0.1
SAMPLES = (500, 2000)
RATES = (0.01, 0.05)
#: target errors, as shares of the error without any rejection
ERRORS = (0.95, 0.85)
#: most standard deviations of chance that `exceeded` may be above delta
SIGMAS = 3.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One method and target, tried on many samples."""

    case: str
    method: Method
    target: float
    delta: float
    n_calibration: int  #: labelled inputs, half of them for each threshold
    splits: int  #: samples drawn
    exceeded: float  #: share of samples whose threshold breaks the target in the population
    infeasible: float  #: share of samples without a threshold

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, as far as so many samples can tell. The paper's rule makes no promise."""
        chance = math.sqrt(self.delta * (1 - self.delta) / self.splits)
        return self.method == "paper" or self.exceeded <= self.delta + SIGMAS * chance


def trial(case: str, population: Recording, second: Second, n: int, splits: int, seed: int) -> Trial:
    """Calibrate on `splits` samples of `n` inputs, and evaluate each result on the population."""
    draws = np.random.default_rng(seed)
    exceeded = infeasible = 0
    for _ in range(splits):
        sample = population[draws.choice(len(population), n, replace=True)]
        pilot, certify = sample[: n // 2], sample[n // 2 :]
        local = first_threshold(pilot, First("remote_fraction", 0.5))
        found = second_threshold(pilot, certify, local, second)
        if not isinstance(found, Feasible):
            infeasible += 1
            continue
        made = evaluate(population, Supervisor("", local), Supervisor("", found.threshold))
        rate = made.rates()[second.kind]
        exceeded += rate is not None and rate > second.target
    return Trial(case, second.method, second.target, second.delta, n, splits, exceeded / splits, infeasible / splits)


def plans(population: Recording) -> Iterator[Second]:
    """Every method with every target."""
    for rate in RATES:
        yield Second("paper", rate, DELTA)
        yield Second("clopper-pearson", rate, DELTA)
    unsupervised = evaluate(
        population, Supervisor("", float(np.median(population.local.scores))), Supervisor("", -np.inf)
    )
    for share in ERRORS:
        yield Second("ltt", round((unsupervised.error or 0.0) * share, 3), DELTA)


def as_markdown(trials: list[Trial]) -> str:
    """The table of the page."""
    lines = [
        "| recorded case | method | target | labelled inputs | samples | target exceeded in | no threshold in |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.case} | {t.method} | {t.target:g} | {t.n_calibration:,} | {t.splits:,} "
        f"| {t.exceeded:.1%} | {t.infeasible:.1%} |"
        for t in trials
    ]
    return "\n".join(lines)


def fill(page: Path, table: str) -> None:
    """Put the table between the page's two marks."""
    text = page.read_text()
    filled, found = re.subn(
        r"(<!-- trust -->\n).*?(\n<!-- end of trust -->)", lambda m: m[1] + table + m[2], text, flags=re.DOTALL
    )
    if not found:
        sys.exit(f"{page} has no place for the table: <!-- trust --> and <!-- end of trust -->")
    page.write_text(filled)


def main() -> int:
    """Run every trial, print and write the results. Returns 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the recorded predictions")
    parser.add_argument("--splits", type=int, default=2000, help="samples of each trial")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "trust.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose table is filled")
    arguments = parser.parse_args()
    populations = {case.name: load_case(case, arguments.data) for case in present(arguments.data)}
    work = [(name, all_, plan, n) for name, all_ in populations.items() for plan in plans(all_) for n in SAMPLES]
    trials = [
        trial(name, all_, plan, n, arguments.splits, arguments.seed)
        for name, all_, plan, n in track(work, "calibrating", console=Console(stderr=True))
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps([asdict(trial) for trial in trials], indent=2) + "\n")
    fill(arguments.page, as_markdown(trials))
    show(trials)
    return 0 if all(trial.kept for trial in trials) else 1


def show(trials: list[Trial]) -> None:
    """Print the table."""
    table = Table(title=f"How often the target is exceeded, delta = {DELTA:g}", title_justify="left")
    for name in ("case", "method", "target", "labelled", "exceeded", "infeasible", ""):
        table.add_column(name)
    for trial in trials:
        kept = "no promise" if trial.method == "paper" else "kept" if trial.kept else "BROKEN"
        numbers = (f"{trial.target:g}", f"{trial.n_calibration:,}", f"{trial.exceeded:.1%}", f"{trial.infeasible:.1%}")
        table.add_row(trial.case, trial.method, *numbers, kept)
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
