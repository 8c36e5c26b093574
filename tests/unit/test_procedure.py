from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.calibration import Feasible, Infeasible
from bisupervised.agents.supervision.curve import request_accuracy
from bisupervised.agents.supervision.procedure import First, Second, Shares, calibrate, first_threshold, split
from support.samples import drawn


def test_no_input_is_in_two_parts() -> None:
    sample = drawn(1000, 0)
    parts = split(sample, Shares(0.5, 0.3), seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"choose": 500, "certify": 300, "report": 200}
    scores = np.concatenate([part.local.scores for part in parts.values()])
    assert sorted(scores) == sorted(sample.local.scores)


def test_the_split_is_drawn_by_its_seed() -> None:
    sample = drawn(100, 0)
    first, again, other = (split(sample, Shares(), seed)["choose"].local.scores.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("n", "shares"), [(0, Shares()), (2, Shares()), (10, Shares(0.5, 0.5)), (10, Shares(0.0, 0.5))]
)
def test_an_empty_part_is_refused(n: int, shares: Shares) -> None:
    with pytest.raises(ValueError, match="more are needed"):
        split(drawn(n, 0), shares, 0)


def test_what_the_first_threshold_is_for() -> None:
    sample = drawn(2000, 1)
    assert first_threshold(sample, First("threshold", 0.4)) == 0.4
    share = first_threshold(sample, First("remote_fraction", 0.3))
    assert (sample.local.scores < share).mean() == pytest.approx(0.3, abs=0.001)
    even = first_threshold(sample, First("remote_even"))
    deferred = sample.local.scores < even
    assert even == request_accuracy(sample, 1001).remote_even.threshold
    right = np.where(deferred, sample.remote.correct, sample.local.correct)
    assert right.mean() >= sample.remote.accuracy - 0.001


def test_a_share_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        first_threshold(drawn(10, 0), First("remote_fraction"))


@pytest.mark.parametrize(("method", "target"), [("paper", 0.1), ("clopper-pearson", 0.1), ("ltt", 0.17)])
def test_both_thresholds_and_what_they_do(method: str, target: float) -> None:
    second = Second(method, target, 0.1)  # type: ignore[arg-type]  # parametrize knows no Literal
    made = calibrate(split(drawn(5000, 2), Shares(), 0), First("remote_fraction", 0.5), second)
    assert isinstance(made.remote, Feasible)
    report = made.evaluations()["report"]
    assert report.n == 1000
    assert report.remote_fraction == pytest.approx(0.5, abs=0.05)
    assert report.rates()[second.kind] == pytest.approx(target, abs=0.06)


def test_an_infeasible_target_leaves_nothing_to_evaluate() -> None:
    made = calibrate(
        split(drawn(60, 2), Shares(), 0), First("remote_fraction", 0.5), Second("clopper-pearson", 0.001, 0.1)
    )
    assert isinstance(made.remote, Infeasible)
    assert made.evaluations() == {}


def test_the_second_threshold_never_sees_the_part_that_chose_the_first() -> None:
    """The certified part decides alone: other inputs in the part that chose change nothing but the first threshold."""
    parts = split(drawn(3000, 3), Shares(), 0)
    fixed, second = First("threshold", 0.5), Second("clopper-pearson", 0.1, 0.1)
    changed = {**parts, "choose": drawn(500, 9), "report": drawn(100, 8)}
    assert calibrate(parts, fixed, second).remote == calibrate(changed, fixed, second).remote
