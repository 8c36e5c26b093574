"""A decision in the stream is the decision offline, bit by bit, whatever the scores."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pytest
from bisupervised.agents.supervision.arbitration import arbitrate, estimate
from bisupervised.agents.supervision.joint import JointModel, Scale, fit_joint
from bisupervised.agents.supervision.recording import Recording, Side
from hypothesis import given
from hypothesis import strategies as st
from support.two_models import two_models

SCORES = st.one_of(
    st.floats(0.0, 1.0),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 5e-324, 1e308]),
)
ROWS = st.lists(st.tuples(SCORES, SCORES, st.booleans()), min_size=1, max_size=70)


@cache
def fitted(*, known: bool) -> JointModel:
    return fit_joint(two_models(600, known=known))


@given(ROWS, st.booleans())
def test_one_input_is_judged_as_many_are(rows: list[tuple[float, float, bool]], known: bool) -> None:
    model = fitted(known=known)
    local, remote = (np.array([row[side] for row in rows]) for side in (0, 1))
    agreement = np.array([row[2] for row in rows])
    whole = estimate(model, local, remote, agreement)
    taken = arbitrate(whole)
    for n, row in enumerate(rows):
        single = estimate(model, [row[0]], [row[1]], np.array([row[2]]))
        assert (single.local[0], single.remote[0]) == (whole.local[n], whole.remote[n])
        alone = arbitrate(single)
        assert (alone.local[0], alone.score[0]) == (taken.local[n], taken.score[n])
        assert 0.0 <= alone.score[0] <= 1.0


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_order_of_the_rows_does_not_matter(seed: int, known: bool) -> None:
    recording = two_models(250, seed=seed % 7, known=known)
    shuffled = recording[np.random.default_rng(seed).permutation(250)]
    assert fit_joint(shuffled) == fit_joint(recording)


@given(st.integers(0, 1000), st.booleans())
def test_json_and_back_loses_no_bit(seed: int, known: bool) -> None:
    model = fit_joint(two_models(250, seed=seed, known=known))
    assert msgspec.json.decode(msgspec.json.encode(model), type=JointModel) == model


@given(st.integers(0, 1000), st.floats(0.01, 1000.0), st.floats(-1000.0, 1000.0))
def test_scores_of_any_range_do(seed: int, factor: float, shift: float) -> None:
    """Only the order and the spacing between knots count: a user's scores need not lie in 0..1."""
    known = two_models(250, seed=seed)
    moved = Recording(
        Side(known.local.scores * factor + shift, known.local.correct, known.local.predictions), known.remote
    )
    here = fit_joint(known).both_correct(known.local.scores, known.remote.scores, known.agreement)[1]
    there = fit_joint(moved).both_correct(moved.local.scores, moved.remote.scores, moved.agreement)[1]
    assert there == pytest.approx(here, abs=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40, unique=True), st.lists(SCORES, min_size=2, max_size=40))
def test_ranks_rise_with_scores_and_stay_in_their_range(knots: list[float], scores: list[float]) -> None:
    ranks = np.linspace(-1.0, 1.0, len(knots))
    found = Scale(tuple(sorted(knots)), tuple(ranks.tolist()))(np.sort(scores))
    assert (np.diff(found) >= -1e-15).all()
    assert (np.abs(found) <= 1.0 + 1e-15).all()
