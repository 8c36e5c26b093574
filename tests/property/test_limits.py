"""No schedule of calls, shares and headers gets more out of a limit than it is, in any window."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import NamedTuple

from bisupervised.agents.remote.limiting.limits import Limits, LimitsPolicy
from bisupervised.agents.remote.limiting.pace import Pace
from hypothesis import given
from hypothesis import strategies as st

WINDOW_S = 60.0
PARTITIONS = 20


def fullest(calls: list[tuple[float, float]], window_s: float = WINDOW_S) -> float:
    """Units in the fullest half-open window; calls are (when, units)."""
    calls = sorted(calls)
    most, held, end = 0.0, 0.0, 0
    for began, units in calls:
        while end < len(calls) and calls[end][0] < began + window_s - 1e-6:
            held += calls[end][1]
            end += 1
        most = max(most, held)
        held -= units
    return most


class Step(NamedTuple):
    """What a worker does next."""

    idle_s: float  #: seconds it has nothing to do
    greedy_s: float  #: then seconds in which it calls as often as it may
    size: float  #: of each call, as a share of the allowance in a window


SIZES = st.floats(0.0, 0.05)
STEPS = st.lists(st.builds(Step, st.floats(0, 90), st.floats(0, 90), SIZES), min_size=1, max_size=8)


@given(steps=STEPS, per_minute=st.floats(30, 3000), share=st.sampled_from([1.0, 0.5, 0.2]))
def test_no_window_holds_more_than_the_share_of_the_limit(steps: list[Step], per_minute: float, share: float) -> None:
    allowed = per_minute * share
    pace, now, calls = Pace(per_minute, WINDOW_S, share, 1000.0), 1000.0, []
    for step in steps:
        units = max(1.0, step.size * allowed)
        now += step.idle_s
        end = now + step.greedy_s
        while (now := now + pace.wait_s(units, now)) < end:
            pace.take(units, now)
            calls.append((now, units))
        now = end
    assert fullest(calls) <= allowed + 1e-6


@given(steps=st.lists(st.tuples(st.floats(0, 60), st.integers(100, 1000), st.integers(0, 1000)), max_size=60))
def test_what_is_settled_never_exceeds_the_limit(steps: list[tuple[float, int, int]]) -> None:
    """Reserved is at least what is used, and is settled at once: then only what is used counts."""
    limits, now, calls = Limits(LimitsPolicy(tokens_per_minute=20_000.0), 1000.0), 1000.0, []
    for idle_s, reserved, used in steps:
        now += idle_s
        now += limits.wait_s(reserved, now)
        limits.take(reserved, now)
        limits.settle(reserved, min(reserved, used), now)
        calls.append((now, float(min(reserved, used))))
    assert fullest(calls) <= 20_000.0


class Rebalance(NamedTuple):
    """Everything is taken away and given out anew."""

    lasts_s: float  #: seconds until the next one
    shares: tuple[int, ...]  #: partitions of each worker


def _rebalances() -> st.SearchStrategy[list[Rebalance]]:
    cuts = st.lists(st.integers(0, PARTITIONS), min_size=3, max_size=3).map(
        lambda places: tuple(later - earlier for earlier, later in pairwise([0, *sorted(places), PARTITIONS]))
    )
    return st.lists(st.builds(Rebalance, st.floats(0.5, 90), cuts), min_size=1, max_size=10)


@given(rebalances=_rebalances(), per_minute=st.floats(200, 3000))
def test_a_fleet_keeps_the_limit_however_its_partitions_move(rebalances: list[Rebalance], per_minute: float) -> None:
    """Four workers that call as often as they may. Each has a burst of its own in its share."""
    workers = [Limits(LimitsPolicy(per_minute), 1000.0) for _ in range(4)]
    now, calls = 1000.0, []
    for rebalance in rebalances:
        for worker in workers:
            worker.share(0, PARTITIONS, now)
        for worker, owned in zip(workers, rebalance.shares, strict=True):
            worker.share(owned, PARTITIONS, now)
            calls += _greedy(worker, now, now + rebalance.lasts_s)
        now += rebalance.lasts_s
    assert fullest(calls) <= per_minute


def _greedy(worker: Limits, now: float, end: float) -> list[tuple[float, float]]:
    calls = []
    while (now := now + worker.wait_s(1, now)) < end:
        worker.take(1, now)
        calls.append((now, 1.0))
    return calls


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(1, 30)), min_size=1, max_size=20))
def test_a_fleet_whose_partitions_move_loses_little(moves: list[tuple[int, float]]) -> None:
    """While every partition has a backlog, moving shares about costs no more than its gaps."""
    workers = [Limits(LimitsPolicy(6000.0), 1000.0) for _ in range(4)]
    now, calls = 1000.0, 0
    for size, lasts_s in moves:
        for number, worker in enumerate(workers):
            worker.share(0, PARTITIONS, now)
            worker.share(len(range(number, PARTITIONS, size)) if number < size else 0, PARTITIONS, now)
            calls += len(_greedy(worker, now, now + lasts_s))
        now += lasts_s
    assert calls >= 0.985 * (now - 1000.0) * 100 - 4 * len(moves)


@given(changes=st.lists(st.tuples(st.floats(0.5, 90), st.floats(60, 600)), min_size=1, max_size=6))
def test_a_limit_that_changes_while_it_runs_is_never_exceeded(changes: list[tuple[float, float]]) -> None:
    """No window holds more than the largest limit that was in force in it."""
    limits, now, calls = Limits(LimitsPolicy(600.0), 1000.0), 1000.0, []
    spans = []
    for lasts_s, per_minute in changes:
        limits.change(LimitsPolicy(per_minute), now)
        calls += _greedy(limits, now, now + lasts_s)
        spans.append((now, now + lasts_s, per_minute))
        now += lasts_s
    times = [began for began, _ in calls]
    for first, began in enumerate(times):
        last = bisect_left(times, began + WINDOW_S - 1e-6)
        most = max(limit for start, end, limit in spans if start < began + WINDOW_S and end > began)
        assert last - first <= most
