"""The learned score: what it is fitted to, and what it makes of answers, one or a million of them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from bisupervised.agents.answers import Besides, ClassReading, read_classes, read_tokens, unreadable
from bisupervised.agents.supervision.choosing.evidence import Evidence
from bisupervised.agents.supervision.choosing.heads import (
    FOLDS,
    RIDGE,
    apply_deferral,
    class_gains,
    fit_deferral,
    out_of_fold,
)
from bisupervised.agents.supervision.learned.deferral import DeferralModel, class_features, length_of
from bisupervised.agents.supervision.learned.logistic import ridge_logistic
from bisupervised.agents.supervision.recording import Recording, Side
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from support.recorded import of_classes


def fitted(n: int = 1500, seed: int = 0) -> tuple[DeferralModel, Recording, Evidence]:
    recording, evidence = of_classes(n, seed, hidden=0.6)
    return fit_deferral(recording, evidence, 0), recording, evidence


def of_tokens(n: int = 600, seed: int = 0) -> tuple[Recording, Evidence]:
    chance = np.random.default_rng(seed)
    mean = chance.beta(4, 2, n)
    sides = [Side(mean, chance.random(n) < mean), Side(chance.random(n), chance.random(n) < 0.8)]
    return Recording(*sides), Evidence({"token_mean": mean, "token_min": mean * chance.random(n)})


@pytest.mark.parametrize("ridge", [0.1, 1.0, 30.0])
def test_the_regression_is_that_of_scikit_learn(ridge: float) -> None:
    chance = np.random.default_rng(1)
    features = chance.normal(size=(400, 5))
    correct = chance.random(400) < 1 / (1 + np.exp(-features @ np.array([1.0, -2.0, 0.5, 0.0, 0.3])))
    oracle = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=1000).fit(features, correct)
    found = ridge_logistic(np.column_stack((np.ones(400), features)), correct, ridge)
    assert found == pytest.approx([*oracle.intercept_, *oracle.coef_[0]], abs=1e-4)


def test_the_score_is_the_difference_of_two_regressions_on_standardised_features() -> None:
    """Against scikit-learn, on features that are put together here; the gain of the class is out of fold."""
    model, recording, evidence = fitted()
    assert evidence.probabilities is not None
    assert evidence.lengths is not None
    chance = np.random.default_rng(1)
    fold, answered = chance.permutation(len(recording)) % FOLDS, evidence.probabilities.argmax(axis=1)
    gains = np.empty(len(recording))
    for number in range(FOLDS):
        others = fold != number
        gains[~others] = class_gains(recording[others], answered[others], 4)[answered[~others]]
    columns = [*class_features(evidence.probabilities), gains, np.log1p(evidence.lengths)]
    features = np.column_stack(columns)
    assert model.means == pytest.approx(features.mean(axis=0))
    assert model.scales == pytest.approx(features.std(axis=0))
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    whole = class_gains(recording, answered, 4)
    applied = (np.column_stack([*columns[:-2], whole[answered], columns[-1]]) - model.means) / model.scales
    local, remote = (
        LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=2000).fit(scaled, side.correct).predict_proba(applied)[:, 1]
        for side in (recording.local, recording.remote)
    )
    assert apply_deferral(model, evidence) == pytest.approx(local - remote, abs=1e-4)


def test_the_features_of_a_row_are_those_that_are_documented() -> None:
    found = [float(feature[0]) for feature in class_features(np.array([[0.2, 0.5, 0.3, 0.0]]))]
    entropy = -(0.2 * np.log(0.2) + 0.5 * np.log(0.5) + 0.3 * np.log(0.3))
    logs = np.log([0.5, 0.3, 0.2])
    assert found == pytest.approx([0.5, 0.2, 1 - entropy / np.log(4), *logs, logs[0] - logs[1]])
    assert len(class_features(np.array([[0.2, 0.8]]))) == 6, "two classes have two logarithms"


def test_the_gain_of_a_class_is_shrunken_to_the_mean() -> None:
    right = [np.array([1, 1, 0, 0], dtype=bool), np.array([0, 1, 1, 1], dtype=bool)]
    recording = Recording(*(Side(np.zeros(4), marks) for marks in right))
    mean = (1 + 0 - 1 - 1) / 4
    gains = class_gains(recording, np.array([0, 0, 1, 1], dtype=np.intp), 3)
    assert gains == pytest.approx([(1 + 10 * mean) / 12, (-2 + 10 * mean) / 12, mean])


def test_one_row_and_many_give_the_same_bits() -> None:
    model, _, evidence = fitted()
    together = apply_deferral(model, evidence)
    alone = [apply_deferral(model, evidence[row : row + 1])[0] for row in range(200)]
    assert together[:200].tolist() == alone


def test_a_model_comes_back_from_json_and_scores_to_the_last_bit() -> None:
    model, _, evidence = fitted()
    again = msgspec.json.decode(msgspec.json.encode(model), type=DeferralModel)
    assert again == model
    assert apply_deferral(again, evidence).tolist() == apply_deferral(model, evidence).tolist()


def test_a_row_with_nan_has_no_score_and_spoils_no_other() -> None:
    model, _, evidence = fitted()
    assert evidence.probabilities is not None
    table = evidence.probabilities[:3].copy()
    table[1, 2] = np.nan
    found = model.of_classes(table, np.full(3, 50.0))
    assert np.isnan(found).tolist() == [False, True, False]


def test_an_input_without_a_length_counts_as_one_of_mean_length() -> None:
    model, _, evidence = fitted()
    assert evidence.probabilities is not None
    mean = np.full(5, np.expm1(model.means[-1]))
    unknown = model.of_classes(evidence.probabilities[:5], np.full(5, np.nan))
    assert unknown == pytest.approx(model.of_classes(evidence.probabilities[:5], mean), abs=1e-9)
    assert unknown.tolist() == model.of_classes(evidence.probabilities[:5]).tolist()


def test_out_of_fold_no_label_has_a_part_in_its_own_score() -> None:
    recording, evidence = of_classes(600, 3)
    before = out_of_fold(recording, evidence, 5)
    fold = np.random.default_rng(5).permutation(600) % FOLDS
    marks = recording.local.correct.copy()
    marks[fold == 2] ^= True
    changed = Recording(Side(recording.local.scores, marks), recording.remote)
    after = out_of_fold(changed, evidence, 5)
    assert after[fold == 2].tolist() == before[fold == 2].tolist()
    assert after[fold != 2].tolist() != before[fold != 2].tolist()


def test_token_scores_are_read_by_name() -> None:
    recording, evidence = of_tokens()
    model = fit_deferral(recording, evidence, 0)
    assert (model.reads, model.scores, model.length) == ("tokens", ("token_mean", "token_min"), False)
    logprobs = [[-0.1, -0.5], [-0.3]]
    answers = read_tokens([("a", logprobs[0]), ("b", logprobs[1])], 2, "token_mean", model)
    by_hand = {"token_mean": np.exp([-0.3, -0.3]), "token_min": np.exp([-0.5, -0.3])}
    assert [answer.score for answer in answers] == model.of_tokens(by_hand).tolist()
    with pytest.raises(ValueError, match=r"missing are \['token_min'\]"):
        model.of_tokens({"token_mean": np.array([0.5])})


@pytest.mark.parametrize("logits", [True, False])
def test_the_stream_scores_as_it_is_scored_offline(logits: bool) -> None:
    model, _, evidence = fitted()
    assert evidence.probabilities is not None
    table = evidence.probabilities[:50] / evidence.probabilities[:50].sum(axis=1, keepdims=True)
    outputs = np.log(table) if logits else table
    answers = read_classes(outputs, 50, ClassReading(logits, evidence.labels), model, Besides(np.full(50, 7.0)))
    assert [answer.score for answer in answers] == pytest.approx(model.of_classes(table, np.full(50, 7.0)), abs=1e-9)
    assert answers[0].prediction == evidence.labels[int(table[0].argmax())]


def test_other_classes_than_the_model_knows_are_refused() -> None:
    model, _, evidence = fitted()
    with pytest.raises(ValueError, match=r"the probabilities of 4 classes \(class 0, .*not 3 classes"):
        model.of_classes(np.full((2, 3), 1 / 3))
    others = Evidence({}, evidence.probabilities, ("a", "b", "c", "d"), evidence.lengths)
    with pytest.raises(ValueError, match="other classes are recorded"):
        apply_deferral(model, others)


@pytest.mark.parametrize(
    ("output", "samples", "labels", "keys"),
    [
        ("logits", 1, ("class 0", "class 1", "class 2", "class 3"), []),
        ("probabilities", 1, None, []),
        ("tokens", 1, None, ["output"]),
        ("scored", 3, (), ["output", "samples", "labels"]),
        ("logits", 1, ("class 1", "class 0", "class 2", "class 3"), ["labels"]),
    ],
)
def test_what_a_model_does_not_say_is_told_by_the_setting(
    output: str, samples: int, labels: tuple[str, ...] | None, keys: list[str]
) -> None:
    model, _, _ = fitted()
    found = unreadable(model, output, samples, labels)  # type: ignore[arg-type]  # one of the names of an output
    assert [key for key, _ in found] == keys
    assert all("reads the probabilities of 4 classes" in text for _, text in found)


def test_unnamed_classes_are_compared_by_their_number() -> None:
    recording, evidence = of_classes(600, 0)
    model = fit_deferral(recording, Evidence({}, evidence.probabilities), 0)
    assert unreadable(model, "logits", 1, ()) == []
    assert unreadable(model, "logits", 1, ("a", "b", "c", "d")) == []
    assert [key for key, _ in unreadable(model, "logits", 1, ("a", "b", "c"))] == ["labels"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"gains": (0.1,)}, "two classes or more"),
        ({"scores": ("token_mean",)}, "two classes or more, or token scores"),
        ({"labels": ("a", "b")}, "a label for each of its 4 classes"),
        ({"means": (0.0,)}, "has as many means"),
        ({"local_weights": (0.0, 1.0)}, "has as many means"),
        ({"scales": (0.0,) * 9}, "above 0"),
        ({"gains": (0.1, 0.2, 0.3, float("nan"))}, "finite"),
    ],
)
def test_numbers_that_do_not_belong_together_are_refused(change: dict[str, object], match: str) -> None:
    model, _, _ = fitted()
    with pytest.raises(ValueError, match=match):
        msgspec.convert(msgspec.to_builtins(model) | change, DeferralModel)


@pytest.mark.parametrize(
    ("n", "evidence", "match"),
    [
        (500, Evidence(), "neither class probabilities nor token scores"),
        (60, None, "60 labelled inputs are too few"),
    ],
)
def test_too_little_to_learn_from_is_told(n: int, evidence: Evidence | None, match: str) -> None:
    recording, known = of_classes(n, 0)
    with pytest.raises(ValueError, match=match):
        fit_deferral(recording, evidence or known, 0)


def test_a_model_that_is_always_right_teaches_nothing() -> None:
    recording, evidence = of_classes(500, 0)
    always = Recording(recording.local, Side(recording.remote.scores, np.ones(500, dtype=bool)))
    with pytest.raises(ValueError, match="500 of 500 remote answers are right"):
        fit_deferral(always, evidence, 0)


@pytest.mark.parametrize(
    ("given", "length"),
    [
        ("héllo", 5),
        ("", 0),
        ([1, 2.5, None, True], 4),
        ([[1, 2], [3]], 3),
        (["ab", 1], 3),
        ({"a": "xyz", "b": [1]}, 4),
        (7, 1),
        (None, 1),
        ([], 0),
    ],
)
def test_the_length_of_an_input(given: object, length: int) -> None:
    assert length_of(given) == length


def drawn_rows(n: int) -> NDArray[np.float64]:
    return np.random.default_rng(n).dirichlet(np.ones(4), n)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 31, 64, 1000])
def test_the_place_of_a_row_in_its_batch_changes_nothing(n: int) -> None:
    model, _, _ = fitted()
    table = drawn_rows(1000)
    assert model.of_classes(table[-n:]).tolist() == model.of_classes(table)[-n:].tolist()
