"""The alarm of one promise: a Shiryaev-Roberts e-detector over labels, in the order of their requests.

From J. Shin, A. Ramdas and A. Rinaldo, E-detectors: a nonparametric framework for sequential change detection, 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: rates that are bet on, as multiples of the promised rate's odds
ODDS = (1.1, 1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class Detector:
    """Watches one rate, such as the error among trusted answers.

    While the rate of what counts as wrong stays at or below the promise, the expected number of labels until a false
    alarm is at least `labels_to_false_alarm`. Raises `ValueError` for a promise outside 0..1, or a number below 2.
    """

    promise: float  #: the promised rate, above 0 and below 1
    labels_to_false_alarm: float = 10_000.0  #: on average, at least

    def __post_init__(self) -> None:
        if not 0.0 < self.promise < 1.0:
            raise ValueError(f"a promise lies between 0 and 1, and {self.promise:g} does not")
        if not self.labels_to_false_alarm >= 2.0:
            raise ValueError(f"labels to a false alarm must be at least 2 (got {self.labels_to_false_alarm:g})")

    def fresh(self, streams: int | None = None) -> NDArray[np.float64]:
        """The state before any label: log R of each bet, (bets,); of many streams at once, (streams, bets)."""
        shape = (len(ODDS),) if streams is None else (streams, len(ODDS))
        return np.full(shape, -math.inf)

    def after(self, log_r: NDArray[np.float64], wrong: ArrayLike) -> NDArray[np.float64]:
        """The state after one more label: `wrong` is a truth value, or (streams,) of them.

        R <- (1 + R) L, with the likelihood ratio L of the bet's rate to the promised one. Kept as a logarithm.
        """
        marks = np.asarray(wrong, dtype=bool)[..., None]
        return np.asarray(np.logaddexp(0.0, log_r) + np.where(marks, self._gain(1), self._gain(0)))

    def level(self, log_r: NDArray[np.float64]) -> NDArray[np.float64]:
        """How near the alarm is, as a share of the way in logarithms: the alarm is at 1; -inf before any label."""
        mean = np.logaddexp.reduce(log_r, axis=-1) - math.log(len(ODDS))
        return np.asarray(mean / math.log(self.labels_to_false_alarm))

    def alarms(self, log_r: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the promise is in doubt, () or (streams,)."""
        return np.asarray(self.level(log_r) >= 1.0)

    def _gain(self, wrong: int) -> NDArray[np.float64]:
        promised = self.promise
        odds = promised / (1.0 - promised) * np.array(ODDS)
        bet = odds / (1.0 + odds)
        return np.log(bet / promised) if wrong else np.log((1.0 - bet) / (1.0 - promised))
