from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.scores import SCORES, fitting
from bisupervised.agents.supervision.token_scores import token_first, token_mean, token_min, token_product
from numpy.typing import NDArray

TokenScore = Callable[[Sequence[Any]], NDArray[np.float64]]
OF_TOKENS = pytest.mark.parametrize("score", [SCORES[name].compute for name in fitting("tokens")])
HALF, QUARTER, TENTH = math.log(0.5), math.log(0.25), math.log(0.1)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (token_mean, [0.25, 0.1, 1.0]),
        (token_min, [0.125, 0.1, 1.0]),
        (token_product, [0.0625, 0.1, 1.0]),
        (token_first, [0.5, 0.1, 1.0]),
    ],
)
def test_what_a_score_is_by_hand(score: TokenScore, expected: list[float]) -> None:
    ragged = [[HALF, math.log(0.125)], [TENTH], [0.0, 0.0, 0.0]]
    scores = score(ragged)
    assert scores.dtype == np.float64
    assert scores == pytest.approx(expected)


@OF_TOKENS
@pytest.mark.parametrize(
    "tokens",
    [
        [],
        None,
        (),
        np.array([]),
        [None],
        [HALF, None],
        [math.nan],
        [math.nan, math.nan],
        [0.0, math.nan],
        [-9999.0],
        [0.0, -9999.0],
        [-9999.0, 0.0],
        [0.0, -math.inf],
        [0.0, -1e308],
    ],
)
def test_an_answer_with_a_token_that_is_not_known_has_no_score(score: TokenScore, tokens: Any) -> None:
    scores = score([tokens, [HALF, HALF]])
    assert math.isnan(scores[0])
    assert scores[1] in (pytest.approx(0.5), pytest.approx(0.25))


@OF_TOKENS
@pytest.mark.parametrize(
    ("tokens", "match"),
    [
        ([0.9], "must be 0 or less, not 0.9"),
        ([HALF, 0.9], "must be 0 or less, not 0.9"),
        ([math.nan, 0.9], "must be 0 or less"),
        ([math.inf], "must be 0 or less, not inf"),
        ([[HALF], [HALF]], "one list of numbers"),
        ([[HALF], [HALF, HALF]], "sequence|inhomogeneous"),
        (["-0.5"], "one list of numbers"),
        ("abc", "could not convert|one list of numbers"),
        ([False], "one list of numbers"),
        ([HALF, False], "one list of numbers"),
    ],
)
def test_what_is_no_log_probability_is_refused(score: TokenScore, tokens: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        score([[HALF], tokens])


@OF_TOKENS
def test_a_list_that_is_not_ragged_at_all_is_refused(score: TokenScore) -> None:
    with pytest.raises(TypeError):
        score([HALF, HALF])


@OF_TOKENS
def test_a_log_probability_above_zero_by_rounding_is_zero(score: TokenScore) -> None:
    assert score([[1e-6]]).tolist() == [1.0]


@OF_TOKENS
def test_no_answers_have_no_scores(score: TokenScore) -> None:
    assert score([]).shape == (0,)


@OF_TOKENS
def test_a_very_long_answer_underflows_to_zero_and_not_beyond(score: TokenScore) -> None:
    [value] = score([[-9000.0] * 1000])
    assert value == 0.0


def test_arrays_are_taken_too() -> None:
    assert token_min(list(np.array([[HALF, QUARTER], [TENTH, HALF]], dtype=np.float32))) == pytest.approx([0.25, 0.1])
