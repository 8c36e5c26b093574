from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.sample_scores import agreement, modal


@pytest.mark.parametrize(
    ("samples", "answer", "share"),
    [
        (["cat", "cat", "dog"], "cat", 2 / 3),
        (["cat", "cat"], "cat", 1.0),
        (["dog", "cat", "cat", "dog"], "dog", 0.5),  # a tie: the earliest answer, the share of either
        (["cat", "dog", "dog", "cat", "ant"], "cat", 0.4),
        ([3, 1, 2], 3, 1 / 3),
        ([{"a": 1, "b": [2]}, {"b": [2], "a": 1}], {"a": 1, "b": [2]}, 1.0),
        ([1, True], 1, 0.5),
        (["Paris", "paris"], "Paris", 0.5),
        (["1", 1], "1", 0.5),
        ([np.int64(1), 1], 1, 1.0),
        ([""] * 3, "", 1.0),
    ],
)
def test_the_modal_answer_and_the_share_that_gives_it(samples: list[Any], answer: Any, share: float) -> None:
    assert agreement([samples]) == pytest.approx([share])
    assert modal([samples]) == [answer]


@pytest.mark.parametrize(
    ("samples", "answer"),
    [
        ([], None),
        (["cat"], "cat"),
        ([None], None),
        ([None, None], None),
        ([math.nan, math.nan], None),
        (["cat", None, "cat"], "cat"),
        ([math.nan, 1.0, 1.0], 1.0),
    ],
)
def test_too_few_samples_or_a_missing_one_have_no_score_and_spoil_no_other(samples: list[Any], answer: Any) -> None:
    scores = agreement([samples, ["a", "a"]])
    assert math.isnan(scores[0])
    assert scores[1] == 1.0
    assert modal([samples, ["a", "a"]]) == [answer, "a"]


@pytest.mark.parametrize("samples", ["cat", b"cat", 3, None, {"cat": 1}, {"cat"}])
def test_what_is_no_list_of_samples_is_refused(samples: Any) -> None:
    with pytest.raises(ValueError, match="must be a list of answers"):
        agreement([samples])
    with pytest.raises(ValueError, match="must be a list of answers"):
        modal([samples])


def test_a_sample_that_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        agreement([[object(), object()]])


def test_no_inputs_have_no_scores() -> None:
    assert agreement([]).shape == (0,)
    assert modal([]) == []


def test_an_array_of_predictions_is_taken_too() -> None:
    assert agreement(np.array([[1, 1, 0, 1], [2, 1, 0, 3]])).tolist() == [0.75, 0.25]  # type: ignore[arg-type]  # rows
