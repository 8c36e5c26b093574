"""Scores of class outputs: one number per row of logits or probabilities (n, classes), each in 0..1.

A row that holds NaN, or an infinite logit at its top, has no score: it gives NaN and spoils no other row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: how far a value may stray from 0..1 and still be a probability: float16 sums stray by about this much
PROBABILITY_SLACK = 1e-3
#: how far a row of probabilities may stray from a sum of 1: what rounding them to a few digits costs
SUM_SLACK = 0.02
#: most classes that `likeliest` looks at one by one: beyond it numpy is the faster way
_FEW = 64


def max_softmax(outputs: NDArray[Any], *, logits: bool) -> NDArray[np.float64]:
    """The probability of the most likely class, (n,) in 0..1.

    Source: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples,
    ICLR 2017. Raises `ValueError` as `class_outputs` and `_probabilities` do.
    """
    if not logits:
        return np.asarray(_probabilities(outputs).max(axis=1), dtype=np.float64)
    return np.asarray(1.0 / np.exp(shifted(outputs)).sum(axis=1), dtype=np.float64)


def likeliest(row: Sequence[float]) -> tuple[int, float] | None:
    """`predictions` and `max_softmax` of one row of probabilities, the same to the bit; None where they must tell.

    numpy takes twenty times as long for a few numbers. The score is the highest of them as it stands, where there is
    no doubt that they are probabilities: none strays from 0..1, and their sum, however it is rounded, is near 1.
    """
    if not 2 <= len(row) <= _FEW:
        return None
    highest = max(row)
    if min(row) < 0.0 or highest > 1.0 or not abs(math.fsum(row) - 1.0) < SUM_SLACK / 2:  # NaN fails the last
        return None
    return row.index(highest), float(highest)


def label_softmax(probabilities: NDArray[Any], answered: NDArray[np.intp]) -> NDArray[np.float64]:
    """The probability of the label that was answered, (n,) in 0..1. What a row lacks of 1 went to no label: doubt.

    `probabilities` has the shape (n, labels), `answered` an index a row. It is `max_softmax` of a language model: its
    classes are the labels, their probabilities those of the tokens that begin them. Raises `ValueError` for what is no
    probability.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    if ((table < -PROBABILITY_SLACK) | (table > 1.0 + PROBABILITY_SLACK)).any():
        raise ValueError("probabilities must lie in 0..1")
    return np.asarray(np.clip(table[np.arange(len(table)), answered], 0.0, 1.0))


def softmax_of_label(row: Sequence[float], answered: int) -> float:
    """`label_softmax` of one row, without an array: the same to the bit. Raises as it does."""
    if any(each < -PROBABILITY_SLACK or each > 1.0 + PROBABILITY_SLACK for each in row):
        raise ValueError("probabilities must lie in 0..1")
    return min(max(row[answered], 0.0), 1.0)


def pcs(outputs: NDArray[Any], *, logits: bool) -> NDArray[np.float64]:
    """The prediction-confidence score, (n,) in 0..1: how far the most likely class leads the second.

    Source: Zhang et al., Towards Characterizing Adversarial Defects of Deep Learning Software from the Lens
    of Uncertainty, ICSE 2020. Raises `ValueError` as `class_outputs` and `_probabilities` do.
    """
    table = shifted(outputs) if logits else _probabilities(outputs)
    second, highest = np.partition(table, (-2, -1), axis=1)[:, -2:].T  # NaN is sorted last, and stays NaN
    if not logits:
        return np.asarray(highest - second, dtype=np.float64)
    # the highest is 0 here; expm1 keeps what 1 - exp would round away where the two are close
    return np.asarray(-np.expm1(second) / np.exp(table).sum(axis=1), dtype=np.float64)


def softmax_entropy(outputs: NDArray[Any], *, logits: bool) -> NDArray[np.float64]:
    """The entropy of the softmax, turned round and scaled, (n,) in 0..1: `1 - H / ln(classes)`.

    H = -Σ p·ln(p). 1 where one class has all the probability, 0 where all classes are equal: higher is more
    trustworthy. Source: Weiss and Tonella, Fail-Safe Execution of Deep Learning based Systems through
    Uncertainty Monitoring, ICST 2021. Raises `ValueError` as `class_outputs` and `_probabilities` do.
    """
    table = shifted(outputs) if logits else _probabilities(outputs)
    weights = np.exp(table) if logits else table
    with np.errstate(divide="ignore", invalid="ignore"):  # 0·ln(0) is 0 in an entropy, set where it is summed
        logarithms = table if logits else np.log(table)
        products = np.where(weights == 0.0, 0.0, weights * logarithms)
    total = weights.sum(axis=1)
    entropy = np.log(total) - products.sum(axis=1) / total
    return np.asarray(np.clip(1.0 - entropy / np.log(table.shape[1]), 0.0, 1.0), dtype=np.float64)


def probabilities(outputs: NDArray[Any], *, logits: bool) -> NDArray[np.float64]:
    """The probability of each class, (n, classes), each row's sum 1 or NaN. Raises `ValueError` as the scores do."""
    weights = np.exp(shifted(outputs)) if logits else _probabilities(outputs)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def predictions(outputs: NDArray[Any]) -> NDArray[np.intp]:
    """The most likely class, an index, per row of `outputs` (n, classes); the first of equals."""
    return np.asarray(class_outputs(outputs).argmax(axis=1), dtype=np.intp)


def class_outputs(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """The outputs as float64 (n, classes).

    Raises `ValueError` for another shape. One class is refused: its softmax is always 1, so everything
    would be trusted.
    """
    table: NDArray[np.float64] = np.asarray(outputs, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"outputs must have the shape (n, classes) with two classes or more, not {table.shape}")
    return table


def shifted(logits: NDArray[Any]) -> NDArray[np.float64]:
    """The logits (n, classes) less the highest of each row, which changes no softmax.

    So the highest is 0 and nothing overflows however extreme they are. A row whose highest is not finite
    has a NaN. Raises `ValueError` as `class_outputs` does.
    """
    table = class_outputs(logits)
    highest = table.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):  # a difference beyond the range is -inf, as good as far
        return np.asarray(table - highest)


def _probabilities(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """The outputs as probabilities, what strays by rounding put back into 0..1.

    Raises `ValueError` for values outside 0..1 and for rows that do not sum to 1. Those are logits, or one
    probability per label: their maximum would pass every threshold.
    """
    table = class_outputs(outputs)
    # written so that NaN passes: a NaN row has no score, it does not fail its neighbours
    if ((table < -PROBABILITY_SLACK) | (table > 1.0 + PROBABILITY_SLACK)).any():
        raise ValueError('probabilities must lie in 0..1; for a model that puts out logits set output = "logits"')
    sums = table.sum(axis=1)
    strays = np.abs(sums - 1.0) > SUM_SLACK
    if strays.any():
        raise ValueError(f"the probabilities of a row must sum to 1, not {sums[strays][0]:.3g}")
    return np.clip(table, 0.0, 1.0)
