"""Temperature scaling: dividing logits by one number, so that their softmax says how often it is right.

Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017. It changes no
prediction. Where a threshold is calibrated on the same scores, it changes the number of the threshold; where a
threshold is meant as a probability, it makes it one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .class_scores import predictions, shifted

#: temperatures that are considered
LOWEST, HIGHEST = 1e-3, 1e3
#: how near a fitted ln(T) may come to their ends and still be an optimum
_NEAR = 1e-3


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

    It minimises the mean negative log-likelihood, which is convex in 1/T: one minimum, or none between the ends.
    Raises `ValueError`, naming what to do, for no rows, labels that are no indices of a class or do not pair up
    with the rows, one class only, logits that are not finite, and where there is no minimum: every label is
    the model's prediction, or the logits tell nothing about the labels.
    """
    from scipy.optimize import minimize_scalar  # here, for it takes a while: a worker fits nothing

    differences, indices = _checked(np.asarray(logits, dtype=np.float64), np.asarray(labels))
    rows = np.arange(len(indices))

    def loss(log_temperature: float) -> float:
        with np.errstate(over="ignore"):  # below the range is -inf, as good as far
            table = differences * math.exp(-log_temperature)
        return float((np.log(np.exp(table).sum(axis=1)) - table[rows, indices]).mean())

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x)
    if not (math.isfinite(loss(found)) and bounds[0] + _NEAR < found < bounds[1] - _NEAR):
        raise ValueError(_without_minimum(found))
    return math.exp(found)


def _without_minimum(log_temperature: float) -> str:
    if log_temperature < 0:
        return f"the temperature runs below {LOWEST:g}: the logits separate the labels; take data the model errs on"
    return f"the temperature runs above {HIGHEST:g}: the logits tell nothing about the labels; check that they pair up"


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
    if (indices == predictions(logits)).all():
        raise ValueError("every label is the model's prediction, so none is best; take data the model errs on")
    return differences, indices


def _indices(labels: NDArray[Any], classes: int) -> NDArray[np.intp]:
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be indices of classes, whole numbers, not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, the indices of {classes} classes")
    if (labels == labels[0]).all():
        raise ValueError(f"every label is class {labels[0]}; a temperature needs labels of two classes or more")
    return labels.astype(np.intp)
