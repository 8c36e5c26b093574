"""The one comparison with a threshold, for one answer in the stream and for arrays of them offline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Trusts or does not trust an answer by its score."""

    name: str  #: name of the score it reads, such as max_softmax
    threshold: float  #: a score below this is not trusted

    def trusts(self, score: float | None) -> TypeGuard[float]:
        """Whether the answer with this score may be used. A missing score and NaN never are trusted."""
        return score is not None and not math.isnan(score) and not score < self.threshold

    def trusted(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """The same over an array (n,) of scores; NaN stands for a missing one."""
        known = np.asarray(scores, dtype=np.float64)
        return ~np.isnan(known) & ~(known < self.threshold)
