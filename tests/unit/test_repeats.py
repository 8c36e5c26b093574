"""What is said again is counted."""

from __future__ import annotations

from bisupervised.streams.telemetry.repeats import Repeats


def test_the_first_is_written_and_repetitions_are_told_after_longer_and_longer_rests() -> None:
    repeats = Repeats[str]()
    told = [
        (tenth / 10, again)
        for tenth in range(10_000)
        if (again := repeats.heard("down", "line", tenth / 10)) is not None
    ]
    times, counts = zip(*told, strict=True)
    assert times == (0.0, 10.0, 30.0, 70.0, 150.0, 310.0, 610.0, 910.0), "to every five minutes"
    assert counts == (0, 99, 199, 399, 799, 1599, 2999, 2999)


def test_texts_do_not_hide_each_other() -> None:
    repeats = Repeats[str]()
    assert [repeats.heard(text, "line", 0.0) for text in ("a", "b", "a", "c")] == [0, 0, None, 0]


def test_after_a_quiet_while_it_is_news_again() -> None:
    repeats = Repeats[str]()
    assert [repeats.heard("a", "line", now) for now in (0.0, 1.0, 2.0, 50.0, 51.0, 61.0)] == [0, None, None, 2, None, 1]


def test_what_is_not_said_any_more_is_told_once() -> None:
    repeats = Repeats[str]()
    for now in (0.0, 1.0, 2.0):
        repeats.heard("a", "line", now)
    repeats.heard("b", "line", 0.0)
    assert repeats.over(9.0) == []
    assert repeats.over(10.0) == [("line", 2)]
    assert repeats.over(100.0) == []


def test_memory_is_bounded() -> None:
    repeats = Repeats[str]()
    for number in range(5000):
        repeats.heard(number, "line", float(number) / 1000)
    assert len(repeats._said) == 1000
    assert repeats.heard(4999, "line", 5.0) is None
