"""Which score judges: the area that measures one, what is chance, and when a learned one is kept."""

from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.choosing.area import Area, gains_over, resampled
from bisupervised.agents.supervision.choosing.choice import choose_score
from bisupervised.agents.supervision.choosing.choosing import choose
from bisupervised.agents.supervision.choosing.evidence import Evidence, candidates
from bisupervised.agents.supervision.choosing.gate import judge_learned
from bisupervised.agents.supervision.curve import one_by_one
from bisupervised.agents.supervision.recording import Recording, Side
from numpy.typing import NDArray
from support.recorded import of_classes
from support.samples import drawn, recording

Floats = NDArray[np.float64]


def scored(sample: Recording, scores: Floats) -> Recording:
    return Recording(Side(scores, sample.local.correct), sample.remote)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_that_of_the_curve(seed: int) -> None:
    """Up to a half of one input: the curve has n + 1 cutoffs, and this one stands in the middle of each input."""
    sample = drawn(2000, seed)
    assert Area.of(sample)(sample.local.scores) == pytest.approx(one_by_one(sample).auc, abs=1e-3)


def test_the_area_by_hand() -> None:
    # the remote gains at the lowest score and nowhere else: deferred at 5 of 6 of the cutoffs
    sample = recording([0.1, 0.5, 0.9], [False, True, True], [0, 0, 0], [True, True, True])
    assert Area.of(sample)(sample.local.scores) == pytest.approx((1 - 1 / 6) * (1 / 3) / (1 / 3))
    assert Area.of(sample)(np.zeros(3)) == pytest.approx(0.5), "what cannot be told apart is routed at random"


def test_equal_scores_share_their_places_in_any_order() -> None:
    sample, chance = drawn(500, 0, digits=1), np.random.default_rng(1)
    order = chance.permutation(500)
    assert Area.of(sample[order])(sample[order].local.scores) == pytest.approx(Area.of(sample)(sample.local.scores))


def test_higher_is_better_also_where_the_remote_is_the_worse_model() -> None:
    sample = drawn(3000, 2)
    turned = Recording(Side(sample.remote.scores, sample.remote.correct), sample.local)
    area = Area.of(turned)
    assert area(turned.local.scores) > area(np.zeros(3000)) > area(-turned.local.scores)


def test_where_both_are_equally_right_the_area_is_what_is_gained() -> None:
    sample = recording([0.1, 0.9], [False, True], [0, 0], [True, False])
    assert Area.of(sample)(sample.local.scores) == pytest.approx((0.75 - 0.25) / 2)


def test_a_resample_has_the_area_of_the_inputs_that_it_drew() -> None:
    sample = drawn(300, 4, digits=2)
    counts = resampled(300, 7, 20)
    assert (counts.sum(axis=1) == 300).all()
    area = Area.of(sample)
    [found] = area.of_resamples([sample.local.scores], counts)
    for row, drawn_often in zip(found, counts, strict=True):
        one = sample[np.repeat(np.arange(300), drawn_often)]
        assert row * area.scale == pytest.approx(Area.of(one)(one.local.scores) * Area.of(one).scale)


def test_the_bootstrap_is_paired() -> None:
    sample = drawn(1000, 5)
    [gains] = gains_over(sample, sample.local.scores, {"same": sample.local.scores}, 0).values()
    assert (gains == 0.0).all()


def test_the_bootstrap_says_how_far_a_gain_may_stray() -> None:
    """Its spread against that of the gain over many fresh samples."""
    chance = np.random.default_rng(0)

    def gain(seed: int) -> float:
        fresh = drawn(500, seed)
        noisy = fresh.local.scores + chance.normal(0, 0.2, 500)
        area = Area.of(fresh)
        return (area(fresh.local.scores) - area(noisy)) * area.scale

    sample = drawn(500, 0)
    noisy = sample.local.scores + chance.normal(0, 0.2, 500)
    [gains] = gains_over(sample, noisy, {"": sample.local.scores}, 1).values()
    wanted = float(np.std([gain(seed) for seed in range(1, 300)]))
    assert float(gains.std()) * Area.of(sample).scale == pytest.approx(wanted, rel=0.2)


def test_the_better_score_is_chosen_where_it_is_no_chance() -> None:
    sample, chance = drawn(1000, 1), np.random.default_rng(1)
    worse = sample.local.scores + chance.normal(0, 1.0, 1000)
    made = choose_score(scored(sample, worse), {"poor": worse, "good": sample.local.scores}, "poor", 0)
    assert made.name == "good"
    assert made.areas["good"] > made.areas["poor"]
    assert "good has the best area" in made.reason


@pytest.mark.parametrize("seed", range(3))
def test_the_default_stays_where_the_best_may_be_chance(seed: int) -> None:
    sample, chance = drawn(300, seed), np.random.default_rng(seed)
    others = {f"s{i}": sample.local.scores + chance.normal(0, 0.01, 300) for i in range(5)}
    made = choose_score(sample, {"default": sample.local.scores, **others}, "default", 0)
    assert made.name == "default"
    assert len(made.areas) == 6


def test_many_candidates_that_say_nothing_are_no_better_a_chance() -> None:
    """Ten coin tosses against one: in at most about 5 % of the samples one of them is taken."""
    taken = 0
    for seed in range(100):
        sample, chance = drawn(200, seed), np.random.default_rng(seed + 1000)
        scores = {f"s{i}": chance.random(200) for i in range(11)}
        taken += choose_score(sample, scores, "s0", seed).name != "s0"
    assert taken <= 11, "5 of 100 are expected at most; 11 are three standard deviations more"


def test_what_is_recorded_comes_before_what_is_computed() -> None:
    sample, evidence = of_classes(50, 0)
    own = np.zeros(50)
    found = candidates(Evidence({"pcs": own}, evidence.probabilities), "max_softmax", sample.local.scores)
    assert set(found) == {"max_softmax", "pcs", "softmax_entropy"}
    assert found["pcs"] is own
    assert next(iter(found)) == "max_softmax"
    assert found["max_softmax"] is sample.local.scores


def test_a_learned_score_that_knows_more_is_kept() -> None:
    sample, evidence = of_classes(2000, 0, hidden=0.8)
    made = judge_learned(sample, evidence, sample.local.scores, "max_softmax", 0)
    assert made.kept
    assert made.model is not None
    assert made.gain is not None
    assert made.gain_lower is not None
    assert 0.0 < made.gain_lower < made.gain
    assert made.as_json() == {"kept": True, "gain": made.gain, "gain_lower": made.gain_lower, "reason": made.reason}
    fresh, known = of_classes(5000, 99, hidden=0.8)
    area = Area.of(fresh)
    assert known.probabilities is not None
    better = area(made.model.of_classes(known.probabilities, known.lengths)) - area(fresh.local.scores)
    assert better * area.scale == pytest.approx(made.gain * Area.of(sample).scale, abs=0.02), (
        "in share of right answers"
    )
    assert better > 0.0


def test_one_that_knows_no_more_is_left_out_and_says_why() -> None:
    sample, evidence = of_classes(1000, 0)
    made = judge_learned(sample, evidence, sample.local.scores, "max_softmax", 0)
    assert (made.kept, made.model, made.scores) == (False, None, None)
    assert made.gain_lower is not None
    assert made.gain_lower <= 0.0
    assert made.reason.startswith("the learned score is left out: a gain in area of ")


def test_one_that_cannot_be_fitted_says_why() -> None:
    sample, evidence = of_classes(1000, 0)
    always = Recording(sample.local, Side(sample.remote.scores, np.ones(1000, dtype=bool)))
    made = judge_learned(always, evidence, sample.local.scores, "max_softmax", 0)
    assert (made.kept, made.gain) == (False, None)
    assert "without one of 5 folds, 800 of 800 remote answers are right" in made.reason


def test_few_labels_teach_nothing() -> None:
    sample, evidence = of_classes(999, 0, hidden=0.8)
    made = judge_learned(sample, evidence, sample.local.scores, "max_softmax", 0)
    assert (made.kept, made.tried) == (False, False)
    assert made.reason == "no learned score: there are 999 labels to learn from, and it takes 1,000"


def test_the_score_is_chosen_on_labels_that_certify_nothing() -> None:
    """The other labels may say what they like: the choice is the same."""
    sample, evidence = of_classes(1000, 0)
    made = choose(sample, evidence, "max_softmax", 3, learn=False)
    others = np.concatenate([made.rows[name] for name in ("certify", "report")])
    marks = sample.local.correct.copy()
    marks[others] ^= True
    changed = Recording(Side(sample.local.scores, marks, sample.local.predictions), sample.remote)
    assert choose(changed, evidence, "max_softmax", 3, learn=False).score == made.score


def test_with_a_part_for_other_models_all_four_stay() -> None:
    sample, evidence = of_classes(1000, 0)
    made = choose(sample, evidence, "max_softmax", 3, fitted=True)
    assert made.learned.reason == "no learned score: there are 300 labels to learn from, and it takes 1,000"
    assert {name: len(rows) for name, rows in made.rows.items()} == {
        "fit": 300,
        "choose": 200,
        "certify": 300,
        "report": 200,
    }
