"""The alarm of one promise, one label after the other: `Detector` in plain floats, equal to the bit wherever it runs.

numpy chooses its instructions by the processor, and its logarithms may differ in the last bit from one to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....schemas.closings import AlarmTold, PromiseTold
from ..detector import ODDS


@dataclass(frozen=True, slots=True)
class Watch:
    """How one promise stands after some labels."""

    promise: PromiseTold
    labels_to_false_alarm: float
    log_r: tuple[float, ...] = (-math.inf,) * len(ODDS)  #: evidence of each bet
    raised: int = 0  #: how often the alarm was raised
    last: str = ""  #: the request whose label raised it last
    last_ms: int = 0  #: the broker's time of the closing that raised it last

    def after(self, source: str, at_ms: int, *, wrong: bool) -> Watch:
        """After one more label, of the request `source`, in the closing of `at_ms`."""
        log_r = tuple(
            _log1p_exp(log_r) + gain for log_r, gain in zip(self.log_r, _gains(self.promise.value, wrong), strict=True)
        )
        if _log_mean_exp(log_r) < math.log(self.labels_to_false_alarm):
            return replace(self, log_r=log_r)
        fresh = (-math.inf,) * len(ODDS)  # evidence begins anew
        return replace(self, log_r=fresh, raised=self.raised + 1, last=source, last_ms=at_ms)

    @property
    def level(self) -> float:
        """How near the alarm is: it is raised at 1; 0 where nothing speaks against the promise."""
        return max(0.0, _log_mean_exp(self.log_r) / math.log(self.labels_to_false_alarm))

    def told(self) -> AlarmTold:
        """As it stands in a closing."""
        log_r = tuple(None if math.isinf(one) else one for one in self.log_r)
        return AlarmTold(self.promise, self.level, self.raised, self.last, self.last_ms, log_r)


def watch_of(told: AlarmTold, labels_to_false_alarm: float) -> Watch:
    """The other way round."""
    log_r = tuple(-math.inf if one is None else one for one in told.log_r)
    return Watch(told.promise, labels_to_false_alarm, log_r, told.raised, told.last, told.last_ms)


def _gains(promised: float, wrong: bool) -> Sequence[float]:  # noqa: FBT001  # the value of a label
    odds = promised / (1.0 - promised)
    bets = [odds * times / (1.0 + odds * times) for times in ODDS]
    return [math.log(bet / promised) if wrong else math.log((1.0 - bet) / (1.0 - promised)) for bet in bets]


def _log1p_exp(value: float) -> float:
    """log(1 + e^value)."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def _log_mean_exp(values: Sequence[float]) -> float:
    most = max(values)
    if math.isinf(most):
        return most
    return most + math.log(sum(math.exp(value - most) for value in values) / len(values))
