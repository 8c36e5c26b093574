from __future__ import annotations

import math

import numpy as np
import pytest
from bisupervised.agents.auditing.interval import interval, log_evidence_against
from scipy.stats import beta


def by_hand(rate: float, wrong: int, labels: int) -> float:
    bets = [sign * size for size in (0.04, 0.08, 0.15, 0.3, 0.6, 1.2) for sign in (1, -1)]
    return sum(math.exp(bet * wrong) / (1 + rate * (math.exp(bet) - 1)) ** labels for bet in bets) / len(bets)


@pytest.mark.parametrize(("wrong", "labels"), [(0, 1), (0, 40), (3, 50), (25, 50), (50, 50), (11, 300)])
def test_the_evidence_is_that_of_the_definition(wrong: int, labels: int) -> None:
    for rate in (0.01, 0.1, 0.3, 0.7, 0.99):
        assert math.exp(log_evidence_against(rate, wrong, labels)) == pytest.approx(by_hand(rate, wrong, labels))


@pytest.mark.parametrize(("wrong", "labels"), [(0, 40), (3, 50), (25, 50), (50, 50), (110, 1000), (5_000, 100_000)])
def test_it_holds_exactly_the_rates_that_are_not_refuted(wrong: int, labels: int) -> None:
    lower, upper = interval(wrong, labels)
    assert 0.0 <= lower <= wrong / labels <= upper <= 1.0
    rates = np.linspace(0.0, 1.0, 5001)
    kept = log_evidence_against(rates, wrong, labels) < math.log(20)
    assert np.array_equal(kept, (rates > lower) & (rates < upper) | kept & ((rates == lower) | (rates == upper)))


def test_nothing_is_known_without_labels_and_ever_more_with_them() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    widths = [upper - lower for lower, upper in (interval(n // 10, n) for n in (10, 100, 1000, 10_000))]
    assert widths == sorted(widths, reverse=True)


def test_it_is_wider_than_an_interval_that_is_looked_at_once() -> None:
    for wrong, labels in ((5, 100), (50, 1000), (200, 1000)):
        lower, upper = interval(wrong, labels)
        once = beta.ppf([0.025, 0.975], [wrong, wrong + 1], [labels - wrong + 1, labels - wrong])
        assert lower <= once[0]
        assert upper >= once[1]


@pytest.mark.parametrize(("wrong", "labels", "alpha"), [(-1, 5, 0.05), (6, 5, 0.05), (1, 5, 0.0), (1, 5, 1.0)])
def test_what_cannot_be_is_refused(wrong: int, labels: int, alpha: float) -> None:
    with pytest.raises(ValueError, match=r"cannot be|alpha"):
        interval(wrong, labels, alpha)


def test_the_evidence_against_the_true_rate_is_one_on_average() -> None:
    """A test martingale: over all streams of 10 labels, with their chances."""
    rate, length = 0.3, 10
    wrong = np.array([bin(number).count("1") for number in range(2**length)])
    chance = rate**wrong * (1 - rate) ** (length - wrong)
    assert chance @ np.exp(log_evidence_against(rate, wrong, length)) == pytest.approx(1.0)
