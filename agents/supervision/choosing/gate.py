"""Whether the learned score earns its place: only where it beats the best free score by more than chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..learned.deferral import DeferralModel
from ..recording import Recording
from .area import Area, gains_over
from .evidence import Evidence
from .heads import fit_deferral, out_of_fold

Floats = NDArray[np.float64]

#: the quantile of the bootstrapped gain that must be above 0
QUANTILE = 0.05
#: labels to learn from, at least: from fewer, one that passes by chance may lose several hundredths of the area
FEWEST = 1000


@dataclass(frozen=True, slots=True)
class LearnedChoice:
    """A decision and why."""

    kept: bool  #: whether the learned score is used
    reason: str  #: one line for people
    gain: float | None = None  #: of its area over that of the best free score, out of fold; None where it is not fitted
    gain_lower: float | None = None  #: the lower quantile of the bootstrapped gain
    model: DeferralModel | None = None  #: where it is kept
    scores: Floats | None = None  #: (n,), out of fold, where it is kept

    @property
    def tried(self) -> bool:
        """Whether there was something to fit it on."""
        return self.gain is not None

    def as_json(self) -> dict[str, Any]:
        """What reports hold of it."""
        return {"kept": self.kept, "gain": self.gain, "gain_lower": self.gain_lower, "reason": self.reason}


def too_few(labels: int) -> str:
    """Why nothing is learned from so many labels."""
    return f"no learned score: there are {labels:,} labels to learn from, and it takes {FEWEST:,}"


def judge_learned(recording: Recording, evidence: Evidence, best: Floats, name: str, seed: int) -> LearnedChoice:
    """Fit the learned score on these inputs, and keep it where it beats the best free score (n,) of this name.

    Where the model puts out features besides, they are used only where it is better with them than without. Both trials
    together keep something by chance as seldom as one.
    """
    if len(recording) < FEWEST:
        return LearnedChoice(kept=False, reason=too_few(len(recording)))
    if evidence.features is None:
        return _Trial(recording, best, name, seed).of(evidence, "the learned score")
    trial = _Trial(recording, best, name, seed, QUANTILE / 2)  # two are tried
    plain = trial.of(evidence.without_features, "the learned score")
    if not plain.tried:
        return plain
    if plain.scores is not None:  # then it is the one to beat
        trial = replace(trial, best=plain.scores, name="the learned score without them")
    featured = trial.of(evidence, f"the learned score with {evidence.features.shape[1]:,} features")
    return _better_of(plain, featured)


def _better_of(plain: LearnedChoice, featured: LearnedChoice) -> LearnedChoice:
    """The one with features where it is kept. Its gain is told over the best free score, too."""
    if not featured.kept:
        return replace(plain, reason=f"{plain.reason}; {featured.reason}")
    if not plain.kept:
        return featured
    gains = [(each.gain or 0.0, each.gain_lower or 0.0) for each in (plain, featured)]
    gain, lower = (sum(part) for part in zip(*gains, strict=True))
    return replace(featured, gain=gain, gain_lower=lower)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Against which score a learned one is tried, and on which inputs."""

    recording: Recording
    best: Floats  #: (n,), the score to beat
    name: str  #: of that score
    seed: int
    quantile: float = QUANTILE  #: of the bootstrapped gain, which must be above 0

    def of(self, evidence: Evidence, what: str) -> LearnedChoice:
        """Fit it on this evidence, and keep it where it is better by more than chance."""
        recording, seed = self.recording, self.seed
        try:
            scores = out_of_fold(recording, evidence, seed)
        except ValueError as error:
            return LearnedChoice(kept=False, reason=f"no learned score: {error}")
        area = Area.of(recording)
        gain = area(scores) - area(self.best)
        lower = float(np.quantile(gains_over(recording, self.best, {"": scores}, seed)[""], self.quantile))
        measured = f"out of fold on {len(recording):,} labels (lower bound {lower:+.3f})"
        told = f"a gain in area of {gain:+.3f} over {self.name}, {measured}"
        if lower <= 0.0:
            return LearnedChoice(False, f"{what} is left out: {told}, may be chance", gain, lower)
        model = fit_deferral(recording, evidence, seed)
        return LearnedChoice(True, f"{what} is used: {told}", gain, lower, model, scores)
