"""Thresholds from small recordings that can be counted by hand, and against loops over candidates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.calibration import (
    Feasible,
    Infeasible,
    both_promises,
    clopper_pearson,
    learn_then_test,
    local_threshold,
    most_misses,
    paper_rule,
)
from bisupervised.agents.supervision.recording import Recording, Side
from scipy.stats import binom
from support.samples import drawn, recording


@pytest.mark.parametrize(
    ("fraction", "threshold", "deferred"),
    [(0.0, 0.1, 0), (0.25, 0.2, 1), (0.49, 0.2, 1), (0.5, 0.3, 2), (0.99, 0.4, 3), (1.0, 0.4, 3)],
)
def test_the_local_threshold_defers_the_fraction(fraction: float, threshold: float, deferred: int) -> None:
    scores = [0.4, 0.1, 0.3, 0.2]
    found = local_threshold(scores, fraction)
    assert found == threshold
    assert sum(score < found for score in scores) == deferred


def test_equal_scores_are_not_parted() -> None:
    assert local_threshold([0.5, 0.5, 0.5, 0.9], 0.5) == 0.5


@pytest.mark.parametrize(
    ("scores", "match"),
    [([], "one local score"), ([0.5, math.nan], "without a score"), ([[0.5]], "one local score")],
)
def test_local_scores_that_are_none_are_refused(scores: list[Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        local_threshold(scores, 0.5)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="remote fraction"):
        local_threshold([0.5], fraction)


# the paper's rule


def by_hand() -> Recording:
    """One local answer is right; of the four deferred below 0.5, the remote has three right: FP + TN = 4."""
    return recording(
        [0.9, 0.1, 0.1, 0.1, 0.1],
        [True, True, False, False, False],
        [0.0, 0.2, 0.4, 0.6, 0.8],
        [False, True, False, True, True],
    )


@pytest.mark.parametrize(
    ("rate", "threshold"),
    [
        (0.0, 0.2),
        (0.25, 0.4),  # rejects the right answer at 0.2: 1 of 4
        (0.26, 0.8),  # rejects those at 0.2 and 0.6: 2 of 4
    ],
)
def test_the_papers_threshold_by_hand(rate: float, threshold: float) -> None:
    assert paper_rule(by_hand(), 0.5, rate) == Feasible(threshold)


def test_a_rate_that_no_candidate_reaches_is_infeasible_and_the_nearest_is_told() -> None:
    found = paper_rule(by_hand(), 0.5, 0.6)
    assert isinstance(found, Infeasible)
    assert found.nearest == 0.5
    assert isinstance(paper_rule(by_hand(), 0.5, found.nearest), Feasible)


def by_the_book(sample: Recording, at: float, rate: float) -> float:
    deferred = sample.local.scores < at
    scores, right = sample.remote.scores[deferred], sample.remote.correct[deferred]
    for candidate in np.sort(scores):
        false_positives = (right & (scores < candidate)).sum()
        true_negatives = sample.local.correct[~deferred].sum() + (right & (scores >= candidate)).sum()
        if false_positives / (false_positives + true_negatives) >= rate:
            return float(candidate)
    raise AssertionError("not in these cases")


@pytest.mark.parametrize("seed", range(20))
def test_the_papers_threshold_is_the_papers_loop(seed: int) -> None:
    sample = drawn(200, seed, digits=2)  # rounded scores: ties must be cut as the loop cuts them
    assert paper_rule(sample, 0.6, 0.1) == Feasible(by_the_book(sample, 0.6, 0.1))


@pytest.mark.parametrize(
    ("threshold", "right", "reasons"),
    [
        (0.0, True, ("nothing is deferred", "nothing is deferred", "nothing is deferred")),
        (0.5, False, ("no answer is right", "no deferred input is answered rightly", "1 of 1 trusted answers")),
    ],
)
def test_nothing_to_calibrate_on_is_infeasible(threshold: float, right: bool, reasons: tuple[str, ...]) -> None:
    """No target is named that could not be asked for: an error of 1, or a rate of 0."""
    sample = recording([0.1], [right], [0.5], [right])
    found = (
        paper_rule(sample, threshold, 0.1),
        clopper_pearson(sample, threshold, 0.1, 0.1),
        learn_then_test(sample, sample, threshold, 0.1, 0.1),
    )
    for made, reason in zip(found, reasons, strict=True):
        assert isinstance(made, Infeasible)
        assert reason in made.reason
        assert made.nearest is None


def test_a_rate_of_0_is_no_target_to_name() -> None:
    assert paper_rule(recording([0.1, 0.9], [True, True], [0.5, 0.5], [False, True]), 0.5, 0.1) == Infeasible(
        "even the highest remote score as threshold rejects too few right answers: too little is deferred"
    )


def test_no_inputs_are_an_error() -> None:
    empty = recording([], [], [], [])
    with pytest.raises(ValueError, match="no inputs"):
        paper_rule(empty, 0.5, 0.1)
    with pytest.raises(ValueError, match="no inputs"):
        clopper_pearson(empty, 0.5, 0.1, 0.1)
    with pytest.raises(ValueError, match="no inputs"):
        learn_then_test(empty, empty, 0.5, 0.1, 0.1)


@pytest.mark.parametrize("bad", [-0.1, 0.0, 1.0, math.nan])
def test_targets_outside_their_range_are_refused(bad: float) -> None:
    sample = drawn(50, 0)
    for target, delta in ((bad, 0.1), (0.1, bad)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            clopper_pearson(sample, 0.5, target, delta)
        with pytest.raises(ValueError, match="between 0 and 1"):
            learn_then_test(sample, sample, 0.5, target, delta)


# clopper-pearson


@pytest.mark.parametrize("n", [1, 10, 22, 23, 100, 1000, 12345])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_most_misses_is_the_last_that_the_binomial_allows(n: int, rate: float) -> None:
    k = most_misses(n, rate, 0.1)
    assert k == -1 or binom.cdf(k, n, rate) <= 0.1
    assert binom.cdf(k + 1, n, rate) > 0.1


def test_as_many_right_answers_are_rejected_as_are_allowed() -> None:
    sample = drawn(2000, 1)
    found = clopper_pearson(sample, 0.5, 0.1, 0.1)
    assert isinstance(found, Feasible)
    deferred = sample.local.scores < 0.5
    right = sample.remote.correct & deferred
    correct = int((sample.local.correct & ~deferred).sum() + right.sum())
    assert int((right & (sample.remote.scores < found.threshold)).sum()) == most_misses(correct, 0.1, 0.1)


def test_too_few_right_answers_certify_nothing_and_it_says_how_many_would() -> None:
    sample = recording([0.1] * 21, [False] * 21, [0.5] * 21, [True] * 21)
    found = clopper_pearson(sample, 0.5, 0.1, 0.1)
    assert isinstance(found, Infeasible)
    assert "22 are needed: take 1.1 times as many" in found.reason


def test_where_too_little_is_deferred_the_nearest_target_is_a_lower_one() -> None:
    locally = 1000
    sample = recording(
        [0.9] * locally + [0.1] * 5,
        [True] * (locally + 5),
        [0.5] * (locally + 5),
        [True] * (locally + 5),
    )
    found = clopper_pearson(sample, 0.5, 0.1, 0.1)
    assert isinstance(found, Infeasible)
    assert found.nearest is not None
    assert isinstance(clopper_pearson(sample, 0.5, found.nearest, 0.1), Feasible)
    assert isinstance(clopper_pearson(sample, 0.5, found.nearest + 2e-6, 0.1), Infeasible)


def test_where_one_right_answer_is_deferred_there_is_a_target_for_it() -> None:
    """The targets that fit are few here: none below what certifies no miss, none above what certifies one."""
    sample = recording([0.1] + [0.9] * 3, [False, True, True, True], [0.5] * 4, [True] + [False] * 3)
    for asked in (0.1, 0.9):
        found = clopper_pearson(sample, 0.5, asked, 0.1)
        assert isinstance(found, Infeasible)
        assert found.nearest is not None
        assert clopper_pearson(sample, 0.5, found.nearest, 0.1) == Feasible(0.5)


# learn then test


def test_learn_then_test_takes_the_lowest_threshold_that_is_certified() -> None:
    pilot, sample = drawn(4000, 2), drawn(4000, 3)
    found = learn_then_test(pilot, sample, 0.5, 0.3, 0.1)
    assert isinstance(found, Feasible)
    assert p_value(sample, found.threshold, 0.3) <= 0.1
    candidates = np.unique(pilot.remote.scores[pilot.local.scores < 0.5])
    lower = candidates[candidates < found.threshold]
    assert len(lower) == 0 or p_value(sample, float(lower[-1]), 0.3) > 0.1 or len(candidates) > 1000


def p_value(sample: Recording, threshold: float, error: float) -> float:
    deferred = sample.local.scores < 0.5
    accepted = deferred & (sample.remote.scores >= threshold)
    wrong = (~sample.local.correct & ~deferred).sum() + (~sample.remote.correct & accepted).sum()
    return float(binom.cdf(wrong, (~deferred).sum() + accepted.sum(), error))


def test_learn_then_test_takes_no_candidate_from_the_sample_it_tests_on() -> None:
    pilot, sample = drawn(500, 4), drawn(500, 5)
    found = learn_then_test(pilot, sample, 0.5, 0.4, 0.1)
    assert isinstance(found, Feasible)
    assert found.threshold in pilot.remote.scores
    assert found.threshold not in sample.remote.scores


def test_an_error_that_cannot_be_certified_says_which_could() -> None:
    pilot, sample = drawn(500, 6), drawn(500, 7)
    found = learn_then_test(pilot, sample, 0.5, 0.001, 0.1)
    assert isinstance(found, Infeasible)
    assert found.nearest is not None
    assert isinstance(learn_then_test(pilot, sample, 0.5, found.nearest, 0.1), Feasible)
    assert isinstance(learn_then_test(pilot, sample, 0.5, found.nearest - 2e-4, 0.1), Infeasible)


def test_a_recording_that_does_not_pair_up_is_refused() -> None:
    with pytest.raises(ValueError, match="pair up"):
        Recording(side([0.1, 0.2]), side([0.1]))
    with pytest.raises(ValueError, match="finite"):
        side([0.1, math.nan])
    with pytest.raises(ValueError, match="one score and one mark"):
        Side(np.zeros(2), np.zeros(3, dtype=bool))


def side(scores: list[float]) -> Side:
    return Side(np.array(scores), np.ones(len(scores), dtype=bool))


# both promises at once


@pytest.mark.parametrize("seed", range(5))
def test_both_promises_take_the_laxest_threshold_that_keeps_both(seed: int) -> None:
    """Each with half of delta, and the error leaves as much to be accepted as it can."""
    pilot, sample = drawn(2000, seed), drawn(2000, seed + 100)
    found = both_promises(pilot, sample, 0.5, 0.21, 0.25, 0.1)
    alone = learn_then_test(pilot, sample, 0.5, 0.21, 0.05)
    highest = clopper_pearson(sample, 0.5, 0.25, 0.05)
    assert isinstance(found, Feasible)
    assert isinstance(highest, Feasible)
    assert found == alone
    assert found.threshold <= highest.threshold


def test_where_the_error_fails_that_is_said() -> None:
    pilot, sample = drawn(500, 6), drawn(500, 7)
    found = both_promises(pilot, sample, 0.5, 0.001, 0.5, 0.1)
    assert isinstance(found, Infeasible)
    assert found.reason.startswith("the error fails: ")
    assert found.nearest is not None
    assert isinstance(both_promises(pilot, sample, 0.5, found.nearest, 0.9, 0.1), Feasible)


def test_where_only_both_together_fail_the_nearest_of_either_is_told_and_is_met() -> None:
    pilot, sample = drawn(2000, 0), drawn(2000, 100)
    assert isinstance(learn_then_test(pilot, sample, 0.5, 0.2, 0.05), Feasible)
    assert isinstance(clopper_pearson(sample, 0.5, 0.05, 0.05), Feasible)
    found = both_promises(pilot, sample, 0.5, 0.2, 0.05, 0.1)
    assert isinstance(found, Infeasible)
    assert "alone, but not together: with this error the false-positive rate fails" in found.reason
    assert found.nearest is not None
    assert isinstance(both_promises(pilot, sample, 0.5, 0.2, found.nearest, 0.1), Feasible)
    assert isinstance(both_promises(pilot, sample, 0.5, 0.2, found.nearest - 2e-4, 0.1), Infeasible)
    error = float(found.reason.partition("or an error of ")[2].split()[0])
    assert isinstance(both_promises(pilot, sample, 0.5, error, 0.05, 0.1), Feasible)
    assert isinstance(both_promises(pilot, sample, 0.5, error - 2e-4, 0.05, 0.1), Infeasible)


def test_a_rate_for_which_the_labels_are_too_few_says_how_many_it_takes() -> None:
    pilot, sample = drawn(60, 0), drawn(60, 100)
    found = both_promises(pilot, sample, 0.5, 0.6, 0.02, 0.1)
    assert isinstance(found, Infeasible)
    assert "the false-positive rate fails" in found.reason
    assert "are needed" in found.reason


def test_a_rate_that_nothing_can_exceed_is_no_obstacle() -> None:
    """All that is deferred may be rejected."""
    pilot, sample = drawn(500, 1), drawn(500, 2)
    assert both_promises(pilot, sample, 0.5, 0.3, 0.99, 0.1) == learn_then_test(pilot, sample, 0.5, 0.3, 0.05)


def test_where_nothing_is_deferred_both_say_so() -> None:
    found = both_promises(drawn(50, 1), drawn(50, 2), -1.0, 0.3, 0.1, 0.1)
    assert isinstance(found, Infeasible)
    assert found.reason.startswith("no local score lies below")
