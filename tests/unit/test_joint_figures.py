"""What the joint supervisor reaches on the paper's recorded predictions, five-fold cross-validated."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bisupervised.agents.supervision.arbitration import cross_validated, estimate_recording, judged
from bisupervised.agents.supervision.joint import fit_joint
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.agents.supervision.worth import arbitration_worth_it, joint_worth_it
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bisupervised"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the paper's recorded predictions are not here")


@dataclass(frozen=True, slots=True)
class Figures:
    """What is at least reached."""

    paper_auc: float  #: of the paper's rule, exact
    auc: float  #: with arbitration
    even: float  #: share of remote calls that is as right as the remote alone, at most
    best: float  #: highest accuracy
    paper_accepted: float  #: accuracy of what is accepted at 50 % remote calls with 40 % of them rejected, exact
    accepted: float  #: the same, by the joint score


FIGURES = {
    "imdb": Figures(0.8009, 0.860, 0.482, 0.911, 0.9211, 0.9268),
    "squadv2 possible": Figures(1.0163, 1.115, 0.345, 0.725, 0.7476, 0.773),
    "squadv2": Figures(0.8401, 0.915, 0.515, 0.321, 0.3445, 0.362),
}


def column(file: str, name: str) -> list[str]:
    with (DATA / file).open(newline="") as lines:
        return [row[name] for row in csv.DictReader(lines)]


def read(case: str) -> Recording:
    return imdb() if case == "imdb" else squad(possible=case == "squadv2 possible")


def imdb() -> Recording:
    sides = []
    for side in ("local", "remote"):
        answers = np.array(column(f"imdb_{side}.csv", "prediction"))
        correct = answers == np.array(column(f"imdb_{side}.csv", "ground_truth"))
        sides.append(Side(np.array(column(f"imdb_{side}.csv", "sm_confidence"), dtype=float), correct, answers))
    return Recording(*sides)


def squad(*, possible: bool) -> Recording:
    sides = []
    for side, score in (("local", "sm_confidence"), ("remote", "gpt3_confidence")):
        file = f"squadv2_{side}.csv"
        correct = np.array(column(file, "exact_match")) == "True"
        sides.append(Side(np.array(column(file, score), dtype=float), correct))
    whole = Recording(*sides)
    return whole[np.array(column("squadv2_local.csv", "is_possible")) == "True"] if possible else whole


def accuracies(recording: Recording) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(101,) each: share of remote calls and accuracy of the system, by the paper's grid."""
    local, n = recording.local.scores, len(recording)
    at = np.minimum((n * np.linspace(0, 1, 101)).astype(int), n - 1)
    deferred = [local < threshold for threshold in np.sort(local)[at]]
    accuracy = [np.where(mask, recording.remote.correct, recording.local.correct).mean() for mask in deferred]
    return np.array([mask.mean() for mask in deferred]), np.array(accuracy)


def auc(recording: Recording, remote_accuracy: float) -> float:
    local = recording.local.accuracy
    return float((accuracies(recording)[1].mean() - local) / (remote_accuracy - local))


def accepted(recording: Recording) -> float:
    """Accuracy of what is accepted with half of the inputs deferred and 40 % of those rejected."""
    deferred = recording.local.scores < np.sort(recording.local.scores)[len(recording) // 2]
    ranked = np.flatnonzero(deferred)[np.argsort(recording.remote.scores[deferred], kind="stable")]
    kept = ranked[int(0.4 * len(ranked)) :]
    right = recording.local.correct[~deferred].sum() + recording.remote.correct[kept].sum()
    return float(right / ((~deferred).sum() + len(kept)))


@pytest.mark.parametrize("case", FIGURES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_figures_are_reached(case: str, seed: int) -> None:
    figures, recording = FIGURES[case], read(case)
    estimates = cross_validated(recording, seed=seed)
    arbitrated = judged(recording, estimates, joint=True, arbitration=True)
    fractions, accuracy = accuracies(arbitrated)
    remote = recording.remote.accuracy
    assert auc(recording, remote) == pytest.approx(figures.paper_auc, abs=5e-5)
    assert auc(arbitrated, remote) >= figures.auc
    assert fractions[np.argmax(accuracy >= remote)] <= figures.even
    assert accuracy.max() >= figures.best
    assert accepted(recording) == pytest.approx(figures.paper_accepted, abs=1e-4)
    assert accepted(judged(recording, estimates, joint=True, arbitration=False)) >= figures.accepted


@pytest.mark.parametrize("case", FIGURES)
def test_both_earn_their_place_on_a_held_out_half(case: str) -> None:
    recording = read(case)
    halves = np.random.default_rng(0).permutation(len(recording)) % 2 == 0
    fresh = recording[halves]
    estimates = estimate_recording(fit_joint(recording[~halves]), fresh)
    arbitrated = judged(fresh, estimates, joint=False, arbitration=True)
    joint = judged(fresh, estimates, joint=True, arbitration=False)
    # the more is deferred, the more arbitration has to gain: where the local model doubts, it is seldom the likelier
    assert arbitration_worth_it(fresh, arbitrated, float(np.quantile(fresh.local.scores, 0.9))).kept
    half = float(np.median(fresh.local.scores))
    reject = float(np.quantile(fresh.remote.scores[fresh.local.scores < half], 0.4))
    assert joint_worth_it(fresh, joint, half, reject).kept


def test_with_half_deferred_arbitration_gains_nothing_on_squadv2_and_says_so() -> None:
    recording = read("squadv2")
    arbitrated = judged(recording, cross_validated(recording), joint=False, arbitration=True)
    worth = arbitration_worth_it(recording, arbitrated, float(np.median(recording.local.scores)))
    assert not worth.kept
    assert worth.won < 20
