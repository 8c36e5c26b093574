"""What holds of every score, whatever a model puts out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.class_scores import max_softmax
from bisupervised.agents.supervision.sample_scores import agreement, modal
from bisupervised.agents.supervision.scores import SCORES, fitting
from bisupervised.agents.supervision.temperature import fit_temperature, scaled
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

Table = NDArray[np.float64]
OF_CLASSES = pytest.mark.parametrize("score", [SCORES[name].compute for name in fitting("classes")])
OF_TOKENS = pytest.mark.parametrize("score", [SCORES[name].compute for name in fitting("tokens")])

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6)
#: finite or not, up to the ends of the range
ANY = arrays(np.float64, SHAPES, elements=st.floats(allow_nan=True, allow_infinity=True))
EXTREME = arrays(np.float64, SHAPES, elements=st.one_of(st.floats(-1e308, 1e308), st.sampled_from((-1e308, 1e308))))
USUAL = arrays(np.float64, SHAPES, elements=st.floats(-30.0, 30.0))
#: of a few values only, so that rows have ties
COARSE = arrays(np.float64, SHAPES, elements=st.integers(-3, 3).map(float))

LOGPROB = st.floats(max_value=0.0, min_value=-50.0)
ANSWERS = st.lists(st.lists(LOGPROB, min_size=1, max_size=8), max_size=6)
SAMPLE = st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from(("a", "b", "A")), st.lists(st.integers(0, 1)))
SAMPLES = st.lists(SAMPLE, min_size=2, max_size=9)


def softmax(logits: Table) -> Table:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@OF_CLASSES
@given(EXTREME)
def test_finite_logits_have_a_score_in_range(score: Callable[..., Table], logits: Table) -> None:
    scores = score(logits, logits=True)
    assert scores.shape == (len(logits),)
    assert ((scores >= 0.0) & (scores <= 1.0)).all()


@OF_CLASSES
@given(ANY)
def test_a_row_with_nan_or_an_infinite_top_has_none_and_any_other_has_one(
    score: Callable[..., Table], logits: Table
) -> None:
    scores = score(logits, logits=True)
    assert (np.isnan(scores) == ~np.isfinite(logits.max(axis=1))).all()
    assert ((scores >= 0.0) & (scores <= 1.0) | np.isnan(scores)).all()


@OF_CLASSES
@given(ANY)
def test_what_poses_as_probabilities_is_refused_or_scored_as_such(score: Callable[..., Table], table: Table) -> None:
    try:
        scores = score(table, logits=False)
    except ValueError:
        return
    known = ~np.isnan(table).any(axis=1)
    assert (np.isnan(scores) == ~known).all()
    assert (np.abs(table[known].sum(axis=1) - 1.0) <= 0.02).all()
    assert ((scores[known] >= 0.0) & (scores[known] <= 1.0)).all()


@OF_CLASSES
@given(USUAL)
def test_probabilities_and_logits_of_one_distribution_agree(score: Callable[..., Table], logits: Table) -> None:
    assert score(softmax(logits), logits=False) == pytest.approx(score(logits, logits=True), abs=1e-9)


@OF_CLASSES
@given(COARSE, st.integers(-(2**40), 2**40))
def test_what_is_added_to_all_logits_of_a_row_changes_nothing(
    score: Callable[..., Table], logits: Table, shift: int
) -> None:
    assert score(logits + shift, logits=True).tolist() == score(logits, logits=True).tolist()


@OF_CLASSES
@given(USUAL, st.randoms(use_true_random=False))
def test_the_order_of_classes_and_of_rows_does_not_matter(
    score: Callable[..., Table], logits: Table, rng: random.Random
) -> None:
    scores = score(logits, logits=True)
    classes = rng.sample(range(logits.shape[1]), logits.shape[1])
    assert score(logits[:, classes], logits=True) == pytest.approx(scores, abs=1e-12)
    rows = rng.sample(range(len(logits)), len(logits))
    assert score(logits[rows], logits=True) == pytest.approx(scores[rows], abs=1e-12)


@OF_CLASSES
@given(USUAL, st.floats(0.0, 10.0))
def test_the_higher_the_winner_the_higher_the_score(score: Callable[..., Table], logits: Table, more: float) -> None:
    raised = logits.copy()
    raised[np.arange(len(logits)), logits.argmax(axis=1)] += more
    assert (score(raised, logits=True) >= score(logits, logits=True) - 1e-12).all()


@OF_CLASSES
@given(USUAL, st.floats(0.01, 100.0), st.floats(1.0, 100.0))
def test_the_higher_the_temperature_the_lower_the_score(
    score: Callable[..., Table], logits: Table, temperature: float, times: float
) -> None:
    cool = score(scaled(logits, temperature), logits=True)
    assert (score(scaled(logits, temperature * times), logits=True) <= cool + 1e-12).all()


@given(COARSE, st.data())
def test_a_fitted_temperature_is_the_best_or_there_is_none(logits: Table, data: st.DataObject) -> None:
    labels = np.array(
        data.draw(st.lists(st.integers(0, logits.shape[1] - 1), min_size=len(logits), max_size=len(logits)))
    )
    assume(len(set(labels.tolist())) > 1)

    def loss(temperature: float) -> float:
        table = scaled(logits, temperature)
        return float((np.log(np.exp(table).sum(axis=1)) - table[np.arange(len(labels)), labels]).mean())

    grid = np.geomspace(1e-3, 1e3, 61).tolist()
    try:
        fitted = fit_temperature(logits, labels)
    except ValueError:
        losses = [loss(temperature) for temperature in grid]
        assert min(losses) >= min(losses[0], losses[-1]) - 1e-9, "no better one lies between the ends"
        return
    assert all(loss(fitted) <= loss(temperature) + 1e-9 for temperature in grid)


@OF_TOKENS
@given(ANSWERS)
def test_log_probabilities_have_a_score_in_range(score: Callable[..., Table], answers: list[list[float]]) -> None:
    scores = score(answers)
    assert scores.shape == (len(answers),)
    assert ((scores >= 0.0) & (scores <= 1.0)).all()


@given(ANSWERS)
def test_the_product_is_below_the_least_and_that_below_mean_and_first(answers: list[list[float]]) -> None:
    product, least, mean, first = (
        SCORES[name].compute(answers) for name in ("token_product", "token_min", "token_mean", "token_first")
    )
    assert (product <= least * (1 + 1e-12)).all()
    assert (least <= mean * (1 + 1e-12)).all()
    assert (least <= first).all()


@OF_TOKENS
@given(st.lists(LOGPROB, min_size=1, max_size=8), st.data())
def test_the_likelier_a_token_the_higher_the_score(
    score: Callable[..., Table], tokens: list[float], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(tokens) - 1))
    raised = [*tokens[:place], data.draw(st.floats(tokens[place], 0.0)), *tokens[place + 1 :]]
    before, after = score([tokens, raised])
    assert after >= before * (1 - 1e-12)


@pytest.mark.parametrize("name", ["token_mean", "token_min", "token_product"])
@given(st.lists(LOGPROB, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_tokens_matters_to_the_first_only(name: str, tokens: list[float], rng: random.Random) -> None:
    shuffled = rng.sample(tokens, len(tokens))
    assert SCORES[name].compute([shuffled]) == pytest.approx(SCORES[name].compute([tokens]), rel=1e-9)


@OF_TOKENS
@given(
    st.lists(LOGPROB, max_size=5),
    st.sampled_from((math.nan, None, -9999.0, -math.inf)),
    st.lists(LOGPROB, max_size=5),
)
def test_an_unknown_token_anywhere_leaves_no_score(
    score: Callable[..., Table], before: list[float], unknown: float | None, after: list[float]
) -> None:
    scores = score([[*before, unknown, *after], [0.0]])
    assert math.isnan(scores[0])
    assert scores[1] == 1.0


@OF_TOKENS
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=5))
def test_whatever_is_no_log_probability_is_refused_or_has_no_score(
    score: Callable[..., Table], tokens: list[float]
) -> None:
    known = bool(tokens) and all(-9999.0 < token <= 1e-3 for token in tokens)
    try:
        [value] = score([tokens])
    except ValueError:
        assert any(token > 1e-3 for token in tokens)
        return
    assert math.isfinite(value) == known


@given(SAMPLES, st.randoms(use_true_random=False))
def test_agreement_is_a_share_that_the_order_of_samples_does_not_change(samples: list[Any], rng: random.Random) -> None:
    [share] = agreement([samples])
    assert 1 / len(samples) <= share <= 1.0
    assert agreement([rng.sample(samples, len(samples))]).tolist() == [share]


@given(SAMPLES)
def test_the_modal_answer_is_one_of_the_samples_and_as_frequent_as_agreement_says(samples: list[Any]) -> None:
    [answer], [share] = modal([samples]), agreement([samples])
    same = [sample for sample in samples if sample == answer and type(sample) is type(answer)]
    assert len(same) / len(samples) == pytest.approx(share)
    for sample in samples:
        others = [other for other in samples if other == sample and type(other) is type(sample)]
        assert len(others) <= len(same)


@given(SAMPLES)
def test_one_more_vote_for_the_modal_answer_never_lowers_agreement(samples: list[Any]) -> None:
    [answer], [share] = modal([samples]), agreement([samples])
    assert agreement([[*samples, answer]])[0] >= share


@given(SAMPLES, st.sampled_from((None, math.nan)), st.integers(0, 9))
def test_a_missing_sample_anywhere_leaves_no_score(samples: list[Any], missing: float | None, place: int) -> None:
    assert math.isnan(agreement([[*samples[:place], missing, *samples[place:]]])[0])


@given(USUAL)
def test_the_highest_probability_is_what_a_plain_softmax_says(logits: Table) -> None:
    assert max_softmax(logits, logits=True) == pytest.approx(softmax(logits).max(axis=1))
