from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.curve import cutoffs, one_by_one, oracle, request_accuracy
from support.samples import drawn, recording


def test_the_curve_by_hand() -> None:
    sample = recording(
        [0.1, 0.2, 0.3, 0.4],
        [False, True, False, True],
        [0.5] * 4,
        [True, True, True, False],
    )
    curve = request_accuracy(sample, 5)
    assert curve.fractions.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert curve.requests.tolist() == [0, 1, 2, 3, 3]
    assert curve.accuracies.tolist() == [0.5, 0.75, 0.75, 1.0, 1.0]
    assert (curve.local_accuracy, curve.remote_accuracy) == (0.5, 0.75)
    assert curve.auc == pytest.approx((0.8 - 0.5) / 0.5)
    assert (curve.remote_even.fraction, curve.remote_even.requests) == (0.75, 3)
    assert (curve.best.fraction, curve.best.accuracy, curve.best.threshold) == (0.75, 1.0, 0.4)


@pytest.mark.parametrize("seed", range(10))
def test_the_curve_is_the_papers_loop(seed: int) -> None:
    sample = drawn(300, seed, digits=2)
    curve = request_accuracy(sample, 101)
    in_order = np.sort(sample.local.scores)
    for cutoff, accuracy, requests in zip(np.arange(0.0, 1.0001, 0.01), curve.accuracies, curve.requests, strict=True):
        deferred = sample.local.scores < in_order[min(int(300 * cutoff), 299)]
        assert requests == deferred.sum()
        assert accuracy == np.where(deferred, sample.remote.correct, sample.local.correct).mean()


def test_equal_ends_leave_nothing_to_gain() -> None:
    sample = recording([0.1, 0.9], [True, True], [0.5, 0.5], [True, True])
    assert request_accuracy(sample, 11).auc is None


def test_one_input_has_a_curve() -> None:
    curve = request_accuracy(recording([0.5], [False], [0.5], [True]), 101)
    assert curve.requests.max() == 0, "nothing is below the only score"
    assert set(curve.accuracies.tolist()) == {0.0}


def test_no_inputs_have_none() -> None:
    with pytest.raises(ValueError, match="no inputs"):
        request_accuracy(recording([], [], [], []), 101)


def test_a_grid_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="two cutoffs"):
        request_accuracy(drawn(10, 0), 1)


@pytest.mark.parametrize("grid", [2, 3, 101, 1001])
def test_cutoffs_go_from_nothing_to_everything(grid: int) -> None:
    steps = cutoffs(grid)
    assert (steps[0], len(steps)) == (0.0, grid)
    assert steps[-1] == pytest.approx(1.0)
    assert steps.max() <= 1.0


def test_the_oracle_defers_what_only_the_remote_has_right() -> None:
    sample = recording(
        [0.1, 0.2, 0.3, 0.4],
        [False, False, True, True],
        [0.5] * 4,
        [True, False, True, False],
    )
    assert oracle(sample, np.array([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == [0.5, 0.75, 0.75, 0.75, 0.5]


def test_one_by_one_parts_equal_scores_in_their_order() -> None:
    sample = recording([0.5, 0.5, 0.1], [False, True, False], [0.5] * 3, [True, False, True])
    curve = one_by_one(sample)
    assert curve.requests.tolist() == [0, 1, 2, 3]
    assert (curve.accuracies * 3).round().tolist() == [1, 2, 3, 2]
    assert curve.best.requests == 2
    with pytest.raises(ValueError, match="no inputs"):
        one_by_one(recording([], [], [], []))


def test_an_arbitrated_curve_is_measured_by_the_plain_remote() -> None:
    plain = recording([0.1, 0.2, 0.3, 0.4], [False, False, True, True], [0.5] * 4, [True, False, False, True])
    best = recording([0.1, 0.2, 0.3, 0.4], [False, False, True, True], [0.5] * 4, [True, True, True, True])
    level = request_accuracy(plain, 5).level
    curve = request_accuracy(best, 5, level)
    assert curve.remote_even.requests < request_accuracy(best, 5).remote_even.requests
    assert curve.auc is None or curve.auc > 1
