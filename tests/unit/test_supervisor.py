from __future__ import annotations

import math

import numpy as np
import pytest
from bisupervised.agents.answers import Answer, ClassReading, read_classes
from bisupervised.agents.supervision.scores import SCORES, max_softmax, predictions, usable
from bisupervised.agents.supervision.supervisor import Supervisor


@pytest.mark.parametrize(
    ("score", "trusted"),
    [
        (0.9, True),
        (0.8, True),
        (math.nextafter(0.8, 0.0), False),
        (0.0, False),
        (None, False),
        (math.nan, False),
        (math.inf, True),
        (-math.inf, False),
    ],
)
def test_only_a_score_below_the_threshold_or_none_is_not_trusted(score: float | None, trusted: bool) -> None:
    assert Supervisor("max_softmax", 0.8).trusts(score) is trusted


def test_max_softmax_of_logits_is_the_largest_softmax() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert max_softmax(logits, logits=True) == pytest.approx(softmax.max(axis=1))


@pytest.mark.parametrize(
    ("row", "score"),
    [
        ([1e4, -1e4], 1.0),
        ([-1e4, -1e4], 0.5),
        ([1.7e308, -1.7e308], 1.0),
        ([0.0, -math.inf], 1.0),
    ],
)
def test_max_softmax_stands_extreme_logits(row: list[float], score: float) -> None:
    assert max_softmax(np.array([row]), logits=True).tolist() == [score]


@pytest.mark.parametrize("logits", [True, False])
def test_a_row_with_nan_has_no_score_and_spoils_no_other(logits: bool) -> None:
    scores = max_softmax(np.array([[math.nan, 0.5], [0.5, 0.5]]), logits=logits)
    assert math.isnan(scores[0])
    assert scores[1] == 0.5


def test_an_infinite_logit_has_no_score() -> None:
    assert math.isnan(max_softmax(np.array([[math.inf, 0.0]]), logits=True)[0])


def test_max_softmax_of_probabilities_is_the_largest() -> None:
    scores = max_softmax(np.array([[0.1, 0.9], [0.6, 0.4]], dtype=np.float32), logits=False)
    assert scores.dtype == np.float64
    assert scores == pytest.approx([0.9, 0.6])


def test_a_probability_slightly_above_one_is_one() -> None:
    assert max_softmax(np.array([[0.0, 1.0005]]), logits=False).tolist() == [1.0]


@pytest.mark.parametrize("row", [[3.0, 1.0], [-2.0, 0.5]])
def test_logits_that_pose_as_probabilities_are_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        max_softmax(np.array([row]), logits=False)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2, 2)])
def test_outputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(n, classes\)"):
        max_softmax(np.zeros(shape), logits=True)


def test_predictions_are_the_largest_class_the_first_of_equals() -> None:
    assert predictions(np.array([[0.1, 0.9], [0.5, 0.5]])).tolist() == [1, 0]


def test_every_score_says_what_it_is() -> None:
    for name, score in SCORES.items():
        assert score.name == name
        assert score.direction == "higher is more trustworthy"
        assert score.input
        assert score.source


@pytest.mark.parametrize(
    ("given", "carried"),
    [(0.5, 0.5), (np.float32(0.5), 0.5), (1, 1.0), (None, None), (math.nan, None), (math.inf, None)],
)
def test_a_score_that_json_cannot_carry_is_none(given: object, carried: float | None) -> None:
    assert usable(given) == carried


def test_class_outputs_become_answers_in_order() -> None:
    outputs = np.array([[0.2, 0.8], [0.9, 0.1]])
    assert read_classes(outputs, 2, ClassReading(logits=False)) == [Answer(1, 0.8), Answer(0, 0.9)]
    named = read_classes(outputs, 2, ClassReading(logits=False, labels=("cat", "dog")))
    assert named == [Answer("dog", 0.8), Answer("cat", 0.9)]


def test_a_nan_row_becomes_an_answer_without_a_score() -> None:
    outputs = np.array([[math.nan, 0.8], [0.9, 0.1]])
    assert [answer.score for answer in read_classes(outputs, 2, ClassReading(logits=False))] == [None, 0.9]


@pytest.mark.parametrize("asked", [1, 3])
def test_more_or_fewer_rows_than_inputs_are_refused(asked: int) -> None:
    with pytest.raises(ValueError, match=f"2 answers to {asked} inputs"):
        read_classes(np.full((2, 2), 0.5), asked, ClassReading(logits=False))


def test_labels_must_name_every_class() -> None:
    with pytest.raises(ValueError, match="1 labels for 2 classes"):
        read_classes(np.full((1, 2), 0.5), 1, ClassReading(logits=False, labels=("cat",)))
