"""The list of scores, and the scores of class outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.class_scores import max_softmax, pcs, softmax_entropy
from bisupervised.agents.supervision.scores import SCORES, fitting
from numpy.typing import NDArray

ClassScore = Callable[..., NDArray[np.float64]]
CLASS_SCORES = [SCORES[name].compute for name in fitting("classes")]
OF_CLASSES = pytest.mark.parametrize("score", CLASS_SCORES)


def test_the_list_is_complete_and_each_says_what_it_reads_and_where_it_comes_from() -> None:
    assert fitting("classes") == ["max_softmax", "pcs", "softmax_entropy"]
    assert fitting("tokens") == ["token_first", "token_mean", "token_min", "token_product"]
    assert fitting("labels") == ["label_softmax"]
    assert fitting("samples") == ["agreement"]
    assert sorted(SCORES) == fitting("classes", "tokens", "labels", "samples")
    for name, score in SCORES.items():
        assert score.name == name
        assert score.direction == "higher is more trustworthy"
        assert any(part.strip().isdigit() for part in score.source.replace(";", ",").replace(" ", ",").split(",")), (
            "a year"
        )


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (max_softmax, [0.7, 0.5, 1.0, 1 / 3]),
        (pcs, [0.5, 0.0, 1.0, 0.0]),
        # the entropy of (.7, .2, .1) is 0.8018 nats, that of (.5, .5, 0) is ln 2
        (softmax_entropy, [1 - 0.8018185525433373 / math.log(3), 1 - math.log(2) / math.log(3), 1.0, 0.0]),
    ],
)
@pytest.mark.parametrize("logits", [True, False])
def test_what_a_score_is_by_hand(score: ClassScore, expected: list[float], logits: bool) -> None:
    rows = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [1 / 3, 1 / 3, 1 / 3]])
    with np.errstate(divide="ignore"):
        given = np.log(rows) + 3.0 if logits else rows
    assert score(given, logits=logits) == pytest.approx(expected, abs=1e-12)


@OF_CLASSES
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1e308, -1e308], 1.0),
        ([1.7e308, -1.7e308, -1.7e308], 1.0),
        ([-1e308, 0.0], 1.0),
        ([0.0, -math.inf], 1.0),
        ([-1e308, -1e308], None),
        ([1e308, 1e308], None),
    ],
)
def test_extreme_logits_overflow_nowhere(score: ClassScore, row: list[float], expected: float | None) -> None:
    even = 0.5 if score is max_softmax else 0.0
    assert score(np.array([row]), logits=True).tolist() == [even if expected is None else expected]


@OF_CLASSES
@pytest.mark.parametrize(
    "row",
    [
        [math.nan, math.nan],
        [math.nan, 5.0],
        [5.0, math.nan],
        [math.inf, 0.0],
        [math.inf, math.inf],
        [math.inf, -math.inf],
        [-math.inf, -math.inf],
        [math.nan, math.inf],
    ],
)
def test_a_row_without_a_softmax_has_no_score_and_spoils_no_other(score: ClassScore, row: list[float]) -> None:
    scores = score(np.array([row, [1.0, 1.0]]), logits=True)
    assert math.isnan(scores[0])
    assert scores[1] == (0.5 if score is max_softmax else 0.0)


@OF_CLASSES
@pytest.mark.parametrize("row", [[math.nan, math.nan], [math.nan, 1.0], [1.0, math.nan]])
def test_probabilities_with_nan_have_no_score(score: ClassScore, row: list[float]) -> None:
    scores = score(np.array([row, [0.0, 1.0]]), logits=False)
    assert math.isnan(scores[0])
    assert scores[1] == 1.0


@OF_CLASSES
@pytest.mark.parametrize(
    ("row", "match"),
    [
        ([3.0, 1.0], r"must lie in 0\.\.1"),
        ([-2.0, 0.5], r"must lie in 0\.\.1"),
        ([math.inf, 0.0], r"must lie in 0\.\.1"),
        ([-math.inf, 1.0], r"must lie in 0\.\.1"),
        ([0.9, 0.9], "must sum to 1, not 1.8"),
        ([0.0, 0.0], "must sum to 1, not 0"),
        ([0.97, 0.0], "must sum to 1, not 0.97"),
    ],
)
def test_probabilities_that_are_none_are_refused(score: ClassScore, row: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        score(np.array([[0.5, 0.5], row]), logits=False)


@OF_CLASSES
def test_probabilities_that_stray_by_rounding_stay_in_range(score: ClassScore) -> None:
    assert score(np.array([[-0.0005, 1.0005], [0.0, 0.99]]), logits=False) == pytest.approx([1.0, 1.0], abs=0.011)
    assert score(np.array([[-0.0005, 1.0005], [0.0, 0.99]]), logits=False).max() <= 1.0


@OF_CLASSES
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("shape", [(0,), (3,), (3, 0), (3, 1), (3, 2, 2), ()])
def test_outputs_of_another_shape_are_refused(score: ClassScore, logits: bool, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(n, classes\)"):
        score(np.ones(shape), logits=logits)


@OF_CLASSES
def test_no_rows_have_no_scores(score: ClassScore) -> None:
    assert score(np.zeros((0, 3)), logits=True).shape == (0,)
    assert score(np.zeros((0, 3)), logits=False).shape == (0,)


def test_the_margin_of_close_logits_is_not_rounded_away() -> None:
    assert pcs(np.array([[0.0, -1e-13]]), logits=True)[0] == pytest.approx(0.5e-13, rel=1e-9, abs=0.0)


@OF_CLASSES
@pytest.mark.parametrize("kind", ["float16", "float32", "int64"])
def test_any_numbers_are_read_as_float64(score: ClassScore, kind: Any) -> None:
    scores = score(np.array([[2, 0], [0, 4]]).astype(kind), logits=True)
    assert scores.dtype == np.float64
    assert scores.tolist() == score(np.array([[2.0, 0.0], [0.0, 4.0]]), logits=True).tolist()


def test_the_page_about_scores_names_every_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "scores.md"
    table = page.read_text().split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in rows] == list(SCORES)


def test_the_probability_of_the_label_that_was_answered() -> None:
    rows = np.array([[0.7, 0.1], [0.2, 0.3], [1.0 + 1e-9, 0.0]])
    assert SCORES["label_softmax"].compute(rows, np.array([0, 0, 0])).tolist() == [0.7, 0.2, 1.0]
    with pytest.raises(ValueError, match="must lie in"):
        SCORES["label_softmax"].compute(np.array([[1.5, 0.0]]), np.array([0]))
