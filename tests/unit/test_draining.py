"""How long releases wait for work in flight. Time is passed in."""

from __future__ import annotations

import pytest
from bisupervised.streams.plane.draining import Draining


def test_a_release_gets_a_whole_drain() -> None:
    assert Draining(10.0).begin(100.0) == 110.0


def test_the_next_one_gets_what_the_last_left() -> None:
    draining = Draining(10.0)
    draining.begin(100.0)
    draining.end(107.0)
    assert draining.begin(108.0) == 111.0
    draining.end(111.0)
    assert draining.begin(112.0) == 112.0


@pytest.mark.parametrize("rebalances", [2, 5, 20])
def test_however_many_follow_each_other_all_wait_for_one_drain_together(rebalances: int) -> None:
    draining, now, waited_s = Draining(10.0), 100.0, 0.0
    for _ in range(rebalances):
        until = draining.begin(now)
        waited_s += until - now
        now = until + 3.0  # the last flush
        draining.end(now)
        now += 1.0
    assert waited_s == 10.0


def test_one_that_took_nothing_leaves_everything() -> None:
    draining = Draining(10.0)
    draining.begin(100.0)
    draining.end(100.0)
    assert draining.begin(101.0) == 111.0


def test_after_as_long_as_a_drain_may_take_there_is_a_whole_one_again() -> None:
    draining = Draining(10.0)
    draining.begin(100.0)
    draining.end(110.0)
    assert draining.begin(119.9) == 119.9
    draining.end(119.9)
    assert draining.begin(129.9) == 139.9


def test_a_stop_amid_a_rebalance_waits_no_longer_than_the_rebalance() -> None:
    draining = Draining(10.0)
    assert draining.begin(100.0) == 110.0
    assert draining.begin(105.0) == 110.0
    draining.end(106.0)
    assert draining.begin(107.0) == 110.0


def test_without_a_drain_nothing_is_waited_for() -> None:
    draining = Draining(0.0)
    assert draining.begin(100.0) == 100.0
    draining.end(103.0)
    assert draining.begin(103.0) == 103.0
