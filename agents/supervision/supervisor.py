"""The one comparison with a threshold, for one answer in the stream and for arrays of them offline."""

from __future__ import annotations

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
        return score is not None and score >= self.threshold  # which NaN is not

    def trusted(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """The same over an array (n,) of scores; NaN stands for a missing one."""
        return np.asarray(scores, dtype=np.float64) >= self.threshold
