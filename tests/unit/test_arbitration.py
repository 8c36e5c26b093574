from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.arbitration import (
    Estimates,
    arbitrate,
    cross_validated,
    estimate,
    estimate_recording,
    judged,
)
from bisupervised.agents.supervision.joint import fit_joint
from bisupervised.agents.supervision.recording import Recording, Side
from support.two_models import two_models

ESTIMATES = Estimates(np.array([0.9, 0.3, 0.5, 0.8]), np.array([0.4, 0.7, 0.5, 0.6]))


def recording() -> Recording:
    return Recording(
        Side(np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, False, True, True]), np.array([1, 0, 1, 1])),
        Side(np.array([0.5, 0.6, 0.7, 0.8]), np.array([False, True, False, True]), np.array([0, 1, 0, 1])),
    )


def test_the_likelier_is_taken_and_a_tie_is_the_remotes() -> None:
    taken = arbitrate(ESTIMATES)
    assert taken.local.tolist() == [True, False, False, True]
    assert taken.score.tolist() == [0.9, 0.7, 0.5, 0.8]


def test_where_both_say_the_same_nothing_changes() -> None:
    taken = arbitrate(Estimates(ESTIMATES.local, ESTIMATES.remote, recording().agreement))
    assert taken.local.tolist() == [True, False, False, False]
    assert taken.score.tolist() == [0.9, 0.7, 0.5, 0.6]


def test_neither_addition_leaves_the_recording_as_it_was() -> None:
    same = judged(recording(), ESTIMATES, joint=False, arbitration=False)
    assert same.remote.scores.tolist() == recording().remote.scores.tolist()
    assert same.remote.correct.tolist() == recording().remote.correct.tolist()


def test_the_joint_score_alone_keeps_the_remotes_answers() -> None:
    seen = judged(recording(), ESTIMATES, joint=True, arbitration=False)
    assert seen.remote.scores.tolist() == ESTIMATES.remote.tolist()
    assert seen.remote.correct.tolist() == [False, True, False, True]


@pytest.mark.parametrize(("joint", "scores"), [(True, [0.9, 0.7, 0.5, 0.8]), (False, [0.5, 0.6, 0.7, 0.8])])
def test_arbitration_takes_answers_and_their_marks(joint: bool, scores: list[float]) -> None:
    seen = judged(recording(), ESTIMATES, joint=joint, arbitration=True)
    assert seen.remote.scores.tolist() == scores
    assert seen.remote.correct.tolist() == [True, True, False, True]
    assert seen.remote.predictions is not None
    assert seen.remote.predictions.tolist() == [1, 1, 0, 1]
    assert np.array_equal(seen.local.scores, recording().local.scores)


def test_a_model_fitted_without_the_answers_knows_no_agreement() -> None:
    blind, known = fit_joint(two_models(600, known=False)), fit_joint(two_models(600))
    agreement = np.array([True])
    assert estimate(blind, [0.9], [0.6], agreement).agreement is None
    assert estimate(known, [0.9], [0.6], agreement).agreement is agreement


def test_every_fold_is_judged_by_a_model_that_has_not_seen_it() -> None:
    known = two_models(900)
    fold = np.random.default_rng(3).permutation(900) % 3
    found = cross_validated(known, folds=3, seed=3)
    for number in range(3):
        fresh = estimate_recording(fit_joint(known[fold != number]), known[fold == number])
        assert np.array_equal(found.remote[fold == number], fresh.remote)
        assert np.array_equal(found.local[fold == number], fresh.local)


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="two folds or more"):
        cross_validated(two_models(900), folds=1)
