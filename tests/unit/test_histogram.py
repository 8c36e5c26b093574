"""Counting in buckets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from bisupervised.agents.histogram import Buckets, Histogram, between

pytestmark = pytest.mark.unit

VALUES = [0.0, 0.5, 1.0, 1.5, 2.0, 9.0]


def filled(*, at_once: bool) -> Buckets:
    histogram = Histogram((1, 2, 4))
    if at_once:
        histogram.observe_all(np.array(VALUES))
    else:
        for value in VALUES:
            histogram.observe(value)
    return histogram.snapshot()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_value_on_a_bound_belongs_below_it(at_once: bool) -> None:
    seen = filled(at_once=at_once)
    assert (seen.counts, seen.total, seen.count) == ((3, 2, 0, 1), 14.0, 6)


def test_one_value_may_be_counted_often() -> None:
    histogram = Histogram((1, 2))
    histogram.observe(1.5, 3)
    assert histogram.snapshot() == Buckets((1, 2), (0, 3, 0), (0.0, 4.5, 0.0))


def test_what_came_since() -> None:
    histogram = Histogram((1, 2))
    histogram.observe(1.5)
    before = histogram.snapshot()
    histogram.observe(0.5)
    assert histogram.snapshot().since(before) == Buckets((1, 2), (1, 0, 0), (0.5, 0.0, 0.0))


@pytest.mark.parametrize(("q", "value"), [(0.0, 0.5), (0.5, 0.5), (0.75, 1.5), (0.95, 9.0), (0.99, 9.0)])
def test_quantiles_are_the_mean_of_their_bucket(q: float, value: float) -> None:
    assert Buckets((1, 2, 4), (2, 1, 0, 1), (1.0, 1.5, 0.0, 9.0)).quantile(q) == pytest.approx(value)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_one_value_is_told_as_it_was(q: float) -> None:
    """71 seconds were told as 117, in a bucket from 60 to 120; also where others came before."""
    histogram = Histogram((60, 120))
    histogram.observe(117.3)
    before = histogram.snapshot()
    histogram.observe(71.0)
    assert histogram.snapshot().since(before).quantile(q) == pytest.approx(71.0)


def test_of_nothing_there_is_no_quantile() -> None:
    assert Buckets((1.0,), (0, 0), (0.0, 0.0)).quantile(0.5) is None


def test_two_together() -> None:
    one, other = Buckets((1,), (1, 0), (0.5, 0.0)), Buckets((1,), (1, 2), (0.25, 5.0))
    assert one.plus(other) == Buckets((1,), (2, 2), (0.75, 5.0))


def test_finer_buckets_hold_what_wider_ones_hold() -> None:
    wide = (1.0, 2.0, 4.0)
    fine = between(wide, 1.3)
    assert set(wide) < set(fine)
    assert all(upper / lower < 1.3 for lower, upper in pairwise(fine))
    seen = {bounds: Histogram(bounds) for bounds in (wide, fine)}
    for histogram in seen.values():
        histogram.observe_all(np.array(VALUES))
    assert seen[fine].snapshot().within(wide) == seen[wide].snapshot()
