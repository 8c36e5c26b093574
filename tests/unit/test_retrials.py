"""How often a refused input is asked, though others are answered."""

from __future__ import annotations

import pytest
from bisupervised.agents.remote.limiting.retrials import Retrials, Trial


def test_an_input_has_two_tries_where_nothing_speaks_for_it() -> None:
    assert Retrials(6).tries == 2


@pytest.mark.parametrize(("most", "tries"), [(1, 1), (2, 2), (4, 4), (6, 5)])
def test_each_that_was_answered_after_a_refusal_gives_one_more_up_to_the_settings(most: int, tries: int) -> None:
    retrials = Retrials(most)
    for _ in range(3):
        retrials.acquitted()
    assert retrials.tries == tries


def test_each_that_was_refused_to_the_end_takes_one_away() -> None:
    retrials = Retrials(4)
    for _ in range(10):
        retrials.acquitted()
    for _ in range(10):
        retrials.convicted()
    assert retrials.tries == 2
    retrials.acquitted()
    assert repr(retrials) == "<Retrials tries=3>"


def test_what_was_refused_before_all_calls_were_stopped_is_no_evidence() -> None:
    trial = Trial()
    for opened in (0, 0, 1, 1, 1):
        trial.refused(opened)
    trial.failures += 2
    assert (trial.refusals, trial.opened, trial.tries) == (3, 1, 5)
