"""Whether a score means what it says: how often answers are right, score by score."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.recording import Side
from .intervals import interval

#: scores that claim to be the probability that the answer is right
PROBABILITIES = frozenset({"max_softmax", "label_softmax", "joint"})
#: answers in a bin at least, and bins at most
_LEAST, _BINS = 20, 30
#: bins whose mean scores lie nearer than this share of the whole range become one
_APART = 0.05


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with neighbouring scores."""

    n: int
    score: float  #: mean
    right: float  #: share of right ones, 0..1
    low: float  #: of the exact 90 % interval of that share
    high: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """One score's bins, in the order of the score."""

    name: str
    bins: tuple[Bin, ...]
    probability: bool  #: whether the score claims to be the probability of a right answer

    @property
    def gap(self) -> float | None:
        """The expected calibration error: the mean distance of the score from the share of right ones.

        Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015. None where
        the score is no probability: there is no distance then.
        """
        if not self.probability:
            return None
        return sum(one.n * abs(one.right - one.score) for one in self.bins) / sum(one.n for one in self.bins)


def reliability(name: str, side: Side) -> Reliability:
    """Bins of equally many answers, and of more where scores lie close. Equal scores share a bin."""
    order = np.argsort(side.scores, kind="stable")
    scores, right = side.scores[order], side.correct[order]
    edges = _edges(scores)
    bins = tuple(_bin(scores[a:b], right[a:b]) for a, b in pairwise(edges))
    claims = name in PROBABILITIES and bool((scores >= 0).all() and (scores <= 1).all())
    return Reliability(name, bins, claims)


def _edges(scores: NDArray[np.float64]) -> list[int]:
    """Where bins of sorted scores begin, and the end of the last."""
    parts = max(1, min(_BINS, len(scores) // _LEAST))
    inner = np.searchsorted(scores, scores[np.arange(1, parts) * len(scores) // parts], side="left")
    edges: list[int] = np.unique([0, *inner, len(scores)]).tolist()
    apart = _APART * (scores[-1] - scores[0])
    made = [0]
    for edge, end in pairwise(edges[1:]):
        if scores[edge:end].mean() - scores[made[-1] : edge].mean() >= apart:
            made.append(edge)
    return [*made, len(scores)]


def _bin(scores: NDArray[np.float64], correct: NDArray[np.bool_]) -> Bin:
    n, right = len(scores), int(correct.sum())
    low, high = map(float, interval(right, n))
    return Bin(n, float(scores.mean()), right / n, low, high)
