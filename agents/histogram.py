"""Counts in fixed buckets, as Prometheus reads them. No I/O, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram at one moment."""

    bounds: tuple[float, ...]  #: upper bounds, ascending; a last bucket without a bound follows
    counts: tuple[int, ...]  #: values in each bucket, one more than bounds
    total: float  #: sum of the values

    @property
    def count(self) -> int:
        """Values seen."""
        return sum(self.counts)

    def since(self, earlier: Buckets) -> Buckets:
        """What came after `earlier`, a moment of the same histogram."""
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return Buckets(self.bounds, counts, self.total - earlier.total)

    def quantile(self, q: float) -> float | None:
        """The value below which the share `q` lies, straight within its bucket; None of no values.

        Beyond the last bound nothing is known: the last bound is the answer.
        """
        rank = q * self.count
        if not self.count:
            return None
        below, lower = 0, 0.0
        for bound, inside in zip(self.bounds, self.counts, strict=False):
            if inside and below + inside >= rank:
                return lower + (bound - lower) * max(0.0, rank - below) / inside
            below, lower = below + inside, bound
        return lower


class Histogram:
    """Values counted in buckets; a value on a bound belongs below it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def __repr__(self) -> str:
        return f"<Histogram of {sum(self._counts)} values, {self._total:g} in all>"

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._total += value * times

    def observe_all(self, values: NDArray[np.float64]) -> None:
        """Count many at once, for a fraction of the price."""
        places = np.searchsorted(self._bounds, values, side="left")
        for place, times in enumerate(np.bincount(places, minlength=len(self._counts)).tolist()):
            self._counts[place] += times
        self._total += float(values.sum())

    def snapshot(self) -> Buckets:
        """As it stands."""
        return Buckets(self._bounds, tuple(self._counts), self._total)
