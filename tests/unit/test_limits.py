from __future__ import annotations

import math
from itertools import pairwise

import pytest
from bisupervised.agents.remote.limiting.limits import MOST_HOLD_S, Estimate, Limits, LimitsPolicy
from bisupervised.agents.remote.limiting.pace import BESIDE_SHARE, CATCH_UP_S, JITTER, Pace, _Log

NOW = 1000.0


def pace(per_minute: float = 6000.0, share: float = 1.0, window_s: float = 60.0) -> Pace:
    return Pace(per_minute, window_s, share, NOW)


def taken(made: Pace, seconds: float, now: float = NOW, units: float = 1.0) -> list[float]:
    """When calls go that always wait to go."""
    times, end = [], now + seconds
    while (now := now + made.wait_s(units, now)) < end:
        made.take(units, now)
        times.append(now)
    return times


# the pace


def test_it_starts_empty_and_goes_evenly() -> None:
    made = pace(600.0)
    times = taken(made, 60.0)
    gaps = {round(later - earlier, 6) for earlier, later in pairwise(times)}
    assert gaps == {round(1.0 / made.pace, 6)}
    assert times[0] - NOW == pytest.approx(1.0 / made.pace)
    assert 0.99 * 600 <= len(times) <= 600


def test_who_was_held_up_catches_up_by_the_burst_and_no_more() -> None:
    made = pace()
    assert made.burst == pytest.approx(6000 * (1 - JITTER) * CATCH_UP_S / 60)
    late = NOW + 30.0
    at_once = [at for at in taken(made, 1.0, late) if at == late]
    assert len(at_once) == int(made.burst)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01])
def test_a_share_is_used_to_the_full(share: float) -> None:
    used = len(taken(pace(share=share), 600.0)) / (6000 * 10 * share)
    assert 0.97 < used <= 1.0


def test_a_share_of_hardly_one_call_uses_half_rather_than_nothing() -> None:
    made = pace(per_minute=60.0, share=1 / 60)
    assert made.pace == pytest.approx(0.5 / 60, rel=0.01)


def test_without_a_share_nothing_goes() -> None:
    made = pace(share=0.0)
    assert made.wait_s(1, NOW + 1e6) == math.inf
    full = pace()
    full.resize(6000.0, 0.0, NOW + 60.0)
    assert full.wait_s(1, NOW + 60.0) == math.inf


def test_a_gained_share_starts_empty() -> None:
    made = pace(share=0.1)
    made.wait_s(1, NOW + 60.0)  # it is full
    held = made._level
    made.resize(6000.0, 1.0, NOW + 60.0)
    assert made._level == held
    assert made.burst > held
    new = Pace(6000.0, 60.0, 0.0, NOW)
    new.resize(6000.0, 0.5, NOW + 100.0)
    assert new.wait_s(1, NOW + 100.0) > 0


def test_what_is_lost_goes_with_what_it_had() -> None:
    made = pace()
    made.wait_s(1, NOW + 60.0)
    before = made._level
    made.resize(6000.0, 0.0, NOW + 60.0)  # a rebalance takes everything
    made.resize(6000.0, 0.25, NOW + 61.0)  # and gives a quarter
    assert made._level == pytest.approx(before / 4)


def test_a_share_that_comes_back_has_what_it_had() -> None:
    made = pace(share=0.5)
    made.wait_s(1, NOW + 60.0)
    before = made._level
    made.resize(6000.0, 0.0, NOW + 60.0)
    made.resize(6000.0, 0.5, NOW + 70.0)
    assert made._level == pytest.approx(before)


def test_after_a_stall_what_was_missed_is_made_up_for_and_no_window_holds_more_for_it() -> None:
    """A second at the most every hundred: calls go evenly, are held up for 90 ms, and lose nothing."""
    made, now, times = pace(window_s=10.0), NOW, []
    for _ in range(60):
        times += taken(made, 0.91, now)
        now += 1.0  # 90 ms of it in which this process did nothing
    assert len(times) / (60 * 100) > 0.98
    assert max(sum(at <= other < at + 10.0 for other in times) for at in times) <= 1000


def test_a_share_that_is_lost_takes_along_what_it_used() -> None:
    made = pace()
    assert len(taken(made, 60.0)) > 5900
    made.resize(6000.0, 0.01, NOW + 60.0)
    assert 55 <= len(taken(made, 60.0, NOW + 60.0)) <= 60


def test_calls_that_share_a_slice_of_the_log_are_forgotten_with_the_last_of_them() -> None:
    log = _Log(10.0)
    log.add(1, NOW)
    log.add(1, NOW + 0.009)
    assert log.wait_s(1, 2, NOW + 10.005) == pytest.approx(0.004)
    assert log.wait_s(1, 2, NOW + 10.01) == 0.0


def test_what_comes_back_is_taken_from_the_oldest() -> None:
    log = _Log(10.0)
    for second in range(3):
        log.add(5, NOW + second)
    log.take_back(7)
    assert log.held == 8
    assert log.wait_s(3, 10, NOW + 3.0) == pytest.approx(8.0)


def test_the_log_is_of_bounded_size() -> None:
    made = pace(per_minute=6_000_000.0)
    taken(made, 1.0)
    assert len(made._log._slices) <= 20


def test_a_large_call_waits_until_it_fits_and_is_paced_for_from_then_on() -> None:
    made = pace(per_minute=60_000.0)
    late = NOW + 60.0
    waits_s = made.wait_s(5000, late)
    assert waits_s == pytest.approx((5000 - 100) / (55_000 / 60), rel=0.01)
    assert made.wait_s(5000, late + waits_s) == 0.0
    made.take(5000, late + waits_s)
    assert made._level == pytest.approx(0.0, abs=1e-6)


def test_a_call_larger_than_the_limit_goes_in_the_end_and_the_next_ones_wait_for_it() -> None:
    made = pace(per_minute=600.0)
    waits_s = made.wait_s(1000, NOW)
    assert waits_s == pytest.approx(120.0, rel=0.01)
    made.take(1000, NOW + waits_s)
    assert made.wait_s(1, NOW + waits_s) > 400 / 10


def test_what_was_reserved_too_much_comes_back_and_what_was_used_beyond_is_owed() -> None:
    made = pace(per_minute=60_000.0)
    late = NOW + 60.0
    made.take(1000, late)
    before = made._level
    made.settle(1000, 400, late)
    assert made._level == before + 600
    made.settle(100, 400, late)
    assert made._level == before + 300


def test_the_brake_slows_until_its_end() -> None:
    made = pace(600.0)
    taken(made, 10.0)
    made.brake(1.0, NOW + 20.0, NOW + 10.0)
    assert len(taken(made, 10.0, NOW + 10.0)) == pytest.approx(10, abs=1)
    assert len(taken(made, 10.0, NOW + 20.0)) == pytest.approx(100, abs=2)


def test_a_brake_to_nothing_ends_with_the_reset() -> None:
    made = pace(600.0)
    taken(made, 1.0)
    made.brake(0.0, NOW + 31.0, NOW + 1.0)
    assert made.wait_s(1, NOW + 1.0) == pytest.approx(30.0, abs=0.2)


# all limits


def limits(requests: float = 0.0, tokens: float = 0.0, in_flight: int = 32) -> Limits:
    return Limits(LimitsPolicy(requests, tokens, in_flight), NOW)


def test_without_limits_nothing_waits() -> None:
    made = limits()
    assert made.wait_s(1e9, NOW) == 0.0
    made.take(1e9, NOW)
    assert made.wait_s(1e9, NOW) == 0.0


def test_the_strictest_limit_decides() -> None:
    made = limits(requests=600.0, tokens=600.0)
    late = NOW + 60.0
    made.take(100, late)
    assert made.wait_s(1, late) > 5.0
    assert made.requests is not None
    assert made.requests.wait_s(1, late) < 0.2


@pytest.mark.parametrize(
    ("owned", "partitions", "in_flight", "expected"),
    [(4, 4, 32, 32), (1, 4, 32, 8), (3, 4, 32, 24), (1, 3, 32, 10), (1, 32, 32, 1), (1, 100, 32, 1), (0, 4, 32, 0)],
)
def test_calls_in_flight_are_shared_by_partitions(owned: int, partitions: int, in_flight: int, expected: int) -> None:
    made = limits(in_flight=in_flight)
    made.share(owned, partitions, NOW)
    assert made.in_flight == expected


def test_the_servers_wish_holds_every_call_but_not_for_ever() -> None:
    made = limits()
    made.hold(3.0, NOW)
    made.hold(1.0, NOW)
    assert made.wait_s(1, NOW + 1.0) == 2.0
    made.hold(1e9, NOW)
    assert made.wait_s(1, NOW) == MOST_HOLD_S


def told(**fields: str) -> dict[str, str]:
    return {f"x-ratelimit-{name}-requests": value for name, value in fields.items()}


def test_headers_set_a_limit_nobody_had_named_and_the_share_is_taken_of_it() -> None:
    made = limits()
    made.share(1, 4, NOW)
    made.learn(told(limit="600"), NOW)
    assert made.requests is not None
    assert made.requests.per_minute == 600.0
    assert len(taken(made.requests, 60.0)) == pytest.approx(150, abs=2)
    assert made.tokens is None


def test_headers_may_lower_the_settings_limit_and_never_raise_it() -> None:
    made = limits(requests=600.0)
    assert made.requests is not None
    for header, expected in (("300", 300.0), ("900", 600.0), ("0", 600.0), ("-1", 600.0)):
        made.learn(told(limit=header), NOW)
        assert made.requests.per_minute == expected


def test_what_others_use_of_the_limit_is_not_used_again() -> None:
    made = limits(requests=600.0)
    made.share(1, 2, NOW)
    assert made.requests is not None
    made.learn(told(limit="600", remaining="60", reset="30s"), NOW)
    assert made.requests.pace == pytest.approx(1.0)  # half of 60 in 30 s
    made.learn(told(limit="600", remaining="590", reset="29s"), NOW)
    assert made.requests.pace == pytest.approx(5.0, rel=0.02)


def test_a_token_bucket_that_is_nearly_empty_is_no_reason_to_wait_for_it_to_be_full() -> None:
    made = limits(requests=600.0)
    assert made.requests is not None
    made.learn(told(limit="600", remaining="6", reset="59.4s"), NOW)
    assert made.requests.pace == pytest.approx(10.0, rel=0.02)


def test_a_window_that_is_used_up_is_waited_for() -> None:
    made = limits(requests=600.0)
    made.learn(told(limit="600", remaining="0", reset="12s"), NOW)
    assert made.wait_s(1, NOW) == pytest.approx(12.1, abs=0.2)


def test_estimates_rise_at_once_and_fall_slowly() -> None:
    estimate = Estimate()
    assert (estimate.of(100), estimate.of(0)) == (100, 1)
    estimate.learn(100, 300)
    assert estimate.of(100) == 300
    estimate.learn(100, 100)
    assert 290 <= estimate.of(100) < 300
    for _ in range(1000):
        estimate.learn(100, 100)
    assert estimate.of(100) <= 102
    estimate.learn(0, 5)
    estimate.learn(100, 0)
    assert estimate.of(100) <= 102


def test_they_tell_the_fleets_limits_and_this_workers_pace() -> None:
    made = limits(requests=6000.0, tokens=60_000.0)
    made.share(1, 2, NOW)
    statistics = made.statistics()
    assert (statistics["share"], statistics["in_flight"], statistics["requests_per_minute"]) == (0.5, 16, 6000.0)
    assert statistics["requests_pace"] == pytest.approx(3000, rel=0.01)
    assert "share=0.5" in repr(made)


# other limits while it runs


def test_a_higher_limit_is_used_from_now_on_and_starts_empty() -> None:
    made = limits(requests=60.0)
    made.take(1, NOW)
    made.change(LimitsPolicy(requests_per_minute=6000.0, in_flight=7), NOW + 1)
    assert made.requests is not None
    assert made.requests.per_minute == 6000.0
    assert made.in_flight == 7
    assert 0 < made.wait_s(1, NOW + 1) < 1.0


def test_a_lower_limit_holds_at_once() -> None:
    made = limits(requests=6000.0)
    began = [NOW + 0.02 * number for number in range(50)]
    for at in began:
        made.take(1, at)
    made.change(LimitsPolicy(requests_per_minute=10.0), began[-1])
    assert made.wait_s(1, began[-1]) > 1.0


def test_a_limit_may_come_and_go() -> None:
    made = limits()
    made.change(LimitsPolicy(tokens_per_minute=600.0), NOW)
    assert made.tokens is not None
    made.change(LimitsPolicy(), NOW)
    assert made.tokens is None
    assert made.wait_s(1000, NOW) == 0


def test_what_the_server_said_still_holds_where_it_is_less() -> None:
    made = limits(requests=600.0)
    made.learn({"x-ratelimit-limit-requests": "300"}, NOW)
    made.change(LimitsPolicy(requests_per_minute=6000.0), NOW)
    assert made.requests is not None
    assert made.requests.per_minute == 300.0
    made.change(LimitsPolicy(requests_per_minute=120.0), NOW)
    assert made.requests.per_minute == 120.0


def test_the_share_of_a_worker_stays() -> None:
    made = limits(requests=600.0, in_flight=32)
    made.share(1, 4, NOW)
    made.change(LimitsPolicy(requests_per_minute=600.0, tokens_per_minute=6000.0, in_flight=16), NOW)
    assert made.in_flight == 4
    assert made.statistics()["share"] == 0.25


# calls that nobody waits for


def test_what_is_left_over_is_taken_and_nothing_of_the_bucket() -> None:
    one = pace(60.0)
    interval = one.wait_s(1, NOW)
    left_over_s = interval / BESIDE_SHARE
    assert one.beside_wait_s(1, NOW) == pytest.approx(interval + left_over_s)
    later = NOW + interval + left_over_s
    assert one.wait_s(1, later) == 0.0
    assert one.beside_wait_s(1, later) == pytest.approx(0.0, abs=1e-6)
    one.take_beside(1, later)
    assert one.wait_s(1, later) == 0.0
    assert one.beside_wait_s(1, later) == pytest.approx(left_over_s)


def test_what_was_left_over_is_one_call_at_most_and_stays_while_others_go() -> None:
    one = pace(60.0)
    one.beside_wait_s(1, NOW + 600.0)
    one.take(1, NOW + 600.0)
    assert one.beside_wait_s(1, NOW + 600.0) == 0.0
    one.take_beside(1, NOW + 600.0)
    assert one.beside_wait_s(1, NOW + 600.0) > 2.0


def test_any_window_holds_no_more_with_them() -> None:
    one, now = pace(120.0), NOW
    times: list[float] = []
    while now < NOW + 300.0:
        (one.take_beside if len(times) % 3 == 0 else one.take)(1, now)
        times.append(now)
        now += one.beside_wait_s(1, now) if len(times) % 3 == 0 else one.wait_s(1, now)
    assert max(sum(1 for at in times if began <= at < began + 60.0) for began in times) <= 120


def test_they_leave_the_window_a_place_for_a_call_more() -> None:
    one = pace(10.0)
    taken(one, 60.0)
    assert one.beside_wait_s(1, NOW + 60.0) > one.wait_s(1, NOW + 60.0)


def test_where_a_window_holds_no_two_calls_none_goes() -> None:
    assert pace(1.5).beside_wait_s(1, NOW + 6000.0) == 60.0


def test_their_tokens_are_settled_with_what_is_left_over() -> None:
    limits = Limits(LimitsPolicy(tokens_per_minute=6000.0), NOW)
    later = NOW + 60.0 + limits.beside_wait_s(100, NOW + 60.0)
    assert limits.beside_wait_s(100, later) == pytest.approx(0.0, abs=1e-6)
    limits.take_beside(100, later)
    limits.settle_beside(100, 300, later)
    assert limits.wait_s(100, later) == 0.0
    assert limits.beside_wait_s(100, later) > 3.0


def test_with_less_of_the_fleet_less_is_left_over() -> None:
    one = pace(60.0)
    one.beside_wait_s(1, NOW + 60.0)
    one.resize(60.0, 0.5, NOW + 60.0)
    assert one.beside_wait_s(1, NOW + 60.0) > 0.9


def test_a_server_that_stands_no_two_calls_at_once_is_heard_for_an_hour() -> None:
    limits = Limits(LimitsPolicy(60.0), NOW)
    limits.limited(NOW)
    assert limits.beside_wait_s(1, NOW + 10.0) == 0.0
    limits.take_beside(1, NOW + 10.0)
    assert limits.wait_s(1, NOW + 10.0) == 0.0
    limits.take(1, NOW + 10.1)
    limits.limited(NOW + 10.2)
    assert limits.beside_wait_s(1, NOW + 20.0) == 0.0
    limits.take_beside(1, NOW + 20.0)
    assert limits.wait_s(1, NOW + 20.0) == pytest.approx(1.0, abs=0.1)
    limits.take_beside(1, NOW + 4000.0)
    assert limits.wait_s(1, NOW + 4000.0) == 0.0
