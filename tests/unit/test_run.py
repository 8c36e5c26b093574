"""Records that follow each other, and the slots that are made of those that somebody looks at."""

from __future__ import annotations

import pytest
from bisupervised.streams.plane.window.slots import HELD, Run
from support.windows import answer, answers, given_up, log

pytestmark = pytest.mark.unit


def test_a_slot_is_made_of_what_is_looked_at_and_stays_the_same() -> None:
    run = Run(log(3, 5, 9))
    assert [slot.offset for slot in run] == [3, 5, 9]
    assert run[-1] is run[2]
    assert run[1].size == len(b"v5") + 200
    assert [slot.offset for slot in run[1:]] == [5, 9]
    with pytest.raises(IndexError):
        run[3]


def test_a_slot_shows_the_outcome_whether_it_was_made_before_or_after_it() -> None:
    records = log(3, 5)
    run = Run(records)
    early = run[0]
    assert early.outcome is None
    run.answered(answers(records))
    assert early.outcome == answer(records[0])
    assert run[1].outcome == answer(records[1])


def test_what_is_set_in_a_slot_leaves_in_place_of_the_answer() -> None:
    records = log(3, 5, 9)
    run, said = Run(records), answers(records)
    run.answered(said)
    run[1].outcome = given_up(records[1])
    expected = [said[0], given_up(records[1]), said[2]]
    assert run.outcomes == expected
    assert said == answers(records), "what the agent gave is its own"
    first, rest = run.parted(2)
    assert [*first.outcomes, *rest.outcomes] == expected
    assert Run.joined((first, rest)).outcomes == expected


def test_a_slot_without_an_outcome_takes_none_away() -> None:
    records = log(3, 5)
    run = Run(records)
    run.answered(answers(records))
    run[0].outcome = None
    assert run.outcomes == answers(records)


def test_all_of_a_run_is_in_one_state() -> None:
    run = Run(log(3, 5))
    assert [slot.state for slot in run.in_state(HELD)] == [HELD, HELD]
    assert run.in_state(HELD)[0] is run[0]


def test_one_run_is_joined_and_parted_without_a_copy() -> None:
    records = log(3, 5)
    run = Run(records, answers(records))
    assert Run.joined((run,)) is run
    assert run.parted(2)[0] is run
