from __future__ import annotations

import math

from bisupervised.agents.remote.limiting.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(failures=3, cool_down_s=10.0, terminal_cool_down_s=600.0)


def failed(times: int = 3, now: float = 100.0) -> Breaker:
    """After so many failures in a row."""
    breaker = Breaker(POLICY)
    for _ in range(times):
        breaker.failed(breaker.begin(now), now)
    return breaker


def test_it_is_closed_at_first_and_everybody_may_call() -> None:
    breaker = Breaker(POLICY)
    assert (breaker.state, breaker.closed, breaker.admits(0.0), breaker.wait_s(0.0)) == ("closed", True, True, 0.0)


def test_failures_in_a_row_open_it_and_the_cool_down_lets_one_in() -> None:
    assert failed(2).closed
    breaker = failed(3)
    assert (breaker.state, breaker.admits(100.0), breaker.wait_s(104.0)) == ("open", False, 6.0)
    assert breaker.admits(110.0)
    breaker.begin(110.0)
    assert (breaker.state, breaker.admits(1e9), breaker.wait_s(1e9)) == ("probing", False, math.inf)


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = failed(2)
    breaker.succeeded(breaker.begin(100.0))
    for _ in range(2):
        breaker.failed(breaker.begin(100.0), 100.0)
    assert breaker.closed


def test_the_probe_decides() -> None:
    breaker = failed()
    breaker.succeeded(breaker.begin(110.0))
    assert breaker.closed
    breaker = failed()
    breaker.failed(breaker.begin(110.0), 112.0)
    assert (breaker.state, breaker.wait_s(112.0), breaker.opened) == ("open", 10.0, 2)


def test_what_was_called_before_it_opened_decides_nothing() -> None:
    breaker = Breaker(POLICY)
    old = [breaker.begin(100.0) for _ in range(3)]
    for ticket in old:
        breaker.failed(ticket, 100.0)
    breaker.succeeded(old[0])
    assert not breaker.admits(100.0)
    probe = breaker.begin(110.0)
    breaker.succeeded(old[1])
    breaker.failed(old[1], 110.0)
    breaker.abandoned(old[2])
    assert breaker.state == "probing"
    breaker.succeeded(probe)
    assert breaker.closed


def test_an_abandoned_probe_frees_its_place() -> None:
    breaker = failed()
    breaker.abandoned(breaker.begin(110.0))
    assert (breaker.state, breaker.admits(110.0)) == ("open", True)
    breaker.succeeded(breaker.begin(111.0))
    assert (breaker.closed, breaker.probes) == (True, 2)


def test_a_terminal_error_stops_all_calls_for_long_whoever_learned_it() -> None:
    breaker = failed()
    breaker.stop(105.0)
    assert (breaker.state, breaker.wait_s(105.0)) == ("stopped", 600.0)
    probe = breaker.begin(705.0)
    breaker.failed(probe, 705.0)  # for another reason; what only a person can mend is not known to be mended
    assert (breaker.state, breaker.wait_s(705.0)) == ("stopped", 600.0)
    breaker.succeeded(breaker.begin(1305.0))
    assert breaker.closed
    for _ in range(3):
        breaker.failed(breaker.begin(1400.0), 1400.0)
    assert (breaker.state, breaker.wait_s(1400.0)) == ("open", 10.0)


def test_it_tells_its_state() -> None:
    breaker = failed()
    assert repr(breaker) == "<Breaker open failures=0 opened=1 probes=0>"
    assert breaker.statistics() == {"state": "open", "failures": 0, "opened": 1, "probes": 0}


def strange(breaker: Breaker, times: int = 1) -> Breaker:
    for _ in range(times):
        breaker.strange(breaker.begin(100.0), 100.0)
    return breaker


def test_a_refusal_that_may_be_about_one_input_stops_all_calls_where_none_was_answered() -> None:
    assert strange(Breaker(POLICY)).state == "stopped"


def test_among_answers_it_is_about_its_input_until_there_are_too_many_in_a_row() -> None:
    breaker = Breaker(POLICY)
    for _ in range(10):
        breaker.succeeded(breaker.begin(100.0))
        assert strange(breaker, 2).state == "closed"
    assert strange(breaker).state == "stopped"
    breaker.begin(700.0)
    breaker.strange(breaker.begin(700.0), 700.0)
    assert (breaker.state, breaker.wait_s(700.0)) == ("stopped", 600.0), "the probe is refused: nothing was mended"


def test_a_probe_that_is_refused_for_its_input_finds_the_remote_up() -> None:
    breaker = Breaker(POLICY)
    breaker.succeeded(breaker.begin(90.0))
    for _ in range(3):
        breaker.failed(breaker.begin(90.0), 90.0)
    assert breaker.state == "open"
    assert strange(breaker).state == "closed"
