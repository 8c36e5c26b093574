"""`make bench-remote`, in seconds: that it runs and what it writes. How fast a busy machine is proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.benchmarks import smoke

from benchmarks.remote import Sizes, efficiency, weigh
from benchmarks.server import FixedWindow, TokenBucket


def test_it_measures_everything_and_writes_it_down(tmp_path: Path) -> None:
    report, _ = smoke("remote", tmp_path)
    shares = ("limit_used_token_bucket", "limit_used_fixed_window", "concurrency_efficiency")
    assert all(0.1 < report[share] <= 1.0 for share in shares), report
    assert report["too_many_requests"] >= 0
    # in virtual time: the same on every machine
    assert report["fleet_windows_over_limit"] == 0
    assert report["fleet_limit_used"] >= 0.97
    assert report["skew_half_100_workers"] < 0.5


def test_a_server_that_is_asked_too_much_refuses() -> None:
    """Else no 429 would mean nothing."""
    bucket, window = TokenBucket(per_second=10.0, capacity=2.0), FixedWindow(calls=10, window_s=1.0)
    assert [bucket.asks(0.0).accepted for _ in range(3)] == [True, True, False]
    assert bucket.asks(0.1).accepted
    assert not bucket.asks(0.1).accepted
    assert [window.asks(0.5).accepted for _ in range(11)] == [True] * 10 + [False]
    assert window.asks(1.0).accepted


def test_use_is_weighed_over_whole_windows_after_the_first() -> None:
    sizes = Sizes(per_minute=600.0, window_s=1.0)
    log = [(0.95, 0.1), (0.96, -1.0), *((1.0 + n / 10, 0.1) for n in range(19)), (1.5, -1.0), (3.2, 0.1)]
    seen = weigh(log, sizes)
    assert seen.used == pytest.approx(0.95)
    assert (seen.refused, seen.refused_at_first) == (1, 1)


def test_concurrency_counts_what_the_server_works_on() -> None:
    """Two calls of a second each, one after the other without a gap; then with a gap of a quarter."""
    assert efficiency([(n / 2, 1.0) for n in range(20)], 2, 1.0) == pytest.approx(1.0)
    assert efficiency([(n * 1.25, 1.0) for n in range(20)], 1, 1.0) == pytest.approx(0.8, abs=0.01)
