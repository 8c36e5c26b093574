"""Whose call may have been made already: what a commit says, and what is read from it."""

from __future__ import annotations

import pytest
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.plane.window.batch import Batch
from bisupervised.streams.plane.window.caution import Caution, CautionPolicy
from bisupervised.streams.plane.window.marks import SPAN, Progress, decode
from bisupervised.streams.plane.window.slots import Lease
from bisupervised.streams.plane.window.window import Window, WindowPolicy
from support.windows import TOPIC_ID, given_up, log, offsets, resolve

CALM = CautionPolicy(tries=3, batch=4, suspects=20, enabled=False)
POLICY = WindowPolicy(1000, 1 << 30, 1000, 3, "none", ahead=4)


def window(start: Progress | None = None) -> Window:
    """As its owner finds it, its opening committed."""
    start = start or Progress(0, topic_id=TOPIC_ID)
    made = Window(POLICY, start, Caution(CALM, start.phase), given_up)
    commit(made)
    return made


def commit(made: Window, *, last: bool = False) -> Progress:
    """What the broker keeps of a transaction that goes through."""
    plan = made.closing(made.plan()) if last else made.plan()
    made.committed(plan)
    return decode(plan.progress.offset, plan.progress.metadata())


def batch(*leases: Lease | None) -> Batch:
    return Batch([lease for lease in leases if lease is not None], lambda: 0.0, lambda: None)


def called(lease: Lease | None) -> list[int]:
    assert lease is not None
    return [slot.offset for slot in lease.slots if slot.called]


def test_nothing_is_handed_out_before_a_commit_says_so() -> None:
    made = window()
    made.add(log(*range(10)))
    assert made.take(9, 0.0) is None
    assert made.wants_write_ahead
    assert commit(made).phase == "a4"
    assert offsets(made.take(9, 0.0)) == [0, 1, 2, 3]
    assert made.wants_write_ahead
    assert commit(made).phase == "a8"
    assert offsets(made.take(9, 0.0)) == [4, 5, 6, 7]


def test_a_commit_allows_twice_what_went_out_since_the_last_so_that_nobody_waits_for_it() -> None:
    made = window()
    made.add(log(*range(100)))
    phases, handed_out = [], 0
    for _ in range(5):
        phases.append(commit(made).phase)
        handed_out += len(offsets(made.take(100, 0.0)))
    assert phases == ["a4", "a8", "a16", "a24", "a40"]  # the offset stays: nothing is answered
    assert handed_out == 40


def test_a_commit_never_says_less_than_may_have_gone_out_by_the_one_before() -> None:
    made = window()
    made.add(log(*range(100)))
    for _ in range(3):
        commit(made)
        made.take(100, 0.0)
    assert [commit(made).phase for _ in range(4)] == ["a24", "a32", "a32", "a32"]
    assert offsets(made.take(100, 0.0)) == list(range(16, 32))


def test_a_hole_wider_than_what_a_commit_allows_stops_nobody() -> None:
    made = window()
    made.add(log(0, 500))
    taken = []
    for _ in range(3):
        commit(made)
        taken += offsets(made.take(9, 0.0))
    assert taken == [0, 500]


def test_markers_behind_the_last_record_do_not_hide_that_more_is_wanted() -> None:
    made = window()
    made.add(log(0))
    commit(made)
    resolve(made.take(1, 0.0))
    made.advance(4)
    commit(made)  # allows what lies below 4, where no record is
    made.add(log(9))
    assert made.wants_write_ahead
    commit(made)
    assert offsets(made.take(1, 0.0)) == [9]


def test_what_may_have_been_asked_before_a_crash_is_known_and_nobody_else() -> None:
    first = window()
    first.add(log(*range(10)))
    commit(first)
    leases = [first.take(1, 0.0) for _ in range(3)]
    resolve(leases[1])
    left = commit(first)
    assert (left.offset, left.done, left.phase) == (0, frozenset({1}), "a7")
    second = window(left)
    second.add(log(*range(10)))
    assert called(second.take(9, 0.0)) == [0, 2, 3, 4, 5, 6]  # of four it is not known whether they were asked
    commit(second)
    assert called(second.take(9, 0.0)) == []


def test_an_heir_that_dies_at_once_hides_nothing_either() -> None:
    second = window(Progress(0, phase="a3", topic_id=TOPIC_ID))
    third = window(second.committed_progress)
    third.add(log(0, 1, 2, 3))
    assert called(third.take(9, 0.0)) == [0, 1, 2]


def test_a_clean_end_without_calls_says_that_nothing_was_asked() -> None:
    made = window()
    made.add(log(0, 1))
    commit(made)
    given_back = batch(made.take(9, 0.0))
    given_back.release()
    assert commit(made, last=True).phase == "c"


def test_a_clean_end_after_a_call_whose_answer_was_lost_says_so() -> None:
    made = window()
    made.add(log(0, 1, 2))
    commit(made)
    given_back = batch(made.take(9, 0.0))
    given_back.called(1)
    given_back.release()
    assert commit(made, last=True).phase == "a2"


def test_a_drain_that_came_to_its_deadline_leaves_what_was_held_as_asked() -> None:
    made = window()
    made.add(log(0, 1, 2))
    commit(made)
    assert offsets(made.take(2, 0.0)) == [0, 1]
    assert commit(made, last=True).phase == "a2"


def test_what_is_delivered_again_in_the_same_life_is_known() -> None:
    made = window()
    made.add(log(0, 1))
    commit(made)
    first = batch(made.take(9, 0.0))
    assert [first.called_before(position) for position in range(2)] == [False, False]
    first.called(0)
    first.release()
    again = batch(made.take(9, 0.0))
    assert [again.called_before(position) for position in range(2)] == [True, False]


@pytest.mark.parametrize("phase", ["n", "b", "B"])
def test_a_version_that_did_not_say_leaves_all_that_a_window_reaches(phase: str) -> None:
    made = window(decode(7, f"1;{TOPIC_ID};{phase};"))
    made.add(log(7, 7 + SPAN - 1, 7 + SPAN))
    assert called(made.take(9, 0.0)) == [7, 7 + SPAN - 1]


@pytest.mark.parametrize("metadata", [f"1;{TOPIC_ID};c;", ""])
def test_after_a_clean_end_or_an_offset_set_by_hand_nothing_was_asked(metadata: str) -> None:
    made = window(decode(7, metadata))
    made.add(log(7, 8))
    commit(made)
    assert called(made.take(9, 0.0)) == []


def test_a_version_that_knows_nothing_of_it_reads_what_is_left_and_is_not_careful() -> None:
    """Its whole reading: four fields, a phase of `a` and digits, which a plane without caution ignores."""
    made = window()
    made.add(log(*range(6)))
    commit(made)
    made.take(9, 0.0)
    metadata = made.progress().metadata()
    assert metadata == f"1;{TOPIC_ID};a6;"
    old = WindowPolicy(1000, 1 << 30, 1000, 3, "none")
    start = decode(0, metadata)
    reader = Window(old, start, Caution(CALM, start.phase), given_up)
    reader.add(log(*range(6)))
    assert (reader.alone, offsets(reader.take(9, 0.0))) == (False, [0, 1, 2, 3, 4, 5])
    assert reader.progress().phase == "n"


def test_outcomes_leave_as_without_it() -> None:
    made = window()
    made.add(log(0, 1, 2))
    commit(made)
    taken = batch(made.take(9, 0.0))
    taken.resolve([Outgoing("results", None, b"x", (), 0)] * 3)
    left = commit(made, last=True)
    assert (left.offset, left.phase) == (3, "c")
