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


def refused(breaker: Breaker, *records: str, every: bool = False, now: float = 100.0) -> Breaker:
    """One refusal of a call about each."""
    for record in records:
        breaker.refused(breaker.begin(now), now, frozenset((record,)), every=every)
    return breaker


def answered(breaker: Breaker, now: float = 90.0) -> Breaker:
    breaker.succeeded(breaker.begin(now))
    return breaker


def test_refusals_of_several_records_without_one_answer_stop_all_calls() -> None:
    breaker = refused(Breaker(POLICY), "a", "b")
    assert breaker.closed
    refused(breaker, "c")
    assert (breaker.doubted, breaker.closed, breaker.admits(1e9)) == (True, False, False)
    breaker.decide(100.0, known=False)
    assert (breaker.state, breaker.wait_s(100.0), breaker.opened) == ("stopped", 10.0, 1)


def test_an_answer_between_them_says_that_the_remote_is_well() -> None:
    breaker = refused(answered(refused(Breaker(POLICY), "a", "b")), "c", "d")
    assert breaker.closed


def test_an_answer_to_a_call_under_way_settles_the_doubt() -> None:
    breaker = Breaker(POLICY)
    under_way = breaker.begin(100.0)
    assert refused(breaker, "a", "b", "c").doubted
    breaker.succeeded(under_way)
    assert breaker.closed


def test_one_record_never_stops_calls_however_often_it_is_refused() -> None:
    breaker = refused(Breaker(POLICY), *"aaaaaaaa")
    assert breaker.closed
    assert breaker.blames(frozenset("a"))
    assert not breaker.blames(frozenset("b"))


def test_a_batch_and_its_parts_are_explained_by_one_record_in_all_of_them() -> None:
    breaker = Breaker(POLICY)
    for records in ("abcd", "ab", "a"):
        breaker.refused(breaker.begin(100.0), 100.0, frozenset(records), every=False)
    assert breaker.closed
    breaker.refused(breaker.begin(100.0), 100.0, frozenset("cd"), every=False)
    assert breaker.doubted


def test_a_refusal_of_every_call_by_its_own_word_needs_no_second() -> None:
    assert refused(Breaker(POLICY), "a", every=True).doubted


def test_a_remote_that_answers_is_not_taken_at_its_word_when_it_refuses_every_call_once() -> None:
    breaker = refused(answered(Breaker(POLICY)), "a", every=True)
    assert breaker.closed
    assert refused(breaker, "b", "c", every=True).doubted


def test_a_refusal_of_what_was_answered_before_is_one_refusal_and_as_many_as_open_the_circuit_stop_calls() -> None:
    breaker = refused(answered(Breaker(POLICY)), "a")
    breaker.check(100.0)
    breaker.disproved(breaker.begin(100.0), 100.0)
    assert (breaker.state, breaker.admits(100.0)) == ("probing", True), "the next call may tell"
    refused(breaker, "a")
    assert breaker.doubted
    breaker.decide(100.0, known=True)
    breaker.disproved(breaker.begin(100.0), 100.0)
    assert breaker.state == "stopped"


def test_where_an_input_is_known_one_call_asks_it_at_once_and_decides() -> None:
    breaker = refused(answered(Breaker(POLICY)), "a", "b", "c")
    breaker.decide(100.0, known=True)
    assert (breaker.state, breaker.accused, breaker.admits(100.0), breaker.opened) == ("probing", True, True, 0)
    breaker.succeeded(breaker.begin(100.0))
    assert (breaker.state, breaker.well) == ("closed", True)
    refused(breaker, "a", "b", "c")
    breaker.decide(100.0, known=True)
    breaker.disproved(breaker.begin(100.0), 100.0)
    assert (breaker.state, breaker.well, breaker.opened) == ("stopped", False, 1)


def test_probes_of_a_remote_that_refuses_all_come_at_growing_distance_until_one_is_answered() -> None:
    breaker, now, waits = refused(Breaker(POLICY), "a", every=True), 100.0, []
    breaker.decide(now, known=False)
    for _ in range(8):
        waits.append(breaker.wait_s(now))
        now += waits[-1]
        breaker.refused(breaker.begin(now), now, frozenset("a"), every=False)
    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]
    breaker.succeeded(breaker.begin(now + 600.0))
    refused(breaker, "a", every=True, now=now)
    breaker.decide(now, known=False)
    assert breaker.wait_s(now) == 10.0


def test_a_remote_that_only_asks_to_slow_down_is_asked_at_growing_distance() -> None:
    breaker, now, waits = Breaker(POLICY), 100.0, []
    for _ in range(2):
        breaker.limited(breaker.begin(now), now)
    assert breaker.closed
    for _ in range(5):
        breaker.limited(breaker.begin(now), now)
        waits.append(breaker.wait_s(now))
        now += waits[-1]
    assert waits == [1.25, 2.5, 5.0, 10.0, 20.0]
    breaker.succeeded(breaker.begin(now))
    assert breaker.closed


def test_a_remote_that_answers_is_not_stopped_by_its_limits_but_by_their_lasting() -> None:
    """Where dozens of calls are under way, it limits many in a row between two answers."""
    breaker = Breaker(POLICY)
    for second in range(3):
        breaker.succeeded(breaker.begin(100.0 + second))
        for _ in range(30):
            breaker.limited(breaker.begin(100.9 + second), 100.9 + second)
        assert breaker.closed
    breaker.limited(breaker.begin(104.1), 104.1)
    assert breaker.closed
    breaker.limited(breaker.begin(104.2), 104.2)
    assert breaker.wait_s(104.2) == 1.25


def test_who_does_not_wait_takes_a_limit_for_a_remote_that_is_up() -> None:
    breaker = failed()
    breaker.limited(breaker.begin(110.0), 110.0, waits=False)
    assert breaker.closed


def test_a_probe_that_is_refused_for_its_input_finds_the_remote_up() -> None:
    assert refused(failed(), "a", now=110.0).closed


def test_it_tells_its_state() -> None:
    breaker = failed()
    assert repr(breaker) == "<Breaker open failures=0 opened=1 probes=0>"
    assert breaker.statistics() == {"state": "open", "failures": 0, "opened": 1, "probes": 0}
