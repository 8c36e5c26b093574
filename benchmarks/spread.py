"""The summary of repeated measurements, and its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """The median and the range of several runs."""

    median: float
    low: float
    high: float
    runs: int

    @property
    def percent(self) -> str:
        """The text for shares, in per cent."""
        return f"{self.median:.1%} ({self.low:.1%} to {self.high:.1%})" if self.runs > 1 else f"{self.median:.1%}"

    def __str__(self) -> str:
        return (
            f"{_short(self.median)} ({_short(self.low)} to {_short(self.high)})"
            if self.runs > 1
            else _short(self.median)
        )


def spread(values: Sequence[float]) -> Spread:
    """The summary of at least one value."""
    return Spread(median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The summary of the ratios run by run, for a disturbance of the machine affects neighbouring runs alike."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def _short(value: float) -> str:
    """The number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
