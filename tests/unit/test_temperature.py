from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.answers import ClassReading, read_classes
from bisupervised.agents.supervision.class_scores import max_softmax
from bisupervised.agents.supervision.temperature import fit_temperature, scaled
from numpy.typing import NDArray

#: two classes, three of four right at a lead of 2 logits: the softmax must say 3/4, a lead of ln 3
LOGITS = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
LABELS = np.array([0, 0, 1, 1])


def test_the_fitted_temperature_is_the_one_by_hand() -> None:
    assert fit_temperature(LOGITS, LABELS) == pytest.approx(2.0 / math.log(3.0), rel=1e-6)
    assert fit_temperature(LOGITS.tolist(), LABELS.tolist()) == pytest.approx(2.0 / math.log(3.0), rel=1e-6)


def sharpened(temperature: float, n: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Labels drawn from a softmax, and its logits times `temperature`."""
    rng = np.random.default_rng(7)
    honest = rng.normal(0.0, 2.0, (n, 5))
    chances = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return honest * temperature, labels


@pytest.mark.parametrize("temperature", [0.01, 0.3, 1.0, 4.0, 100.0])
def test_what_sharpened_the_logits_is_found_again(temperature: float) -> None:
    logits, labels = sharpened(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_the_loss_is_flat_at_the_fitted_temperature() -> None:
    """Its derivative by 1/T is the mean of (expected logit - logit of the label)."""
    logits, labels = sharpened(3.0)
    table = logits / fit_temperature(logits, labels)
    chances = np.exp(table) / np.exp(table).sum(axis=1, keepdims=True)
    slope = ((chances * logits).sum(axis=1) - logits[np.arange(len(labels)), labels]).mean()
    assert abs(slope) < 1e-5


def test_scaling_mends_the_confidence() -> None:
    logits, labels = sharpened(4.0)
    accuracy = (logits.argmax(axis=1) == labels).mean()
    assert max_softmax(logits, logits=True).mean() > accuracy + 0.1
    scores = max_softmax(scaled(logits, fit_temperature(logits, labels)), logits=True)
    assert scores.mean() == pytest.approx(accuracy, abs=0.02)


def test_the_fit_does_not_depend_on_what_each_row_is_shifted_by() -> None:
    logits, labels = sharpened(2.0, n=500)
    assert fit_temperature(logits + 1e6, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-6)


def test_masked_classes_take_no_part() -> None:
    masked = np.column_stack([LOGITS, np.full(4, -math.inf)])
    assert fit_temperature(masked, LABELS) == pytest.approx(2.0 / math.log(3.0), rel=1e-6)


WRONG = 1 - LOGITS.argmax(axis=1)


@pytest.mark.parametrize(
    ("logits", "labels", "match"),
    [
        (np.zeros((0, 2)), [], "no labelled logits"),
        ([], [], "no labelled logits"),
        (LOGITS, [0, 1], "do not pair up"),
        (LOGITS, [[0], [0], [1], [1]], "do not pair up"),
        (LOGITS[:, 0], LABELS, r"\(n, classes\)"),
        (LOGITS[:, :1], [0, 0, 0, 0], r"\(n, classes\)"),
        (LOGITS, [0, 0, 1, 2], r"must lie in 0\.\.1"),
        (LOGITS, [0, 0, 1, -1], r"must lie in 0\.\.1"),
        (LOGITS, [0.0, 0.0, 1.0, 1.0], "whole numbers"),
        (LOGITS, [False, False, True, True], "whole numbers"),
        (LOGITS, [math.nan, 0, 1, 1], "whole numbers"),
        (LOGITS, ["a", "a", "b", "b"], "whole numbers"),
        (LOGITS, [1, 1, 1, 1], "every label is class 1"),
        (LOGITS, LOGITS.argmax(axis=1), "no label is unlikely; take data the model errs on"),
        ([[1.0, 1.0], [0.0, 2.0], [3.0, 0.0]], [1, 1, 0], r"runs below 0\.001"),
        (LOGITS, WRONG, "runs above 1000"),
        (LOGITS * 0.0, LABELS, r"runs below 0\.001"),
        ([[math.nan, 0.0], *LOGITS[1:].tolist()], LABELS, "a row has NaN"),
        ([[math.inf, 0.0], *LOGITS[1:].tolist()], LABELS, "a row has NaN"),
        ([*LOGITS[:3].tolist(), [0.0, -math.inf]], LABELS, "no finite logit for its label"),
        ([*LOGITS[:3].tolist(), [1e308, -1e308]], LABELS, "no finite logit for its label"),
        ([*LOGITS[:3].tolist(), [1e308, 0.0]], LABELS, "runs above 1000"),
    ],
)
def test_what_no_temperature_can_be_fitted_to_is_said(logits: Any, labels: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_positive_and_finite(temperature: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        scaled(LOGITS, temperature)


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_extreme_logits_are_scaled_without_overflow(temperature: float) -> None:
    scores = max_softmax(scaled(np.array([[1.7e308, -1.7e308], [5.0, 5.0]]), temperature), logits=True)
    assert scores.tolist() == [1.0, 0.5]


def test_logits_are_divided_before_they_are_scored() -> None:
    [answer] = read_classes(np.array([[2.0, 0.0]]), 1, ClassReading(logits=True, temperature=2.0))
    assert answer.score == pytest.approx(1 / (1 + math.exp(-1.0)))


def test_probabilities_are_not_divided() -> None:
    [answer] = read_classes(np.array([[0.75, 0.25]]), 1, ClassReading(logits=False, temperature=2.0))
    assert answer.score == 0.75


def test_a_worker_that_fits_nothing_does_not_pay_for_scipys_optimizer() -> None:
    code = "import sys, bisupervised.agents.answers; assert 'scipy.optimize' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
