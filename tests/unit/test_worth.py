from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.arbitration import estimate_recording, judged
from bisupervised.agents.supervision.joint import fit_joint
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.agents.supervision.worth import Worth, arbitration_worth_it, joint_worth_it
from support.two_models import two_models

DEFER_ALL = 2.0


def decide(fitted: Recording, fresh: Recording, reject: float = 0.3) -> tuple[Worth, Worth]:
    """For arbitration and for the joint supervisor; the remote's own score rejects a share of `reject`."""
    estimates = estimate_recording(fit_joint(fitted), fresh)
    arbitrated = judged(fresh, estimates, joint=False, arbitration=True)
    joint = judged(fresh, estimates, joint=True, arbitration=False)
    threshold = float(np.quantile(fresh.remote.scores, reject))
    return (
        arbitration_worth_it(fresh, arbitrated, DEFER_ALL),
        joint_worth_it(fresh, joint, DEFER_ALL, threshold),
    )


def test_both_are_kept_where_they_help() -> None:
    for worth in decide(two_models(2000), two_models(2000, seed=1)):
        assert worth.kept
        assert worth.won > worth.lost
        assert "beats" in worth.reason


@pytest.mark.parametrize("seed", range(5))
def test_both_stay_out_of_the_way_where_the_remote_is_right_nearly_always(seed: int) -> None:
    fitted = two_models(20000, seed=seed, remote_right=0.999)
    fresh = two_models(5000, seed=100 + seed, remote_right=0.999)
    for worth in decide(fitted, fresh):
        assert not worth.kept
        assert "does not significantly beat" in worth.reason


def test_a_score_that_is_noise_is_kept_no_more_often_than_promised() -> None:
    kept = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        plain = two_models(300, seed=seed, remote_right=0.6)
        noise = Recording(plain.local, Side(rng.random(300), plain.remote.correct))
        kept += joint_worth_it(plain, noise, DEFER_ALL, 0.7).kept
    assert kept <= 400 * 0.05 + 13  # three standard deviations


def sides(correct: list[bool], scores: list[float]) -> Recording:
    n = len(correct)
    return Recording(Side(np.full(n, 0.5), np.zeros(n, dtype=bool)), Side(np.array(scores), np.array(correct)))


def test_wins_and_losses_by_hand() -> None:
    correct = [True] * 6 + [False] * 6
    plain = sides(correct, [0.1] * 6 + [0.9] * 6)  # accepts six, all wrong
    joint = sides(correct, [0.9] * 6 + [0.1] * 6)  # accepts six, all right
    worth = joint_worth_it(plain, joint, DEFER_ALL, 0.5)
    assert (worth.kept, worth.won, worth.lost) == (True, 12, 0)
    assert worth.p_value == pytest.approx(2.0**-12)
    back = joint_worth_it(joint, plain, DEFER_ALL, 0.5)
    assert (back.kept, back.won, back.lost) == (False, 0, 12)
    assert back.p_value == pytest.approx(1.0)


def test_a_laxer_threshold_wins_nothing() -> None:
    correct = [True, True, False, False]
    plain = sides(correct, [0.9, 0.1, 0.2, 0.3])
    shifted = sides(correct, [0.99, 0.91, 0.92, 0.93])  # the same order, all of it above the threshold
    worth = joint_worth_it(plain, shifted, DEFER_ALL, 0.5)
    assert (worth.won, worth.lost, worth.kept) == (0, 0, False)


def test_only_deferred_inputs_count() -> None:
    plain, other = sides([False] * 8, [0.5] * 8), sides([True] * 8, [0.5] * 8)
    assert arbitration_worth_it(plain, other, DEFER_ALL).won == 8
    worth = arbitration_worth_it(plain, other, 0.5)
    assert (worth.won, worth.lost, worth.kept, worth.p_value) == (0, 0, False, 1.0)


def test_what_cannot_be_compared_is_refused() -> None:
    plain = two_models(300)
    with pytest.raises(ValueError, match="the same inputs"):
        arbitration_worth_it(plain, two_models(300, seed=1), DEFER_ALL)
    other = Recording(plain.local, Side(plain.remote.scores, ~plain.remote.correct))
    with pytest.raises(ValueError, match="the same answers"):
        joint_worth_it(plain, other, DEFER_ALL, 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        arbitration_worth_it(plain, plain, DEFER_ALL, alpha=0.0)
