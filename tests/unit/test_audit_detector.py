from __future__ import annotations

import math

import numpy as np
import pytest
from bisupervised.agents.auditing.detector import ODDS, Detector
from bisupervised.agents.auditing.losses import losses


def by_hand(promise: float, marks: list[bool]) -> float:
    """The mean of R, as the definition has it, without logarithms."""
    found = [0.0] * len(ODDS)
    for wrong in marks:
        for bet, ratio in enumerate(ODDS):
            odds = promise / (1 - promise) * ratio
            rate = odds / (1 + odds)
            found[bet] = (1 + found[bet]) * (rate / promise if wrong else (1 - rate) / (1 - promise))
    return sum(found) / len(found)


@pytest.mark.parametrize("promise", [0.01, 0.11, 0.5, 0.9])
def test_the_level_is_that_of_the_definition(promise: float) -> None:
    marks = [bool(mark) for mark in np.random.default_rng(1).random(300) < 0.2]
    detector = Detector(promise, labels_to_false_alarm=1000)
    log_r = detector.fresh()
    for wrong in marks:
        log_r = detector.after(log_r, wrong)
    assert float(detector.level(log_r)) == pytest.approx(math.log(by_hand(promise, marks)) / math.log(1000))


def test_many_streams_are_the_same_as_one_after_the_other() -> None:
    detector = Detector(0.1)
    marks = np.random.default_rng(2).random((200, 7)) < 0.15
    together, alone = detector.fresh(7), [detector.fresh() for _ in range(7)]
    for row in marks:
        together = detector.after(together, row)
        alone = [detector.after(state, bool(mark)) for state, mark in zip(alone, row, strict=True)]
    assert np.array_equal(together, np.stack(alone))
    assert detector.alarms(together).shape == (7,)


def test_it_is_silent_before_a_label_and_loud_after_wrong_ones() -> None:
    detector = Detector(0.05)
    log_r = detector.fresh()
    assert not detector.alarms(log_r)
    labels = 0
    while not detector.alarms(log_r):
        log_r, labels = detector.after(log_r, True), labels + 1
    assert labels < 15


def test_right_answers_alone_never_raise_it() -> None:
    detector = Detector(0.05)
    log_r = detector.fresh()
    for _ in range(5000):
        log_r = detector.after(log_r, False)
        assert not detector.alarms(log_r)


def test_r_less_the_labels_is_a_martingale_at_the_promise() -> None:
    """The expected R grows by one a label at most: that is what bounds false alarms. Summed over all streams of 10."""
    promise, length = 0.2, 10
    detector = Detector(promise)
    streams = np.array([[bool(number >> bit & 1) for bit in range(length)] for number in range(2**length)])
    chance = np.prod(np.where(streams, promise, 1 - promise), axis=1)
    log_r = detector.fresh(len(streams))
    for label in range(length):
        log_r = detector.after(log_r, streams[:, label])
        assert chance @ np.exp(log_r).mean(axis=1) == pytest.approx(label + 1)


@pytest.mark.parametrize(("promise", "labels"), [(0.0, 100), (1.0, 100), (math.nan, 100), (0.1, 1), (0.1, math.nan)])
def test_what_cannot_be_watched_is_refused(promise: float, labels: float) -> None:
    with pytest.raises(ValueError, match=r"promise|labels"):
        Detector(promise, labels)


def test_which_labels_are_evidence() -> None:
    trusted = np.array([True, True, False, False])
    right = np.array([True, False, True, False])
    error, rejection = losses("error", trusted, right), losses("false_positive_rate", trusted, right)
    assert (error.counts.tolist(), error.wrong.tolist(), error.rate) == (
        [True, True, False, False],
        [False, True, False, False],
        0.5,
    )
    assert (rejection.counts.tolist(), rejection.wrong.tolist(), rejection.rate) == (
        [True, False, True, False],
        [False, False, True, False],
        0.5,
    )
    nothing = np.zeros(4, dtype=bool)
    assert losses("error", nothing, right).rate is None
