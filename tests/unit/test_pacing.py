"""How long a transaction waits for those of other partitions. Time is passed in."""

from __future__ import annotations

import pytest
from bisupervised.streams.plane.pacing import Pacing, PacingPolicy


def after(*took_s: float) -> Pacing:
    """The pace after transactions that took so long."""
    pacing, now = Pacing(PacingPolicy(60.0), 0.0), 0.0
    for seconds in took_s:
        pacing.begins(1, now)
        now += seconds
        pacing.went_through(now)
    return pacing


def test_where_all_take_the_same_nobody_holds_it_up_and_it_waits_for_none() -> None:
    assert after(*[0.02] * 200).patience_s == pytest.approx(0.0, abs=1e-6)


def test_before_one_went_through_nothing_is_known_and_it_waits_for_none() -> None:
    assert after().patience_s == 0.0


def test_it_waits_as_long_as_others_hold_it_up() -> None:
    """One in ten is alone and takes 4 ms, the others 14: 9 ms of 13 are for others."""
    assert 0.006 < after(*[0.004, *[0.014] * 9] * 30).patience_s < 0.010


def test_how_quick_it_once_was_is_forgotten() -> None:
    """A broker that takes longer for good does not hold up one by the other."""
    pacing = after(*[0.004] * 50, *[0.02] * 500)
    assert pacing.patience_s == pytest.approx(0.0, abs=1e-6)


def test_one_that_took_minutes_makes_it_wait_no_longer_than_a_few_quick_ones_take() -> None:
    assert after(*[0.004] * 50, 100.0).patience_s == pytest.approx(4 * 0.004, rel=0.02)
