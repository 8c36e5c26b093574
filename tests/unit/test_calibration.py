from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.calibration import local_threshold, remote_threshold
from numpy.typing import NDArray


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


@pytest.mark.parametrize("scores", [[], [0.5, math.nan], [[0.5]]])
def test_local_scores_that_are_none_are_refused(scores: list[Any]) -> None:
    with pytest.raises(ValueError, match="local scores"):
        local_threshold(scores, 0.5)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="remote fraction"):
        local_threshold([0.5], fraction)


def test_the_remote_threshold_by_hand() -> None:
    # one local answer is right; of the four deferred, the remote has three right: FP + TN = 4
    local, local_right = [0.9, 0.1, 0.1, 0.1, 0.1], [True, True, False, False, False]
    remote, remote_right = [0.0, 0.2, 0.4, 0.6, 0.8], [False, True, False, True, True]
    arrays = (local, local_right, remote, remote_right, 0.5)
    assert remote_threshold(*arrays, 0.0) == 0.2
    assert remote_threshold(*arrays, 0.25) == 0.4  # rejects the right answer at 0.2: 1 of 4
    assert remote_threshold(*arrays, 0.26) == 0.8  # rejects those at 0.2 and 0.6: 2 of 4
    with pytest.raises(ValueError, match="no threshold reaches"):
        remote_threshold(*arrays, 0.6)


def by_the_book(
    local: NDArray[Any],
    right_local: NDArray[Any],
    remote: NDArray[Any],
    right_remote: NDArray[Any],
    at: float,
    rate: float,
) -> float:
    deferred = local < at
    scores, right = remote[deferred], right_remote[deferred]
    for candidate in np.sort(scores):
        false_positives = (right & (scores < candidate)).sum()
        true_negatives = right_local[~deferred].sum() + (right & (scores >= candidate)).sum()
        if false_positives / (false_positives + true_negatives) >= rate:
            return float(candidate)
    raise AssertionError("not in these cases")


@pytest.mark.parametrize("seed", range(20))
def test_the_remote_threshold_is_the_papers_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(random.random((2, 200)), 2)  # rounded: ties must be cut as the loop cuts them
    right = random.random((2, 200)) < 0.7
    arrays = (scores[0], right[0], scores[1], right[1], 0.6, 0.1)
    assert remote_threshold(*arrays) == by_the_book(*arrays)


@pytest.mark.parametrize(
    ("remote", "match"),
    [([0.5], "pair up"), ([0.5, math.nan], "remote scores"), ([], "remote scores")],
)
def test_arrays_that_do_not_pair_up_are_refused(remote: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        remote_threshold([0.1, 0.9], [True, True], remote, [True] * len(remote), 0.5, 0.1)


@pytest.mark.parametrize(("threshold", "right"), [(0.0, True), (0.5, False)])
def test_nothing_to_calibrate_on_is_refused(threshold: float, right: bool) -> None:
    with pytest.raises(ValueError, match="nothing to calibrate"):
        remote_threshold([0.1], [right], [0.5], [right], threshold, 0.1)
