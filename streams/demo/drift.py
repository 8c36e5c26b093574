"""Handwritten digits that get worse half way, and well again: the data of the drift example, and who labels them.

Nothing in a stream says that its pictures got worse. Both models answer them as ever, and most scores stay high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...agents.auditing.ladder import Ladder, Terms, pairs_of
from ...agents.auditing.rungs import AtRungs, Seen, at_rungs
from ...agents.supervision.calibration import Feasible
from ...agents.supervision.choosing.ladder import ladder
from ...agents.supervision.procedure import First, Second, first_threshold, second_threshold
from ...agents.supervision.recording import Recording, Side
from .digits import Digits, ModelFiles, predict_both
from .errors import DemoError

#: error among the trusted answers that is promised, and the probability that the calibration fails to keep it
PROMISE, DELTA = 0.08, 0.1
#: share of the requests that the first threshold defers at the start
_DEFERRED = 0.2
#: labelled pictures that the thresholds are made from: each held-out digit several times, under noise of its own
_LABELLED = 4_000
_SIDE = 8


@dataclass(frozen=True, slots=True)
class Phase:
    """What pictures are like for a while."""

    name: str
    requests: int
    noise: float  #: standard deviation of the grey levels' noise, of 1
    shifted: float  #: share of the pictures that are a pixel off, 0..1

    def pictures(self, part: Digits, rng: np.random.Generator) -> Digits:
        """As many digits of a part as the phase has requests."""
        return worsened(part, self.requests, self.noise, self.shifted, rng)


PHASES = (
    Phase("as calibrated", 5_000, 0.05, 0.0),
    Phase("a little worse", 5_000, 0.22, 0.0),
    Phase("much worse", 5_000, 0.26, 0.06),
    Phase("well again", 9_000, 0.05, 0.0),
)


def worsened(part: Digits, count: int, noise: float, shifted: float, rng: np.random.Generator) -> Digits:
    """Digits drawn from a part with replacement, under noise, some of them a pixel off."""
    rows = rng.integers(len(part), size=count)
    images = part.inputs[rows].reshape(count, _SIDE, _SIDE)
    off = np.flatnonzero(rng.random(count) < shifted)
    ways = rng.integers(4, size=len(off))
    for way, (step, axis) in enumerate(((1, 1), (-1, 1), (1, 2), (-1, 2))):
        chosen = off[ways == way]
        images[chosen] = np.roll(images[chosen], step, axis=axis)
    seen = np.clip(images + rng.normal(0.0, noise, images.shape), 0.0, 1.0)
    return Digits(seen.reshape(count, -1).astype(np.float32), part.labels[rows])


@dataclass(frozen=True, slots=True)
class Course:
    """All requests in their order, and what both models say about them."""

    answers: Recording
    phase: NDArray[np.intp]  #: (n,), which phase each is of

    def __len__(self) -> int:
        return len(self.phase)


def course(models: ModelFiles, part: Digits, phases: tuple[Phase, ...], seed: int) -> Course:
    """The requests of all phases."""
    rng = np.random.default_rng(seed)
    parts = [predict_both(models, phase.pictures(part, rng)) for phase in phases]
    sides = (_joined([one.local for one in parts]), _joined([one.remote for one in parts]))
    return Course(Recording(*sides), np.repeat(np.arange(len(phases)), [phase.requests for phase in phases]))


def _joined(sides: list[Side]) -> Side:
    return Side(np.concatenate([side.scores for side in sides]), np.concatenate([side.correct for side in sides]))


def calibrated(models: ModelFiles, part: Digits, seed: int) -> tuple[Ladder, int]:
    """The ladder, and the certified rung where it begins. Raises `DemoError` where nothing can be certified."""
    rng = np.random.default_rng([seed, 1])
    answers = predict_both(models, worsened(part, _LABELLED, PHASES[0].noise, PHASES[0].shifted, rng))
    pilot, fresh = answers[: _LABELLED // 2], answers[_LABELLED // 2 :]
    local = first_threshold(pilot, First("remote_fraction", _DEFERRED))
    found = second_threshold(pilot, fresh, local, Second("ltt", PROMISE, DELTA))
    if not isinstance(found, Feasible):
        raise DemoError(f"these digits certify no second threshold: {found.reason}")
    rungs = ladder(pilot, fresh, (local, found.threshold))
    start = next(number for number, rung in enumerate(rungs) if rung.certified)
    return Ladder(pairs_of(rungs), PROMISE, Terms(delta=DELTA)), start


def seen_at(made: Ladder, answers: Recording) -> AtRungs:
    """What every request says at every rung, (requests, rungs)."""
    wrong = [(~side.correct).astype(np.float64) for side in (answers.local, answers.remote)]
    return at_rungs(made.rungs, Seen(answers.local.scores, answers.remote.scores, *wrong))


def taken_in_at(drawn: NDArray[np.intp], wrong: NDArray[np.bool_], delay: int) -> NDArray[np.intp]:
    """When the audit takes in each drawn request: after so many requests, by which it and all before it are labelled.

    `wrong`, (drawn,): its answer is wrong, and the labeller takes three times as long.
    """
    return np.asarray(np.maximum.accumulate(drawn + np.where(wrong, 3 * delay, delay)))
