"""How many labels a promise takes, before anybody labels; and how many more would make it half as vague.

Labels that certify are counted: for an error, those of trusted answers; for a false-positive rate, those of right
answers. `Plan` turns them into labels of a recording, of which `calibrate` takes a share to certify with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from ..calibration import most_misses_of, upper_bound
from ..procedure import PLAIN_SHARES

#: share of a recording that certifies, where no model is fitted
CERTIFYING = PLAIN_SHARES["certify"]
#: labels beyond which a plan is no plan
MOST = 100_000_000
#: sizes between a half and the double of a first guess that are looked through
_SIZES = 2000


class OutOfReach(ValueError):
    """No number of labels keeps this promise, or none that anybody has. The message says why."""


def labels_for_error(target: float, expected: float, delta: float, power: float) -> int:
    """Trusted answers with a label, to certify an error of at most `target` with probability 1 − `delta`.

    `expected`: the error that the system will have. The certificate is found in a share `power` of all samples. Raises
    `OutOfReach` where the expected error is not below the target.
    """
    _check(target, delta, power)
    if not 0.0 <= expected < target:
        raise OutOfReach(f"an error of {target:g} can be promised only where it is lower: {expected:g} is expected")

    def certifies(n: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.asarray(binom.cdf(most_misses_of(n, target, delta), n, expected) >= power)

    return _fewest(certifies)


def labels_for_rate(target: float, delta: float, use: float = 0.0) -> int:
    """Right answers with a label, to certify a false-positive rate of at most `target` with probability 1 − `delta`.

    `use`: the share of the target that the threshold may use up on average. With 0 it rejects no right answer of the
    sample; more of it rejects more wrong answers.
    """
    _check(target, delta, 0.5)
    if not 0.0 <= use < 1.0:
        raise ValueError(f"a share of the target lies in 0..1, and below 1, not {use}")

    def certifies(m: NDArray[np.intp]) -> NDArray[np.bool_]:
        allowed = most_misses_of(m, target, delta)  # the rate is distributed as Beta(allowed + 1, m − allowed)
        return np.asarray((allowed >= 0) & ((allowed + 1) / (m + 1) >= use * target))

    return _fewest(certifies)


def labels_to_halve(misses: int, n: int, delta: float) -> int:
    """How many labels bring the upper bound on a rate half as near to the rate, where `misses` of `n` are there now.

    Raises `ValueError` for no labels.
    """
    if n < 1:
        raise ValueError("no labels: there is no bound to halve")
    rate = misses / n
    wanted = (float(upper_bound(misses, n, delta)) - rate) / 2

    def near(size: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.asarray(upper_bound(np.round(rate * size), size, delta) - rate <= wanted)

    return _fewest(near)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is expected of a system that is not there yet."""

    acceptance: float = 1.0  #: share of the inputs with a trusted answer
    accuracy: float = 0.9  #: share of the inputs that the system has right before it rejects
    certifying: float = CERTIFYING  #: share of a recording that certifies

    def for_error(self, trusted: int) -> int:
        """Labels of a recording that has so many trusted answers among those that certify."""
        return math.ceil(trusted / (self.certifying * self.acceptance))

    def for_rate(self, right: int) -> int:
        """Labels of a recording that has so many right answers among those that certify."""
        return math.ceil(right / (self.certifying * self.accuracy))


def _check(target: float, delta: float, power: float) -> None:
    for value in (target, delta, power):
        if not 0.0 < value < 1.0:
            raise ValueError(f"a rate and a probability must lie between 0 and 1, not {value}")


def _fewest(enough: Callable[[NDArray[np.intp]], NDArray[np.bool_]]) -> int:
    """The size from which on it is enough. Larger samples need not do where smaller ones did: counts are whole numbers.

    Exact for some hundreds; beyond, up to a few thousandths more than needed. Raises `OutOfReach`.
    """
    size = 1
    while not enough(np.array([size, 2 * size, 3 * size])).all():
        size *= 2
        if size > MOST:
            raise OutOfReach(f"more than {MOST:,} labels are needed: take a less tight target")
    sizes = np.unique(np.geomspace(max(1, size // 4), 4 * size, _SIZES).astype(np.intp))
    failing = np.flatnonzero(~enough(sizes))
    return int(sizes[failing[-1] + 1]) if len(failing) else int(sizes[0])
