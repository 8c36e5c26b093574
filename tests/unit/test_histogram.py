"""Counting in buckets."""

from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.histogram import Buckets, Histogram

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
    assert histogram.snapshot() == Buckets((1, 2), (0, 3, 0), 4.5)


def test_what_came_since() -> None:
    histogram = Histogram((1, 2))
    histogram.observe(1.5)
    before = histogram.snapshot()
    histogram.observe(0.5)
    assert histogram.snapshot().since(before) == Buckets((1, 2), (1, 0, 0), 0.5)


@pytest.mark.parametrize(("q", "value"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 2.0), (0.99, 4.0)])
def test_quantiles_are_straight_within_a_bucket_and_end_at_the_last_bound(q: float, value: float) -> None:
    assert Buckets((1, 2, 4), (2, 1, 0, 1), 0.0).quantile(q) == pytest.approx(value)


def test_of_nothing_there_is_no_quantile() -> None:
    assert Buckets((1.0,), (0, 0), 0.0).quantile(0.5) is None
