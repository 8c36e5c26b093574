"""Whether the learned score earns its place: only where it beats the best free score by more than chance."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Fit the learned score on these inputs, and keep it where it beats the best free score (n,) of this name."""
    if len(recording) < FEWEST:
        return LearnedChoice(kept=False, reason=too_few(len(recording)))
    try:
        scores = out_of_fold(recording, evidence, seed)
    except ValueError as error:
        return LearnedChoice(kept=False, reason=f"no learned score: {error}")
    area = Area.of(recording)
    gain = area(scores) - area(best)
    lower = float(np.quantile(gains_over(recording, best, {"": scores}, seed)[""], QUANTILE))
    measured = f"out of fold on {len(recording):,} labels (lower bound {lower:+.3f})"
    told = f"a gain in area of {gain:+.3f} over {name}, {measured}"
    if lower <= 0.0:
        return LearnedChoice(False, f"the learned score is left out: {told}, may be chance", gain, lower)
    model = fit_deferral(recording, evidence, seed)
    return LearnedChoice(True, f"the learned score is used: {told}", gain, lower, model, scores)
