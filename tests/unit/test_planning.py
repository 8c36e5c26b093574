"""How many labels a promise takes: against tables, searches and simulations."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.calibration import most_misses, upper_bound
from bisupervised.agents.supervision.choosing.planning import (
    OutOfReach,
    Plan,
    labels_for_error,
    labels_for_rate,
    labels_to_halve,
)
from bisupervised.streams.cli import run
from scipy.stats import beta, binom


@pytest.mark.parametrize(
    ("rate", "delta"), [(0.1, 0.1), (0.1, 0.01), (0.05, 0.1), (0.05, 0.01), (0.01, 0.1), (0.01, 0.01)]
)
def test_the_fewest_labels_for_a_rate_are_those_of_the_formula(rate: float, delta: float) -> None:
    assert labels_for_rate(rate, delta) == math.ceil(math.log(delta) / math.log1p(-rate))


@pytest.mark.parametrize("target", [0.02, 0.05, 0.2])
def test_an_error_that_never_occurs_takes_the_same(target: float) -> None:
    assert labels_for_error(target, 0.0, 0.1, 0.9) == labels_for_rate(target, 0.1)


@pytest.mark.parametrize(("target", "expected"), [(0.1, 0.05), (0.1, 0.02), (0.3, 0.2)])
def test_against_a_search_through_every_size(target: float, expected: float) -> None:
    sizes = range(1, 2500)
    enough = [binom.cdf(most_misses(n, target, 0.1), n, expected) >= 0.9 for n in sizes]
    last = max(n for n, does in zip(sizes, enough, strict=True) if not does)
    assert last + 1 <= labels_for_error(target, expected, 0.1, 0.9) <= (last + 1) * 1.003


@pytest.mark.parametrize("use", [0.5, 0.7])
def test_a_threshold_uses_the_share_of_its_target(use: float) -> None:
    n = labels_for_rate(0.05, 0.1, use)
    allowed = most_misses(n, 0.05, 0.1)
    assert beta(allowed + 1, n - allowed).mean() >= use * 0.05
    assert n == {0.5: 132, 0.7: 377}[use]


def test_in_so_many_samples_the_certificate_is_found() -> None:
    n = labels_for_error(0.1, 0.06, 0.1, 0.9)
    wrong = np.random.default_rng(0).binomial(n, 0.06, 20_000)
    found = (upper_bound(wrong, n, 0.1) <= 0.1).mean()
    assert 0.9 - 0.01 <= found <= 0.95


@pytest.mark.parametrize(("misses", "n"), [(5, 100), (40, 1000), (0, 50), (300, 1000)])
def test_half_the_margin_takes_about_four_times_the_labels(misses: int, n: int) -> None:
    found = labels_to_halve(misses, n, 0.1)
    margin = float(upper_bound(misses, n, 0.1)) - misses / n
    again = float(upper_bound(round(misses / n * found), found, 0.1)) - misses / n
    assert again <= margin / 2
    assert found == pytest.approx((2 if not misses else 4) * n, rel=0.25)


def test_what_is_out_of_reach_is_told() -> None:
    with pytest.raises(OutOfReach, match=r"an error of 0.05 can be promised only where it is lower: 0.05 is expected"):
        labels_for_error(0.05, 0.05, 0.1, 0.9)
    with pytest.raises(OutOfReach, match="more than 100,000,000 labels"):
        labels_for_error(0.05, 0.0499999, 0.1, 0.9)
    with pytest.raises(ValueError, match="no labels"):
        labels_to_halve(0, 0, 0.1)
    for target, delta in ((0.0, 0.1), (1.0, 0.1), (0.5, 0.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            labels_for_rate(target, delta)


def test_a_recording_certifies_with_a_part_of_its_labels() -> None:
    assert Plan(acceptance=0.5).for_error(100) == 500
    assert Plan(accuracy=0.8).for_rate(45) == math.ceil(45 / 0.32)


def planned(*words: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert run(["plan", *words, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_command_says_what_both_promises_take(capsys: pytest.CaptureFixture[str]) -> None:
    one = planned("--target-error", "0.1", "--expected-error", "0.05", "--acceptance", "0.5", capsys=capsys)
    trusted = labels_for_error(0.1, 0.05, 0.1, 0.9)
    assert one["labels"] == math.ceil(trusted / 0.2)
    both = planned("--target-error", "0.1", "--expected-error", "0.05", "--false-positive-rate", "0.01", capsys=capsys)
    for_error = math.ceil(labels_for_error(0.1, 0.05, 0.05, 0.9) / 0.4)
    assert both["labels"] == max(for_error, math.ceil(labels_for_rate(0.01, 0.05, 0.5) / 0.36))
    assert both["for_false_positive_rate"][0]["where"] == "the threshold rejects no right answer"


def test_the_command_ends_with_1_where_it_is_out_of_reach(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned("--target-error", "0.05", "--expected-error", "0.0499999", capsys=capsys, code=1)
    assert found["labels"] is None


def test_every_fault_of_a_wish_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--expected-error", "0.2", "--delta", "2", "--acceptance", "0", "--accuracy", "1.5"]
    assert run(["plan", *words]) == 2
    told = capsys.readouterr().err
    for option in ("--target-error", "--expected-error", "--delta", "--acceptance", "--accuracy"):
        assert option in told
