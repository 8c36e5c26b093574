"""Temperature scaling: dividing logits by one number, so that their softmax says how often it is right.

Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017. It changes no
prediction, but it may change which of two inputs has the higher score: thresholds are calibrated after it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .class_scores import shifted

#: temperatures that are considered
LOWEST, HIGHEST = 1e-3, 1e3


def scaled(logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """The logits (n, classes) divided by `temperature`, less the highest of each row, which changes no softmax.

    Raises `ValueError` for another shape, and for a temperature that is not positive and finite.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"a temperature must be positive and finite, not {temperature}")
    with np.errstate(over="ignore"):  # below the range is -inf, as good as far
        return shifted(logits) / temperature


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature at which logits (n, classes) make the labels (n,), class indices, most likely.

    It minimises the mean negative log-likelihood. That is convex in 1/T, so it has one minimum, where its
    derivative is 0, or none between the ends. Raises `ValueError`, saying what to do, for no rows, labels that
    are no indices of a class or do not pair up with the rows, labels of one class only, rows with NaN, and where
    there is no minimum: every label is what the model predicts, or the logits tell nothing about the labels.
    """
    from scipy.optimize import brentq  # here, for it takes a while: a worker fits nothing

    differences, indices = _checked(np.asarray(logits, dtype=np.float64), np.asarray(labels))
    labelled = differences[np.arange(len(indices)), indices]

    def slope(log_temperature: float) -> float:
        with np.errstate(over="ignore"):  # beyond the range is infinite, as good as far
            return float((_expected(differences, math.exp(log_temperature)) - labelled).mean())

    lowest, highest = math.log(LOWEST), math.log(HIGHEST)
    if slope(lowest) <= 0.0:
        raise ValueError(f"the temperature runs below {LOWEST:g}: no label is unlikely; take data the model errs on")
    if slope(highest) >= 0.0:
        raise ValueError(
            f"the temperature runs above {HIGHEST:g}: the logits tell nothing about the labels; check that they pair up"
        )
    return math.exp(brentq(slope, lowest, highest, xtol=1e-12))


def _expected(differences: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """What the softmax at this temperature expects of each row's logits, (n,)."""
    weights = np.exp(differences / temperature)
    products = weights * np.where(weights == 0.0, 0.0, differences)  # 0·-inf is 0 here
    return np.asarray(products.sum(axis=1) / weights.sum(axis=1), dtype=np.float64)


def _checked(logits: NDArray[np.float64], labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The logits less the highest of each row, and the labels as indices."""
    if labels.ndim != 1 or len(labels) != len(np.atleast_1d(logits)):
        raise ValueError(f"logits of the shape {logits.shape} do not pair up with labels of the shape {labels.shape}")
    if not len(labels):
        raise ValueError("there are no labelled logits to fit a temperature to")
    differences = shifted(logits)
    indices = _indices(labels, logits.shape[1])
    # another class may have -inf, which is how classes are masked
    if np.isnan(differences).any() or not np.isfinite(differences[np.arange(len(indices)), indices]).all():
        raise ValueError("a row has NaN, or no finite logit for its label; leave it out on purpose")
    return differences, indices


def _indices(labels: NDArray[Any], classes: int) -> NDArray[np.intp]:
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be indices of classes, whole numbers, not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, the indices of {classes} classes")
    if (labels == labels[0]).all():
        raise ValueError(f"every label is class {labels[0]}; a temperature needs labels of two classes or more")
    return labels.astype(np.intp)
