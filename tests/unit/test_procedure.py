from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.calibration import Feasible, Infeasible
from bisupervised.agents.supervision.curve import request_accuracy
from bisupervised.agents.supervision.procedure import (
    FITTED_SHARES,
    PLAIN_SHARES,
    First,
    PartName,
    Second,
    calibrate,
    first_threshold,
    split,
)
from bisupervised.agents.supervision.recording import Recording, Side
from support.samples import drawn


def test_no_input_is_in_two_parts() -> None:
    sample = drawn(1000, 0)
    parts = split(sample, {"choose": 0.5, "certify": 0.3}, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"choose": 500, "certify": 300, "report": 200}
    scores = np.concatenate([part.local.scores for part in parts.values()])
    assert sorted(scores) == sorted(sample.local.scores)


def test_the_split_is_drawn_by_its_seed() -> None:
    sample = drawn(100, 0)
    first, again, other = (split(sample, PLAIN_SHARES, seed)["choose"].local.scores.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("n", "shares"),
    [
        (0, PLAIN_SHARES),
        (2, PLAIN_SHARES),
        (10, {"choose": 0.5, "certify": 0.5}),
        (10, {"choose": 0.0, "certify": 0.5}),
    ],
)
def test_an_empty_part_is_refused(n: int, shares: dict[PartName, float]) -> None:
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
    made = calibrate(split(drawn(5000, 2), PLAIN_SHARES, 0), First("remote_fraction", 0.5), second)
    assert isinstance(made.remote, Feasible)
    report = made.evaluations()["report"]
    assert report.n == 1000
    assert report.remote_fraction == pytest.approx(0.5, abs=0.05)
    assert report.rates()[second.kind] == pytest.approx(target, abs=0.06)


def test_an_infeasible_target_leaves_nothing_to_evaluate() -> None:
    made = calibrate(
        split(drawn(60, 2), PLAIN_SHARES, 0), First("remote_fraction", 0.5), Second("clopper-pearson", 0.001, 0.1)
    )
    assert isinstance(made.remote, Infeasible)
    assert made.evaluations() == {}


def test_the_second_threshold_never_sees_the_part_that_chose_the_first() -> None:
    """The certified part decides alone: other inputs in the part that chose change nothing but the first threshold."""
    parts = split(drawn(3000, 3), PLAIN_SHARES, 0)
    fixed, second = First("threshold", 0.5), Second("clopper-pearson", 0.1, 0.1)
    changed = {**parts, "choose": drawn(500, 9), "report": drawn(100, 8)}
    assert calibrate(parts, fixed, second).remote == calibrate(changed, fixed, second).remote


@pytest.mark.parametrize(
    ("skill", "told"),
    [(0.97, "it is left out"), (0.999, "no joint model")],  # of the latter so few are wrong that nothing is learned
)
def test_what_is_no_better_is_left_out_and_it_says_so(skill: float, told: str) -> None:
    """A remote that is nearly always right: nothing to gain by asking who is likelier."""
    chance = np.random.default_rng(0)
    n = 4000
    right = chance.random(n) < 0.7
    local = Side(np.where(right, chance.beta(4, 2, n), chance.beta(2, 3, n)), right)
    remote = Side(chance.random(n), chance.random(n) < skill)
    second = Second("clopper-pearson", 0.05, 0.1)
    parts = split(Recording(local, remote), FITTED_SHARES, 0)
    plain = calibrate(parts, First("remote_fraction", 0.5), second)
    made = calibrate(parts, First("remote_fraction", 0.5), second, joint=True, arbitration=True)
    assert made.judge.model is None
    assert (made.local, made.remote) == (plain.local, plain.remote)
    assert made.judge.reasons
    assert all(told in reason for reason in made.judge.reasons)


def test_what_is_better_is_used_and_certified_on_what_it_was_not_fitted_on() -> None:
    """Two models of about the same skill that know when they are right: together they know better."""
    sample = drawn(20_000, 5)
    parts = split(sample, FITTED_SHARES, 0)
    second = Second("clopper-pearson", 0.1, 0.1)
    made = calibrate(parts, First("remote_fraction", 0.6), second, joint=True, arbitration=True)
    assert made.judge.arbitration
    assert made.judge.model is not None
    assert set(made.parts) == {"fit", "choose", "certify", "report"}
    plain = calibrate(parts, First("remote_fraction", 0.6), second)
    report, before = made.evaluations()["report"], plain.evaluations()["report"]
    assert report.right > before.right
    assert report.false_positive_rate is not None
    assert report.false_positive_rate < 0.12
