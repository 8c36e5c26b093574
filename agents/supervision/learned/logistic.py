"""Logistic regression with a ridge penalty: what the joint supervisor and the learned score are fitted by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ridge_logistic(design: Floats, correct: NDArray[np.bool_], ridge: float) -> tuple[float, ...]:
    """The weights of `correct` (n,) on `design` (n, terms), whose first column is the constant.

    They minimise the sum of the log losses, plus half the ridge times the sum of the squared weights without the
    constant's. Raises `ValueError` where the fit does not converge.
    """
    from scipy.optimize import minimize  # here, for it takes a while: a worker fits nothing

    n, terms = design.shape
    penalty = np.full(terms, ridge / n)
    penalty[0] = 0.0
    signs = np.where(correct, -1.0, 1.0)

    def loss(weights: Floats) -> float:
        return float(np.logaddexp(0.0, signs * (design @ weights)).mean() + 0.5 * penalty @ weights**2)

    def slope(weights: Floats) -> Floats:
        return np.asarray(design.T @ (_sigmoid(design @ weights) - correct) / n + penalty * weights)

    def curvature(weights: Floats) -> Floats:
        likely = _sigmoid(design @ weights)
        return np.asarray((design.T * (likely * (1.0 - likely))) @ design / n + np.diag(penalty))

    found = minimize(loss, np.zeros(terms), jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-7})
    if not found.success:
        raise ValueError(str(found.message))
    return tuple(found.x.tolist())


def _sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -500.0, 500.0))), dtype=np.float64)


#: log odds beyond this are not told apart from it
_LOG_ODDS = 30.0
#: decimals of a probability: the last bits of exp() may differ from machine to machine, and must decide nothing
DECIMALS = 12


def probability(weights: tuple[float, ...], terms: list[Floats], besides: Floats | None = None) -> Floats:
    """What the weights make of their terms, (n,) each, and of log odds (n,) besides; NaN where a term is.

    Term by term, in their order: a matrix product may add up one row in another order than many. So one row and a
    million give the same bits.
    """
    log_odds = np.zeros_like(terms[0]) if besides is None else besides
    for weight, term in zip(weights, terms, strict=True):
        log_odds = log_odds + weight * term
    bounded = np.clip(log_odds, -_LOG_ODDS, _LOG_ODDS)
    return np.asarray(np.round(1.0 / (1.0 + np.exp(-bounded)), DECIMALS), dtype=np.float64)
