"""When an event loop counts as standing still."""

from __future__ import annotations

from bisupervised.streams.worker.pulse import Pulse


def pulse_of_3_s() -> Pulse:
    return Pulse(3.0, lambda: None)


def test_a_loop_that_beats_is_never_still() -> None:
    pulse = pulse_of_3_s()
    for _ in range(10):
        pulse.beat()
        assert not pulse.look()


def test_it_is_still_after_as_many_looks_as_seconds_without_a_beat() -> None:
    pulse = pulse_of_3_s()
    pulse.beat()
    assert [pulse.look() for _ in range(4)] == [False, False, False, True]


def test_one_beat_begins_the_count_anew() -> None:
    pulse = pulse_of_3_s()
    pulse.beat()
    assert [pulse.look() for _ in range(3)] == [False] * 3
    pulse.beat()
    assert [pulse.look() for _ in range(4)] == [False, False, False, True]
