"""The ladder of threshold pairs, against a search through all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.choosing.ladder import REJECTION, RUNGS, _Grid, _levels, ladder
from bisupervised.agents.supervision.evaluation import Evaluation, evaluate
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.agents.supervision.supervisor import Supervisor
from support.samples import drawn


def made_of(sample: Recording, local: float, remote: float) -> Evaluation:
    return evaluate(sample, Supervisor("", local), Supervisor("", remote))


def cost(found: Evaluation) -> float:
    return (found.deferred + REJECTION * found.rejected) / found.n


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("digits", [None, 1])
def test_every_pair_of_the_grid_is_counted_as_an_evaluation_does(seed: int, digits: int | None) -> None:
    sample = drawn(60, seed, digits=digits)
    grid = _Grid.over(sample)
    for row, local in enumerate(grid.local):
        for column, remote in enumerate(grid.remote):
            found = made_of(sample, local, remote)
            assert grid.cost[row, column] == pytest.approx(cost(found))
            assert grid.acceptance[row, column] == found.acceptance
            if found.error is not None:
                assert grid.error[row, column] == found.error


@pytest.mark.parametrize("seed", range(4))
def test_each_rung_is_the_cheapest_pair_for_its_level(seed: int) -> None:
    sample = drawn(60, seed)
    every = [made_of(sample, local, remote) for local in sample.local.scores for remote in sample.remote.scores]
    grid = _Grid.over(sample)
    for level in _levels(grid, 15):
        pair = grid.cheapest(level)
        found = made_of(sample, *pair)
        assert found.error is not None
        assert found.error <= level
        allowed = [one for one in every if one.error is not None and one.error <= level]
        assert cost(found) == pytest.approx(min(map(cost, allowed)))


def test_rungs_go_from_lax_to_strict() -> None:
    sample, fresh = drawn(4000, 0), drawn(40_000, 1)
    rungs = ladder(sample, fresh, (0.7, 0.6))
    levels = [rung.level for rung in rungs]
    assert 12 <= len(rungs) <= RUNGS
    assert levels == sorted(levels, reverse=True)
    assert rungs[0].remote_fraction == pytest.approx(0.0, abs=0.001), "the laxest trusts every local answer"
    errors = [rung.error for rung in rungs if rung.error is not None]
    assert np.corrcoef(errors, levels)[0, 1] > 0.99
    assert errors[-1] < errors[0] / 3


def test_the_certified_pair_is_one_of_them_and_in_its_place() -> None:
    sample, fresh = drawn(2000, 0), drawn(2000, 1)
    rungs = ladder(sample, fresh, (0.65, 0.55))
    [certified] = [rung for rung in rungs if rung.certified]
    assert (certified.local, certified.remote) == (0.65, 0.55)
    assert certified.level == made_of(sample, 0.65, 0.55).error
    found = made_of(fresh, 0.65, 0.55)
    assert (certified.error, certified.remote_fraction, certified.acceptance) == (
        found.error,
        found.remote_fraction,
        found.acceptance,
    )
    assert len({(rung.local, rung.remote) for rung in rungs}) == len(rungs)


def test_without_a_certified_pair_there_is_a_ladder_all_the_same() -> None:
    rungs = ladder(drawn(500, 0), drawn(500, 1), None)
    assert len(rungs) > 5
    assert not any(rung.certified for rung in rungs)


def test_a_local_model_that_errs_least_needs_no_other_rung() -> None:
    right = np.ones(50, dtype=bool)
    sample = Recording(Side(np.linspace(0, 1, 50), right), Side(np.linspace(0, 1, 50), ~right))
    assert [(rung.local, rung.error) for rung in ladder(sample, sample, None)] == [(0.0, 0.0)]


def test_no_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="no ladder"):
        ladder(drawn(0, 0), drawn(5, 0), None)


def test_where_many_pairs_have_no_error_the_strictest_of_them_is_the_last() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((2, 400))
    easy = Recording(Side(scores[0], scores[0] > 0.4), Side(scores[1], scores[1] > 0.2))
    rungs = ladder(easy, easy, None)
    assert rungs[-1].error == rungs[-2].error == 0.0
    assert rungs[-1].remote_fraction == pytest.approx(1.0, abs=0.01), "everything goes to the remote"
    assert rungs[-1].acceptance == pytest.approx(0.5, abs=0.02), "and half of it is still answered"
    assert rungs[-2].remote_fraction is not None
    assert rungs[-2].remote_fraction < 0.5
