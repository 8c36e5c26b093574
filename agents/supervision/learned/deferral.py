"""The learned score: how much likelier the local answer is right than the remote one, before the remote is asked.

Two logistic models, for "the local answer is right" and "the remote answer is right", read the same features:

    classes   the highest probability, its lead over the second, 1 − entropy / ln(classes), the logarithms of the three
              highest, the difference of the first two, and the gain of the answered class: how much oftener the remote
              was right than the local model where this class was answered
    tokens    the logarithms of the scores that are named in `scores`
    both      the logarithm of the input's length, where it was recorded, and the model's own features, where it puts
              out some besides: what they add to the log odds of either model is linear in them

The score is P(local right) − P(remote right), −1..1: higher is more trustworthy, as for any score. It is plain numbers,
summed in a fixed order. A threshold on it keeps its promise however bad the score is, provided that the threshold was
made on labels that the score was not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from .logistic import DECIMALS, probability

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

#: name of the score, in the configuration and in records
LEARNED: Final = "learned"
#: a probability below this counts as this: its logarithm would be a feature without a bound
_LOWEST: Final = 1e-7
#: highest probabilities whose logarithms are features
_TOP: Final = 3
#: features of the model itself, at most: a thresholds file holds three numbers for each
MOST_FEATURES: Final = 1024


class FeatureWeights(msgspec.Struct, frozen=True):
    """What the model's own features add to the log odds of either side."""

    means: tuple[float, ...]  #: of the features, on what it was fitted on
    local: tuple[float, ...]  #: for "the local answer is right": per unit of each feature
    remote: tuple[float, ...]  #: for "the remote answer is right"

    def __post_init__(self) -> None:
        if len({len(self.means), len(self.local), len(self.remote)}) != 1 or not 1 <= len(self) <= MOST_FEATURES:
            raise ValueError(f"a learned score reads 1 to {MOST_FEATURES:,} features, with two weights for each")
        if not np.isfinite([*self.means, *self.local, *self.remote]).all():
            raise ValueError("the numbers of a learned score are finite")

    def __len__(self) -> int:
        return len(self.means)

    def log_odds(self, features: Features) -> tuple[Floats, Floats]:
        """(n,) for either side, of features (n, k); NaN where a row holds one that is not finite."""
        apart = features.astype(np.float64) - np.array(self.means)
        apart[~np.isfinite(apart).all(axis=1)] = np.nan
        # summed row by row, as `probability` does term by term: one row and a million give the same bits
        local, remote = ((apart * np.array(weights)).sum(axis=1) for weights in (self.local, self.remote))
        return local, remote


class DeferralModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was fitted. Encodes to JSON and back without losing a bit."""

    reads: Literal["classes", "tokens"]  #: what it needs of the local model
    labels: tuple[str | int | float | bool, ...]  #: of the classes, in the order of their probabilities; () for indices
    gains: tuple[float, ...]  #: of each class, shrunken to the mean; () where it reads no classes
    scores: tuple[str, ...]  #: names of the token scores that it reads; () where it reads classes
    length: bool  #: whether it reads the length of the input
    means: tuple[float, ...]  #: of the features, on what it was fitted on
    scales: tuple[float, ...]  #: their standard deviations
    local_weights: tuple[float, ...]  #: for "the local answer is right": a constant, then one per feature
    remote_weights: tuple[float, ...]  #: for "the remote answer is right"
    fitted_on: int  #: number of inputs
    features: FeatureWeights | None = None  #: of the model's own features; None where it reads none

    def __post_init__(self) -> None:
        features = _count(len(self.gains), len(self.scores), length=self.length)
        if (self.reads == "classes") != (len(self.gains) > 1) or (self.reads == "tokens") != bool(self.scores):
            raise ValueError("a learned score reads two classes or more, or token scores by name")
        if self.labels and len(self.labels) != len(self.gains):
            raise ValueError(f"a learned score has a label for each of its {len(self.gains)} classes, or none")
        numbers = (self.means, self.scales, self.local_weights[1:], self.remote_weights[1:])
        if any(len(row) != features for row in numbers):
            raise ValueError(f"a learned score of {features} features has as many means, scales and weights")
        if not np.isfinite([*self.gains, *self.means, *self.scales, *self.local_weights, *self.remote_weights]).all():
            raise ValueError("the numbers of a learned score are finite")
        if min(self.scales) <= 0.0:
            raise ValueError("the scales of a learned score are above 0")

    def of_classes(
        self, probabilities: Floats, lengths: Floats | None = None, features: Features | None = None
    ) -> Floats:
        """The scores (n,) of rows of class probabilities (n, classes); NaN where a row holds NaN.

        `lengths` (n,) and `features` (n, k) are needed where the model reads them. NaN stands for an input without a
        length, which counts as one of mean length; an input with a feature that is not finite has no score. Raises
        `ValueError` for other classes, or another number of features, than the model knows.
        """
        if self.reads != "classes" or probabilities.shape[1] != len(self.gains):
            raise ValueError(f"the learned score reads {self.needs}, not {probabilities.shape[1]} classes")
        gains = np.array(self.gains)[np.where(np.isnan(probabilities), -1.0, probabilities).argmax(axis=1)]
        return self._scores([*class_features(probabilities), gains], lengths, features)

    def of_tokens(
        self, scores: Mapping[str, Floats], lengths: Floats | None = None, features: Features | None = None
    ) -> Floats:
        """The scores (n,) of the token scores (n,) by name; the rest as in `of_classes`. Raises `ValueError` where one
        is missing.
        """
        if missing := [name for name in self.scores if name not in scores] or self.reads != "tokens":
            raise ValueError(f"the learned score reads {self.needs}; missing are {missing}")
        return self._scores(token_features([scores[name] for name in self.scores]), lengths, features)

    @property
    def needs(self) -> str:
        """What it reads, for people."""
        besides = f" and {len(self.features)} features" if self.features else ""
        if self.reads == "tokens":
            return f"the token scores {', '.join(self.scores)}{besides}"
        named = f" ({', '.join(map(str, self.labels))})" if self.labels else ""
        return f"the probabilities of {len(self.gains)} classes{named}{besides}"

    def _scores(self, read: Sequence[Floats], lengths: Floats | None, features: Features | None) -> Floats:
        known = [*read, *([length_feature(lengths, len(read[0]))] if self.length else [])]
        terms = [np.ones_like(known[0])]
        terms += [(x - mean) / scale for x, mean, scale in zip(known, self.means, self.scales, strict=True)]
        if self.length:
            terms[-1] = np.where(np.isnan(terms[-1]), 0.0, terms[-1])  # the mean
        of_local, of_remote = (
            probability(weights, terms, besides)
            for weights, besides in zip((self.local_weights, self.remote_weights), self._of(features), strict=True)
        )
        return np.asarray(np.round(of_local - of_remote, DECIMALS), dtype=np.float64)

    def _of(self, features: Features | None) -> tuple[Floats | None, Floats | None]:
        if self.features is None:
            return None, None
        if features is None or features.shape[1] != len(self.features):
            got = "none" if features is None else features.shape[1]
            raise ValueError(f"the learned score reads {self.needs}, and the model gives {got}")
        return self.features.log_odds(features)


def _count(classes: int, scores: int, *, length: bool) -> int:
    """Features of a model, the constant not counted."""
    return (5 + min(classes, _TOP) if classes else scores) + length


def class_features(probabilities: Floats) -> list[Floats]:
    """The features of rows of probabilities (n, classes), all but the gain of the class, (n,) each."""
    table = np.ascontiguousarray(probabilities, dtype=np.float64)
    top = min(table.shape[1], _TOP)
    highest = np.sort(np.partition(table, -top, axis=1)[:, -top:], axis=1)[:, ::-1]
    logarithms = np.log(np.maximum(highest, _LOWEST))
    entropy = -(table * np.log(np.maximum(table, _LOWEST))).sum(axis=1)
    first = highest[:, 0]
    return [
        first,
        first - highest[:, 1],
        1.0 - entropy / np.log(table.shape[1]),
        *logarithms.T,
        logarithms[:, 0] - logarithms[:, 1],
    ]


def token_features(scores: Sequence[Floats]) -> list[Floats]:
    """The features of token scores, (n,) each in 0..1: their logarithms."""
    return [np.log(np.maximum(np.asarray(score, dtype=np.float64), _LOWEST)) for score in scores]


def length_feature(lengths: Floats | None, n: int) -> Floats:
    """The logarithm of the inputs' lengths (n,); NaN where there is none."""
    return np.full(n, np.nan) if lengths is None else np.log1p(np.asarray(lengths, dtype=np.float64))


#: what counts as one element each
_ELEMENTS: Final = frozenset({int, float, bool, type(None)})


def length_of(value: Any) -> int:  # noqa: ANN401  # any JSON value
    """Characters of a text, elements of an array, and the sum of both in what is made of them."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(length_of, value.values()))
    if not isinstance(value, list | tuple):
        return 1
    # a row of pixels is not looked at one by one
    return len(value) if _ELEMENTS.issuperset(map(type, value)) else sum(map(length_of, value))
