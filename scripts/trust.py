"""`make trust`: check the promise of a calibrated threshold on many samples of the recorded predictions.

The whole recording is the population. The first threshold comes from one half of a sample, the second from the other
half, and their rates are measured on the population. Samples are drawn with replacement, because future events come
from an endless population. Without replacement a sample would resemble the recording more than future events do, and
the promise would be kept too easily.

The learned score is tried as well, as badly as it can be: fitted on a third of each sample, and used whether or not it
earns its place. Its thresholds come from the other two thirds.

`exceeded` is the share of samples whose second threshold breaks a target. It must not be above delta by more than the
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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from bisupervised.agents.supervision.calibration import Feasible
from bisupervised.agents.supervision.choosing.heads import apply_deferral, fit_deferral
from bisupervised.agents.supervision.evaluation import evaluate
from bisupervised.agents.supervision.procedure import First, Method, Second, first_threshold, second_threshold
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.agents.supervision.supervisor import Supervisor
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scripts.recorded_cases import Recorded, recorded_cases

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "bisupervised"
PAGE = ROOT / "docs" / "thresholds.md"
DELTA = 0.1
SAMPLES = (500, 2000)
RATES = (0.01, 0.05)
#: target errors, as shares of the error without any rejection
ERRORS = (0.95, 0.85)
#: false-positive rate that is promised besides an error
BESIDES = 0.2
#: labels of a sample with a learned score, and its target rate
LEARNED_LABELS, LEARNED_RATE = 2000, 0.05
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
    exceeded: float  #: share of samples whose threshold breaks a target in the population
    infeasible: float  #: share of samples without a threshold
    also: float | None = None  #: the false-positive rate that is promised besides an error
    learned: bool = False  #: a learned score judges the local answers; a third of the labels is for each step

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, as far as so many samples can tell. The paper's rule makes no promise."""
        chance = math.sqrt(self.delta * (1 - self.delta) / self.splits)
        return self.method == "paper" or self.exceeded <= self.delta + SIGMAS * chance

    @property
    def how(self) -> str:
        """The method, for people."""
        return f"{self.method}, learned score" if self.learned else self.method

    @property
    def targets(self) -> str:
        """What is promised, for people."""
        return f"{self.target:g}" if self.also is None else f"{self.target:g} and {self.also:g}"


def trial(case: str, population: Recording, second: Second, n: int, splits: int, seed: int) -> Trial:
    """Calibrate on `splits` samples of `n` inputs, and evaluate each result on the population."""
    draws = np.random.default_rng(seed)
    outcomes = []
    for _ in range(splits):
        sample = population[draws.choice(len(population), n, replace=True)]
        outcomes.append(outcome(sample[: n // 2], sample[n // 2 :], population, second))
    return _trial(case, second, n, outcomes)


def learned_trials(case: Recorded, wanted: list[Second], n: int, splits: int, seed: int) -> list[Trial]:
    """The same with a learned score, which is fitted anew on each sample: no gate asks whether it is any good."""
    draws = np.random.default_rng(seed)
    outcomes: list[list[Outcome]] = [[] for _ in wanted]
    for _ in range(splits):
        rows = draws.choice(len(case.recording), n, replace=True)
        fit, others = rows[: n // 3], rows[n // 3 :]
        model = fit_deferral(case.recording[fit], case.evidence[fit], seed)
        population = scored(case.recording, apply_deferral(model, case.evidence))
        pilot, certify = population[others[: len(others) // 2]], population[others[len(others) // 2 :]]
        for found, second in zip(outcomes, wanted, strict=True):
            found.append(outcome(pilot, certify, population, second))
    return [_trial(case.name, second, n, found, learned=True) for found, second in zip(outcomes, wanted, strict=True)]


Outcome = Literal["kept", "exceeded", "infeasible"]


def outcome(pilot: Recording, certify: Recording, population: Recording, second: Second) -> Outcome:
    """What both thresholds of one sample do in the population."""
    local = first_threshold(pilot, First("remote_fraction", 0.5))
    found = second_threshold(pilot, certify, local, second)
    if not isinstance(found, Feasible):
        return "infeasible"
    rates = evaluate(population, Supervisor("", local), Supervisor("", found.threshold)).rates()
    promised = {second.kind: second.target}
    if second.false_positive_rate is not None:
        promised["false_positive_rate"] = second.false_positive_rate
    broken = any((rate := rates[kind]) is not None and rate > target for kind, target in promised.items())
    return "exceeded" if broken else "kept"


def _trial(case: str, second: Second, n: int, found: list[Outcome], *, learned: bool = False) -> Trial:
    shares = (found.count("exceeded") / len(found), found.count("infeasible") / len(found))
    also = second.false_positive_rate
    return Trial(case, second.method, second.target, second.delta, n, len(found), *shares, also, learned)


def scored(recording: Recording, scores: NDArray[np.float64]) -> Recording:
    """The recording with another local score."""
    return Recording(Side(scores, recording.local.correct), recording.remote)


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
    # both: an error that rejects something, and a rate that leaves room for it
    yield Second("ltt", round((unsupervised.error or 0.0) * ERRORS[0], 3), DELTA, BESIDES)


def learned_plans(population: Recording) -> list[Second]:
    """What is promised where a learned score judges."""
    errors = [plan for plan in plans(population) if plan.method == "ltt"]
    return [Second("clopper-pearson", LEARNED_RATE, DELTA), errors[0], errors[-1]]


def as_markdown(trials: list[Trial]) -> str:
    """The table of the page."""
    lines = [
        "| recorded case | method | target | labelled inputs | samples | target exceeded in | no threshold in |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.case} | {t.how} | {t.targets} | {t.n_calibration:,} | {t.splits:,} "
        f"| {t.exceeded:.1%} | {t.infeasible:.1%} |"
        for t in trials
    ]
    return "\n".join(lines)


def fill(page: Path, table: str, name: str = "trust") -> None:
    """Put the table between the page's two marks of this name."""
    text = page.read_text()
    filled, found = re.subn(
        rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", lambda m: m[1] + table + m[2], text, flags=re.DOTALL
    )
    if not found:
        sys.exit(f"{page} has no place for the table: <!-- {name} --> and <!-- end of {name} -->")
    page.write_text(filled)


def main() -> int:
    """Run every trial, print and write the results. Returns 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the recorded predictions")
    parser.add_argument("--splits", type=int, default=2000, help="samples of each trial")
    parser.add_argument("--learned", type=int, default=2000, help="samples of each trial with a learned score")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "trust.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose table is filled")
    arguments = parser.parse_args()
    cases = recorded_cases(arguments.data)
    populations = {case.name: case.recording for case in cases}
    plain = [(name, all_, plan, n) for name, all_ in populations.items() for plan in plans(all_) for n in SAMPLES]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        begun = [pool.submit(trial, *item, arguments.splits, arguments.seed) for item in plain]
        begun_learned = [
            pool.submit(
                learned_trials, case, learned_plans(case.recording), LEARNED_LABELS, arguments.learned, arguments.seed
            )
            for case in cases
        ]
        screen = Console(stderr=True)
        trials = [one.result() for one in track(begun, "calibrating", console=screen)]
        trials += [
            one for each in track(begun_learned, "with a learned score", console=screen) for one in each.result()
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
        numbers = (trial.targets, f"{trial.n_calibration:,}", f"{trial.exceeded:.1%}", f"{trial.infeasible:.1%}")
        table.add_row(trial.case, trial.how, *numbers, kept)
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
