"""What must hold of thresholds and curves for any recording, ties and one-sided data included."""

from __future__ import annotations

import numpy as np
from bisupervised.agents.supervision.calibration import (
    Feasible,
    Found,
    Infeasible,
    clopper_pearson,
    learn_then_test,
    local_threshold,
    most_misses,
    paper_rule,
)
from bisupervised.agents.supervision.curve import oracle, request_accuracy
from bisupervised.agents.supervision.evaluation import evaluate
from bisupervised.agents.supervision.recording import Recording
from bisupervised.agents.supervision.supervisor import Supervisor
from hypothesis import given
from hypothesis import strategies as st
from support.samples import recording

# few distinct scores make ties; wide ones look for overflow
SCORES = st.one_of(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.floats(-1e300, 1e300))
ROWS = st.tuples(SCORES, st.booleans(), SCORES, st.booleans())
RATES = st.floats(0.01, 0.99)


@st.composite
def recordings(draw: st.DrawFn, max_size: int = 60) -> Recording:
    """Any recording; some with one class only: all right, or all wrong, on either side."""
    rows = draw(st.lists(ROWS, min_size=1, max_size=max_size))
    local_right, remote_right = [row[1] for row in rows], [row[3] for row in rows]
    if draw(st.booleans()):
        local_right = [draw(st.booleans())] * len(rows)
    if draw(st.booleans()):
        remote_right = [draw(st.booleans())] * len(rows)
    return recording([row[0] for row in rows], local_right, [row[2] for row in rows], remote_right)


def found_by_each(sample: Recording, threshold: float, rate: float) -> list[Found]:
    return [
        paper_rule(sample, threshold, rate),
        clopper_pearson(sample, threshold, rate, 0.1),
        learn_then_test(sample, sample, threshold, rate, 0.1),
    ]


@given(recordings(), SCORES, RATES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(sample: Recording, threshold: float, rate: float, chance: object) -> None:
    order = np.random.default_rng(hash(str(chance)) % 2**32).permutation(len(sample))
    shuffled = sample[order]
    assert found_by_each(shuffled, threshold, rate) == found_by_each(sample, threshold, rate)
    curve, other = request_accuracy(sample, 11), request_accuracy(shuffled, 11)
    assert curve.accuracies.tolist() == other.accuracies.tolist()
    assert curve.thresholds.tolist() == other.thresholds.tolist()


@given(recordings(), SCORES, RATES)
def test_every_threshold_is_a_score_that_was_seen(sample: Recording, threshold: float, rate: float) -> None:
    for found in found_by_each(sample, threshold, rate):
        assert not isinstance(found, Feasible) or found.threshold in sample.remote.scores


@given(recordings(), SCORES, RATES)
def test_clopper_pearson_rejects_no_more_right_answers_than_it_may(
    sample: Recording, threshold: float, rate: float
) -> None:
    found = clopper_pearson(sample, threshold, rate, 0.1)
    if isinstance(found, Feasible):
        made = evaluate(sample, Supervisor("", threshold), Supervisor("", found.threshold))
        assert made.right_rejected <= most_misses(made.right + made.right_rejected, rate, 0.1)
        assert made.false_positive_rate is None or made.false_positive_rate <= rate


@given(recordings(), SCORES, RATES)
def test_the_paper_reaches_its_rate_on_what_it_saw(sample: Recording, threshold: float, rate: float) -> None:
    found = paper_rule(sample, threshold, rate)
    if isinstance(found, Feasible):
        made = evaluate(sample, Supervisor("", threshold), Supervisor("", found.threshold))
        assert made.false_positive_rate is not None
        assert made.false_positive_rate >= rate


@given(recordings(), SCORES, RATES, RATES)
def test_a_looser_target_is_a_higher_threshold(sample: Recording, threshold: float, one: float, two: float) -> None:
    strict, loose = sorted((one, two))
    for low, high in zip(
        found_by_each(sample, threshold, strict)[:2], found_by_each(sample, threshold, loose)[:2], strict=True
    ):
        if isinstance(low, Feasible) and isinstance(high, Feasible):
            assert low.threshold <= high.threshold


@given(recordings(), recordings(), SCORES, RATES, RATES)
def test_a_larger_error_is_a_lower_threshold(
    pilot: Recording, sample: Recording, threshold: float, one: float, two: float
) -> None:
    strict, loose = (learn_then_test(pilot, sample, threshold, error, 0.1) for error in sorted((one, two)))
    if isinstance(strict, Feasible):
        assert isinstance(loose, Feasible)
        assert loose.threshold <= strict.threshold


@given(recordings(), SCORES, RATES)
def test_the_nearest_target_that_is_told_can_be_asked_for(sample: Recording, threshold: float, rate: float) -> None:
    """As it is printed, in four digits."""
    for place, found in enumerate(found_by_each(sample, threshold, rate)):
        if isinstance(found, Infeasible) and found.nearest is not None:
            asked = float(f"{found.nearest:.4g}")
            assert isinstance(found_by_each(sample, threshold, asked)[place], Feasible)


@given(st.lists(SCORES, min_size=1, max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_fraction_defers_no_fewer(scores: list[float], one: float, two: float) -> None:
    small, large = sorted((one, two))
    assert local_threshold(scores, small) <= local_threshold(scores, large)
    deferred = sum(score < local_threshold(scores, large) for score in scores)
    assert deferred <= large * len(scores), "ties stay"


@given(recordings(), st.sampled_from([2, 11, 101]))
def test_no_routing_beats_the_oracle(sample: Recording, grid: int) -> None:
    curve = request_accuracy(sample, grid)
    best = oracle(sample, curve.requests / len(sample))
    assert (curve.accuracies <= best + 1e-12).all()
    assert (np.diff(curve.requests) >= 0).all()
    assert curve.accuracies[0] == curve.local_accuracy
