"""Scores: how far an answer can be trusted, from what a model puts out. Pure functions over arrays: a streamed
score and an offline one are the same by construction.

This is the list of them. What they compute stands in `class_scores`, `token_scores` and `sample_scores`, each
for one kind of input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .class_scores import class_outputs, label_softmax, max_softmax, pcs, predictions, softmax_entropy
from .sample_scores import agreement
from .token_scores import token_first, token_mean, token_min, token_product

__all__ = ["SCORES", "Kind", "Score", "class_outputs", "every_score", "fitting", "max_softmax", "predictions", "usable"]

#: what a score reads:
#:   classes   logits or probabilities of all classes, (n, classes); computed with the keyword `logits`
#:   tokens    log-probabilities of the tokens of n free-text answers, a list each
#:   labels    probabilities of the labels (n, labels), which may lack some of 1, and the index of the label answered
#:   samples   several answers to each of n inputs, a list each
Kind = Literal["classes", "tokens", "labels", "samples"]


@dataclass(frozen=True, slots=True)
class Score:
    """A way to tell how far an answer can be trusted, from what the model puts out."""

    name: str
    input: Kind  #: what it needs of the model
    source: str  #: where it comes from
    compute: Callable[..., NDArray[np.float64]]  #: (n,) scores in 0..1, NaN for none; arguments as `Kind` says
    direction: Literal["higher is more trustworthy"] = "higher is more trustworthy"


def fitting(*kinds: Kind) -> list[str]:
    """The names of the scores that read one of these kinds of input."""
    return sorted(name for name, score in SCORES.items() if score.input in kinds)


def usable(score: Any) -> float | None:  # noqa: ANN401 - whatever a user's model calls a score
    """A score as records carry it: a finite float, or None. JSON has no NaN and no infinity."""
    if score is None:
        return None
    number = float(score)
    return number if math.isfinite(number) else None


_HENDRYCKS = "Hendrycks and Gimpel, A Baseline for Detecting Misclassified Examples, ICLR 2017"
_ZHANG = "Zhang et al., Towards Characterizing Adversarial Defects of Deep Learning Software, ICSE 2020"
_FAIL_SAFE = "Weiss and Tonella, Fail-Safe Execution of Deep Learning based Systems, ICST 2021"
_MALININ = "Malinin and Gales, Uncertainty Estimation in Autoregressive Structured Prediction, ICLR 2021"
_TWO_SUPERVISORS = "Weiss and Tonella, Adopting Two Supervisors, 2023"
_FREEMAN = "Freeman, Elementary Applied Statistics, 1965; Gal and Ghahramani, Dropout as a Bayesian Approximation, 2016"

SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score("max_softmax", "classes", _HENDRYCKS, max_softmax),
        Score("pcs", "classes", _ZHANG, pcs),
        Score("softmax_entropy", "classes", _FAIL_SAFE, softmax_entropy),
        Score("label_softmax", "labels", _HENDRYCKS, label_softmax),
        Score("token_mean", "tokens", _MALININ, token_mean),
        Score("token_min", "tokens", _TWO_SUPERVISORS, token_min),
        Score("token_product", "tokens", _MALININ, token_product),
        Score("token_first", "tokens", _TWO_SUPERVISORS, token_first),
        Score("agreement", "samples", _FREEMAN, agreement),
    )
}


def every_score(kind: Kind, *read: Any, **how: Any) -> list[dict[str, float]]:  # noqa: ANN401  # as the kind says
    """For each input every score that reads this kind, by name; left out where an input has none.

    `read` and `how` are the arguments of `Score.compute`. Raises as the scores do.
    """
    computed = {name: SCORES[name].compute(*read, **how).tolist() for name in fitting(kind)}
    rows = zip(*computed.values(), strict=True)
    return [{name: score for name, score in zip(computed, row, strict=True) if math.isfinite(score)} for row in rows]
