"""Handwritten digits that get worse half way, and well again; and the ladder of thresholds made before they do.

Nothing in a stream says that its pictures got worse. Both models answer them as ever, and most scores stay high.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ....agents.supervision.calibration import Feasible
from ....agents.supervision.choosing.ladder import ladder
from ....agents.supervision.evaluation import evaluate
from ....agents.supervision.procedure import First, Second, first_threshold, second_threshold
from ....agents.supervision.recording import Recording
from ....agents.supervision.supervisor import Supervisor
from ....agents.supervision.thresholds import Line, Part, Target, Thresholds, signed
from ..digits import Digits, ModelFiles, predict_both
from ..errors import DemoError

Floats = NDArray[np.float64]

#: error among the trusted answers that is promised, and the probability that the calibration fails to keep it
PROMISE, DELTA = 0.08, 0.1
#: share of the requests that the first threshold defers at the start
_DEFERRED = 0.2
#: labelled pictures that the thresholds are made from: each held-out digit several times, under noise of its own
_LABELLED = 4_000
#: pictures that tell the true error of a rung
_MANY = 20_000
_SCORE = "max_softmax"
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
    Phase("as calibrated", 2_000, 0.05, 0.0),
    Phase("a little worse", 3_000, 0.22, 0.0),
    Phase("much worse", 3_000, 0.26, 0.06),
    Phase("well again", 3_500, 0.05, 0.0),
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
    """All requests in their order."""

    pictures: Digits
    phase: NDArray[np.intp]  #: (n,), which phase each is of
    names: tuple[str, ...]  #: of the phases

    def __len__(self) -> int:
        return len(self.phase)


def course(part: Digits, phases: tuple[Phase, ...], seed: int) -> Course:
    """The requests of all phases."""
    rng = np.random.default_rng(seed)
    parts = [phase.pictures(part, rng) for phase in phases]
    pictures = Digits(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("inputs", "labels")))
    phase = np.repeat(np.arange(len(phases)), [one.requests for one in phases])
    return Course(pictures, phase, tuple(one.name for one in phases))


def calibrated(models: ModelFiles, part: Digits, phase: Phase, seed: int) -> Thresholds:
    """The thresholds for pictures of this phase, with their ladder.

    Raises `DemoError` where nothing can be certified.
    """
    rng = np.random.default_rng([seed, 1])
    answers = predict_both(models, worsened(part, _LABELLED, phase.noise, phase.shifted, rng))
    pilot, fresh = answers[: _LABELLED // 2], answers[_LABELLED // 2 :]
    local = first_threshold(pilot, First("remote_fraction", _DEFERRED))
    found = second_threshold(pilot, fresh, local, Second("ltt", PROMISE, DELTA))
    if not isinstance(found, Feasible):
        raise DemoError(f"these digits certify no second threshold: {found.reason}")
    pair = (local, found.threshold)
    return signed(
        Thresholds(
            version="calibrated",
            local=Line(local, _SCORE),
            remote=Line(found.threshold, _SCORE),
            first=f"{_DEFERRED:.0%} of the inputs go to the remote",
            method="ltt",
            target=Target("error", PROMISE, DELTA),
            seed=seed,
            parts={"choose": _rates(pilot, pair), "certify": _rates(fresh, pair)},
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            rungs=ladder(pilot, fresh, pair),
        )
    )


def true_errors(models: ModelFiles, part: Digits, phases: tuple[Phase, ...], made: Thresholds, seed: int) -> Floats:
    """(phases, rungs), error among the trusted of each rung in each phase, over many pictures of this part."""
    rng = np.random.default_rng([seed, 2])
    return np.array([_errors(models, worsened(part, _MANY, one.noise, one.shifted, rng), made) for one in phases])


def _errors(models: ModelFiles, pictures: Digits, made: Thresholds) -> list[float]:
    answers = predict_both(models, pictures)
    rungs = [(Supervisor("", rung.local), Supervisor("", rung.remote)) for rung in made.rungs]
    return [evaluate(answers, *rung).error or 0.0 for rung in rungs]


def _rates(part: Recording, pair: tuple[float, float]) -> Part:
    local, remote = (Supervisor("", threshold) for threshold in pair)
    return Part(n=len(part), **evaluate(part, local, remote).rates())
