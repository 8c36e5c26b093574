"""`make fit-check`: do the chosen score and the learned one keep what the page about thresholds says of them?

Each recorded case study is a population. Many recordings are drawn from it. Each chooses a score, and fits a learned
one, as `bisupervised calibrate` does. What comes of it is measured on all rows that are not in the recording.

    the chosen score is never worse than the recorded one, max-softmax where there are classes, by more than chance
    a learned score that is kept harms in fewer than 10 % of the recordings, and never by .01 or more of the area

Both are checked for recordings of 1,000, of which `calibrate` takes a part to choose with; where all 1,000 choose; and,
of the larger case studies, for recordings of 4,000.
Writes build/fit-check.json and the table of docs/scores.md. Exits 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from bisupervised.agents.supervision.choosing.area import Area, gains_over
from bisupervised.agents.supervision.choosing.choice import ScoreChoice, choose_score
from bisupervised.agents.supervision.choosing.choosing import choose
from bisupervised.agents.supervision.choosing.evidence import candidates
from bisupervised.agents.supervision.choosing.gate import LearnedChoice, judge_learned
from bisupervised.agents.supervision.choosing.heads import apply_deferral
from bisupervised.agents.supervision.procedure import LEARNED_SHARES, PLAIN_SHARES
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scripts.recorded_cases import Recorded, recorded_cases
from scripts.trust import DATA, fill

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scores.md"
#: harmed recordings must be fewer than this share, and lose less than this of the area
MOST_HARMED, MOST_LOST = 0.1, 0.01
#: resamples that say what is chance on the held-out rows, and the share of them that must not all be worse
_RESAMPLES, _CHANCE = 200, 0.99


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one recording, measured on the rows that are not in it."""

    chosen: str  #: the free score
    score_gain: float  #: of its area over that of the recorded score
    worse: bool  #: it is worse, by more than chance
    learned_gain: float | None  #: of the area over that of the free score; None where no learned score was kept


@dataclass(frozen=True, slots=True)
class Checked:
    """One case study, tried many times."""

    case: str
    labels: int  #: of a recording
    choosing: int  #: of these, how many choose the score
    teaching: int  #: and how many teach the learned one, where they are enough
    recordings: int
    scores: dict[str, int]  #: how often each free score was chosen
    score_gain: float  #: mean over all recordings
    worse: int  #: recordings whose score is worse than the recorded one by more than chance
    kept: int  #: recordings that kept a learned score
    learned_gain: float  #: mean over all recordings, 0 where it was not kept
    harmed: int  #: recordings that a kept one harms
    worst: float  #: gain of the worst of them, 0 where there is none

    @property
    def sound(self) -> bool:
        """Whether what is promised holds."""
        return not self.worse and self.harmed < MOST_HARMED * self.recordings and self.worst > -MOST_LOST


def once(case: Recorded, labels: int, seed: int, *, all_choose: bool) -> Tried:
    """Draw a recording, choose, and measure on the rest."""
    order = np.random.default_rng(seed).permutation(len(case.recording))
    drawn, rest = order[:labels], order[labels:]
    recording, evidence = case.recording[drawn], case.evidence[drawn]
    score: ScoreChoice
    learned: LearnedChoice
    if all_choose:
        known = candidates(evidence, case.default, recording.local.scores)
        score = choose_score(recording, known, case.default, seed)
        learned = judge_learned(recording, evidence, known[score.name], score.name, seed)
    else:
        made = choose(recording, evidence, case.default, seed)
        score, learned = made.score, made.learned
    held_out = case.recording[rest]
    scores = candidates(case.evidence[rest], case.default, held_out.local.scores)
    area = Area.of(held_out)
    gain = area(scores[score.name]) - area(scores[case.default])
    worse = gain < 0.0 and _beyond_chance(case, rest, score.name, seed)
    better = None
    if learned.model is not None:
        better = area(apply_deferral(learned.model, case.evidence[rest])) - area(scores[score.name])
    return Tried(score.name, gain, worse, better)


def _beyond_chance(case: Recorded, rest: np.typing.NDArray[np.intp], name: str, seed: int) -> bool:
    held_out = case.recording[rest]
    scores = candidates(case.evidence[rest], case.default, held_out.local.scores)
    gains = gains_over(held_out, scores[case.default], {name: scores[name]}, seed, _RESAMPLES)[name]
    return float(np.quantile(gains, _CHANCE)) < 0.0


def check(case: Recorded, labels: int, all_choose: bool, recordings: int) -> Checked:  # noqa: FBT001  # of a work list
    """Try many recordings of a case study."""
    tries = [once(case, labels, seed, all_choose=all_choose) for seed in range(recordings)]
    kept = [tried.learned_gain for tried in tries if tried.learned_gain is not None]
    chosen = [tried.chosen for tried in tries]
    return Checked(
        case=case.name,
        labels=labels,
        choosing=labels if all_choose else int(labels * PLAIN_SHARES["choose"]),
        teaching=labels if all_choose else int(labels * LEARNED_SHARES["fit"]),
        recordings=recordings,
        scores={name: chosen.count(name) for name in sorted(set(chosen))},
        score_gain=float(np.mean([tried.score_gain for tried in tries])),
        worse=sum(tried.worse for tried in tries),
        kept=len(kept),
        learned_gain=sum(kept) / recordings,
        harmed=sum(gain < 0.0 for gain in kept),
        worst=min([0.0, *kept]),
    )


def as_markdown(checked: list[Checked]) -> str:
    """The table of the page."""
    head = (
        "| recorded case | labels: in all, to choose, to learn | score chosen | its mean gain | worse beyond chance |"
    )
    lines = [f"{head} learned score kept | its mean gain | harms | worst |", "|---|---|---|---|---|---|---|---|---|"]
    for one in checked:
        labels = f"{one.labels:,}, {one.choosing:,}, {one.teaching:,}"
        score = f"{_named(one)} | {one.score_gain:+.3f} | {one.worse}"
        learned = f"{one.kept} of {one.recordings} | {one.learned_gain:+.4f} | {one.harmed} | {one.worst:+.4f}"
        lines.append(f"| {one.case} | {labels} | {score} | {learned} |")
    return "\n".join(lines)


def _named(one: Checked) -> str:
    return ", ".join(f"{name} {count}" for name, count in one.scores.items())


def main() -> int:
    """Check every case study, print and write the results. Returns 1 where what is promised does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the recorded predictions")
    parser.add_argument("--recordings", type=int, default=60, help="recordings of each case")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fit-check.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose table is filled")
    arguments = parser.parse_args()
    work = [
        (case, labels, all_choose)
        for case in recorded_cases(arguments.data)
        for labels, all_choose in ((1000, False), (1000, True), (4000, False))
        if labels < len(case.recording) / 2  # the rest must tell a loss of .01 from chance
    ]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        begun = [pool.submit(check, *item, arguments.recordings) for item in work]
        checked = [one.result() for one in track(begun, "choosing", console=Console(stderr=True))]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps([asdict(one) for one in checked], indent=2) + "\n")
    fill(arguments.page, as_markdown(checked), "fit-check")
    show(checked)
    return 0 if all(one.sound for one in checked) else 1


def show(checked: list[Checked]) -> None:
    """Print the table."""
    table = Table(title="The chosen score and the learned one, on held-out rows", title_justify="left")
    for name in ("case", "labels", "choose", "teach", "score", "gain", "worse", "kept", "gain", "harms", "worst", ""):
        table.add_column(name)
    for one in checked:
        table.add_row(
            one.case,
            f"{one.labels:,}",
            f"{one.choosing:,}",
            f"{one.teaching:,}",
            _named(one),
            f"{one.score_gain:+.3f}",
            str(one.worse),
            f"{one.kept}/{one.recordings}",
            f"{one.learned_gain:+.4f}",
            str(one.harmed),
            f"{one.worst:+.4f}",
            "holds" if one.sound else "BROKEN",
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    sys.exit(main())
