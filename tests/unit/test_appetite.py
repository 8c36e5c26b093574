from __future__ import annotations

from bisupervised.agents.local.appetite import Appetite, AppetitePolicy


def test_a_free_model_comes_to_the_largest_batch_step_by_step() -> None:
    appetite = Appetite(AppetitePolicy(most=100, budget_s=1.0))
    sizes = []
    for _ in range(5):
        sizes.append(appetite.inputs)
        appetite.took(appetite.inputs, 0.0)
    assert sizes == [16, 32, 64, 100, 100]


def test_a_small_bound_holds_from_the_first_batch_on() -> None:
    assert Appetite(AppetitePolicy(most=4, budget_s=1.0)).inputs == 4


def test_a_slow_model_gets_what_it_answers_in_time() -> None:
    appetite = Appetite(AppetitePolicy(most=256, budget_s=1.0))
    appetite.took(16, 0.5)
    assert appetite.inputs == 32
    for _ in range(20):
        appetite.took(32, 2.0)
    assert appetite.inputs == 16


def test_a_model_slower_than_the_time_still_gets_one() -> None:
    appetite = Appetite(AppetitePolicy(most=256, budget_s=0.1))
    appetite.took(1, 3.0)
    assert appetite.inputs == 1


def test_one_slow_batch_is_forgotten() -> None:
    """The first one compiles, say."""
    appetite = Appetite(AppetitePolicy(most=64, budget_s=1.0))
    appetite.took(16, 8.0)
    assert appetite.inputs == 2
    for _ in range(12):
        appetite.took(appetite.inputs, appetite.inputs * 0.01)
    assert appetite.inputs == 64


def test_little_to_do_does_not_shrink_what_was_tried() -> None:
    appetite = Appetite(AppetitePolicy(most=256, budget_s=1.0))
    for _ in range(5):
        appetite.took(appetite.inputs, appetite.inputs * 0.001)
    appetite.took(1, 0.001)
    assert appetite.inputs == 256
