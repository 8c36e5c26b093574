from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from bisupervised.agents.supervision.joint import JointModel, Scale, fit_joint
from bisupervised.agents.supervision.recording import Recording, Side
from scipy.optimize import minimize
from support.two_models import two_models


@pytest.fixture(scope="module")
def model() -> JointModel:
    return fit_joint(two_models(4000))


def test_a_law_that_is_known_is_found(model: JointModel) -> None:
    """Two answers of two that are independently right with chance a and b: Bayes says how likely either is."""
    a, b = np.array([0.6, 0.6, 0.9, 0.9, 0.75]), np.array([0.6, 0.9, 0.6, 0.9, 0.95])
    agree = a * b / (a * b + (1 - a) * (1 - b))
    differ = (1 - a) * b / ((1 - a) * b + a * (1 - b))
    assert model.both_correct(a, b, np.ones(5))[1] == pytest.approx(agree, abs=0.08)
    assert model.both_correct(a, b, np.zeros(5))[1] == pytest.approx(differ, abs=0.08)
    assert model.both_correct(a, b, np.zeros(5))[0] == pytest.approx(1 - differ, abs=0.08)


def test_each_score_speaks_for_its_own_answer(model: JointModel) -> None:
    grid, middle, differ = np.linspace(0.55, 0.95, 9), np.full(9, 0.75), np.zeros(9)
    assert (np.diff(model.both_correct(middle, grid, differ)[1]) > 0).all()
    assert (np.diff(model.both_correct(grid, middle, differ)[1]) < 0).all()
    assert (np.diff(model.both_correct(grid, middle, differ)[0]) > 0).all()


def test_estimates_are_calibrated_on_fresh_inputs(model: JointModel) -> None:
    fresh = two_models(20000, seed=1)
    estimates = model.both_correct(fresh.local.scores, fresh.remote.scores, fresh.agreement)[1]
    for low in (0.1, 0.3, 0.5, 0.7, 0.9):
        inside = (estimates >= low) & (estimates < low + 0.1)
        assert abs(estimates[inside].mean() - fresh.remote.correct[inside].mean()) < 0.05


def test_a_score_beyond_all_that_was_seen_counts_as_the_outermost(model: JointModel) -> None:
    seen = two_models(4000)
    extremes = [seen.remote.scores.min(), seen.remote.scores.max()]
    assert np.array_equal(
        model.both_correct([0.7, 0.7], [-math.inf, math.inf], [0, 0])[1],
        model.both_correct([0.7, 0.7], extremes, [0, 0])[1],
    )


def test_a_missing_score_has_no_estimate(model: JointModel) -> None:
    assert np.isnan(model.both_correct([0.7, math.nan], [math.nan, 0.7], [1, 1])[1]).all()


def test_agreement_is_needed_where_it_was_fitted_and_ignored_where_not(model: JointModel) -> None:
    with pytest.raises(ValueError, match="needs to know which agree"):
        model.both_correct([0.7], [0.7])[1]
    blind = fit_joint(two_models(600, known=False))
    assert not blind.agreement
    assert np.array_equal(blind.both_correct([0.7], [0.7])[1], blind.both_correct([0.7], [0.7], [True])[1])


def one_class(right: bool) -> Recording:
    known = two_models(600)
    marks = np.full(600, right)
    return Recording(known.local, Side(known.remote.scores, marks))


def constant() -> Recording:
    known = two_models(600)
    return Recording(Side(np.full(600, 0.7), known.local.correct), Side(known.remote.scores, known.remote.correct))


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (two_models(199), "199 labelled inputs are too few"),
        (two_models(600)[:0], "0 labelled inputs are too few"),
        (one_class(True), "600 of 600 remote answers are right"),
        (one_class(False), "0 of 600 remote answers are right"),
        (constant(), "all local scores are equal"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(recording: Recording, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_joint(recording)


def test_a_fit_that_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_steps(*args: Any, options: dict[str, Any], **kwargs: Any) -> Any:
        return minimize(*args, options={**options, "maxiter": 2}, **kwargs)

    monkeypatch.setattr("scipy.optimize.minimize", two_steps)
    with pytest.raises(ValueError, match="cannot be fitted"):
        fit_joint(two_models(600))


def test_classes_that_can_be_told_apart_leave_weights_finite() -> None:
    known = two_models(600, known=False)
    apart = Recording(known.local, Side(known.remote.scores, known.remote.scores > 0.75))
    estimates = fit_joint(apart).both_correct(apart.local.scores, apart.remote.scores)[1]
    assert ((estimates > 0.5) == apart.remote.correct).mean() > 0.97


@pytest.mark.parametrize(
    ("knots", "ranks"),
    [
        ((0.0,), (0.0,)),
        ((0.0, 1.0), (0.0,)),
        ((1.0, 0.0), (-1.0, 1.0)),
        ((0.0, math.inf), (-1.0, 1.0)),
        ((0.5, 0.5), (0.0, 1.0)),
    ],
)
def test_a_scale_that_is_damaged_is_refused(knots: tuple[float, ...], ranks: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="scale"):
        Scale(knots, ranks)


@pytest.mark.parametrize("weights", [(), (0.0,) * 15, (0.0,) * 29 + (math.nan,)])
def test_a_model_with_other_weights_is_refused_when_read(model: JointModel, weights: tuple[float, ...]) -> None:
    document = msgspec.to_builtins(model) | {"remote_weights": weights}
    with pytest.raises((ValueError, msgspec.ValidationError), match="30 finite weights"):
        msgspec.convert(document, JointModel)
