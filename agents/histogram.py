"""Counts in fixed buckets, as Prometheus reads them. No I/O, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log
from operator import add, sub

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram at one moment."""

    bounds: tuple[float, ...]  #: upper bounds, ascending; a last bucket without a bound follows
    counts: tuple[int, ...]  #: values in each bucket, one more than bounds
    sums: tuple[float, ...]  #: sum of the values in each

    @property
    def count(self) -> int:
        """Values seen."""
        return sum(self.counts)

    @property
    def total(self) -> float:
        """Sum of the values."""
        return sum(self.sums)

    def since(self, earlier: Buckets) -> Buckets:
        """What came after `earlier`, a moment of the same histogram."""
        counts, sums = map(sub, self.counts, earlier.counts), map(sub, self.sums, earlier.sums)
        return Buckets(self.bounds, tuple(counts), tuple(sums))

    def plus(self, other: Buckets) -> Buckets:
        """Both together; they have the same bounds."""
        counts, sums = map(add, self.counts, other.counts), map(add, self.sums, other.sums)
        return Buckets(self.bounds, tuple(counts), tuple(sums))

    def within(self, bounds: Sequence[float]) -> Buckets:
        """The same in wider buckets. Each of these bounds is one of its own."""
        counts, sums = [0] * (len(bounds) + 1), [0.0] * (len(bounds) + 1)
        places = [bisect_left(bounds, bound) for bound in self.bounds] + [len(bounds)]
        for place, inside, total in zip(places, self.counts, self.sums, strict=True):
            counts[place] += inside
            sums[place] += total
        return Buckets(tuple(bounds), tuple(counts), tuple(sums))

    def quantile(self, q: float) -> float | None:
        """The value below or at which the share `q` lies; None of no values.

        It is the mean of the bucket that this value lies in. So a value that is alone in its bucket is told as it was.
        """
        rank, below, lower = max(q * self.count, 1), 0, 0.0
        uppers = (*self.bounds, np.inf)
        for upper, inside, total in zip(uppers, self.counts, self.sums, strict=True):
            below += inside
            if inside and below >= rank:
                return float(min(max(total / inside, lower), upper))  # a difference of sums is a little off
            lower = upper
        return None


def between(bounds: Sequence[float], most: float) -> tuple[float, ...]:
    """These bounds, and so many between each two of them that each is at most so many times the one before."""
    found = [bounds[0]]
    for lower, upper in pairwise(bounds):
        steps = ceil(log(upper / lower) / log(most))
        found += [lower * (upper / lower) ** (step / steps) for step in range(1, steps)]
        found.append(upper)
    return tuple(found)


class Histogram:
    """Values counted in buckets; a value on a bound belongs below it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sums = [0.0] * (len(self._bounds) + 1)

    def __repr__(self) -> str:
        return f"<Histogram of {sum(self._counts)} values, {sum(self._sums):g} in all>"

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, so many times."""
        place = bisect_left(self._bounds, value)
        self._counts[place] += times
        self._sums[place] += value * times

    def observe_all(self, values: NDArray[np.float64]) -> None:
        """Count many at once, for a fraction of the price."""
        places = np.searchsorted(self._bounds, values, side="left")
        counts, sums = np.bincount(places), np.bincount(places, weights=values)
        for place in np.flatnonzero(counts).tolist():
            self._counts[place] += int(counts[place])
            self._sums[place] += float(sums[place])

    def snapshot(self) -> Buckets:
        """As it stands."""
        return Buckets(self._bounds, tuple(self._counts), tuple(self._sums))
