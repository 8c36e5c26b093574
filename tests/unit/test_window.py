"""The window by example. Every order of events is tried in tests/property/test_window.py."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

import pytest
from bisupervised.streams.plane.window.marks import SPAN, Progress
from bisupervised.streams.plane.window.slots import Lease
from bisupervised.streams.plane.window.window import Window
from support.records import Record
from support.windows import (
    TOPIC_ID,
    Clock,
    answers,
    commit,
    log,
    make_window,
    offsets,
    resolve,
    stored,
    window_policy,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(lease: Lease | None, clock: Clock) -> None:
    """What a batch does when the agent raises on it, and it was the only one in the batch."""
    assert lease is not None
    lease.release(failed=True, alone=len(lease.slots) == 1, now=clock())


def sent(window: Window) -> list[bytes | None]:
    """The outcomes of one transaction, which goes through."""
    plan = window.plan()
    values = [outcome.value for outcome in plan.outcomes]
    window.committed(plan)
    return values


def filled(records: Iterable[Record], window: Window | None = None) -> Window:
    window = window or make_window()
    window.add(records)
    return window


def test_a_failing_batch_is_halved_down_to_the_guilty_record_while_the_rest_go_on(clock: Clock) -> None:
    window = filled(log(*range(8)))
    guilty, tried = 5, []
    assert offsets(window.take(4, clock())) == [0, 1, 2, 3]  # another batch, slow, untouched by all this
    while window.unfinished - window.ready > 4:
        clock.advance(1.0)
        lease = window.take(8, clock())
        assert lease is not None
        tried.append(offsets(lease))
        if guilty in tried[-1]:
            fail(lease, clock)
        else:
            resolve(lease)
    assert tried == [[4, 5, 6, 7], [4, 5], [4], [5], [5], [5], [6, 7]]
    assert window.faults == 5
    assert sent(window) == [b"answer 4", b"given up 5", b"answer 6", b"answer 7"]


def test_a_redelivery_waits_and_what_is_new_does_not(clock: Clock) -> None:
    window = filled(log(0, 1), make_window(window_policy(delay_s=2.0)))
    fail(window.take(2, clock()), clock)
    assert window.take(2, clock()) is None
    window.add(log(2))
    assert window.due(clock())
    assert offsets(window.take(2, clock())) == [2]
    clock.advance(1.9)
    assert not window.due(clock())
    clock.advance(0.1)
    assert offsets(window.take(2, clock())) == [0]


def test_what_is_given_back_without_a_fault_comes_at_once_and_first(clock: Clock) -> None:
    window = filled(log(0, 1, 2, 3))
    lease = window.take(2, clock())
    assert lease is not None
    lease.release(failed=False, alone=False, now=clock())
    assert window.faults == 0
    assert [offsets(window.take(4, clock())) for _ in range(2)] == [[0, 1], [2, 3]]


def test_a_larger_run_is_cut_to_the_limit(clock: Clock) -> None:
    window = filled(log(0, 1, 2))
    lease = window.take(3, clock())
    assert lease is not None
    lease.release(failed=False, alone=False, now=clock())
    assert [offsets(window.take(2, clock())) for _ in range(2)] == [[0, 1], [2]]


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_a_record_is_given_up_after_its_last_try_alone(clock: Clock, tries: int) -> None:
    window = filled(log(0), make_window(window_policy(tries=tries)))
    for _ in range(tries):
        assert window.ready == 0
        clock.advance(1.0)
        fail(window.take(1, clock()), clock)
    assert sent(window) == [b"given up 0"]
    assert window.held == window.unfinished == 0


def test_a_failure_beside_records_of_other_windows_is_nobodys_fault_yet(clock: Clock) -> None:
    window = filled(log(0), make_window(window_policy(tries=1)))
    lease = window.take(1, clock())
    assert lease is not None
    lease.release(failed=True, alone=False, now=clock())
    assert (window.ready, window.faults, window.alone) == (0, 1, True)
    clock.advance(1.0)
    fail(window.take(1, clock()), clock)
    assert sent(window) == [b"given up 0"]


def test_outcomes_of_a_key_wait_for_the_one_before(clock: Clock) -> None:
    window = make_window(window_policy(ordering="key"))
    window.add([Record(b"", 0, key=b"a"), Record(b"", 1, key=b"b"), Record(b"", 2, key=b"a"), Record(b"", 3, key=None)])
    leases = [window.take(1, clock()) for _ in range(4)]
    resolve(leases[2])
    assert window.ready == 0  # 0 has the same key, and is not answered
    resolve(leases[3])
    resolve(leases[1])
    assert sent(window) == [b"answer 3", b"answer 1"]
    resolve(leases[0])
    assert sent(window) == [b"answer 0", b"answer 2"]


def test_without_order_a_key_waits_for_nothing(clock: Clock) -> None:
    window = filled(log(0, 1, key=b"a"), make_window(window_policy(ordering="none")))
    first, second = window.take(1, clock()), window.take(1, clock())
    resolve(second)
    assert sent(window) == [b"answer 1"]
    assert first is not None


def test_a_record_that_is_given_up_frees_its_key(clock: Clock) -> None:
    window = filled(log(0, 1, key=b"a"), make_window(window_policy(ordering="key", tries=1)))
    first, second = window.take(1, clock()), window.take(1, clock())
    resolve(second)
    fail(first, clock)
    assert sent(window) == [b"given up 0", b"answer 1"]


def test_a_transaction_that_failed_is_sent_again_before_what_came_later(clock: Clock) -> None:
    window = filled(log(0, 1, key=b"a"), make_window(window_policy(ordering="key")))
    first, second = window.take(1, clock()), window.take(1, clock())
    resolve(first)
    plan = window.plan()
    resolve(second)
    window.rolled_back(plan)
    assert window.watermark == 0
    assert sent(window) == [b"answer 0", b"answer 1"]


def test_of_two_transactions_the_first_is_committed_and_the_last_rolled_back(clock: Clock) -> None:
    window = filled(log(0, 1, 2))
    plans = []
    for _ in range(3):
        resolve(window.take(1, clock()))
        plans.append(window.plan())
    window.committed(plans[0])
    oldest = window.oldest
    assert oldest is not None
    assert oldest.offset == 1
    window.rolled_back(plans[2])
    assert window.watermark == 2
    window.committed(plans[1])
    assert sent(window) == [b"answer 2"]
    assert window.unfinished == 0


def test_what_lies_farther_on_than_marks_reach_waits_also_where_all_goes_in_order(clock: Clock) -> None:
    window = filled(log(0, SPAN - 1, SPAN, SPAN + 7))
    resolve(window.take(9, clock()))
    assert [[slot.offset for slot in commit(window).slots] for _ in range(2)] == [[0, SPAN - 1], [SPAN, SPAN + 7]]


def test_a_restart_skips_what_is_marked(clock: Clock) -> None:
    window = filled(log(0, 1, 2, 5))
    slow, fast = window.take(1, clock()), window.take(3, clock())
    resolve(fast)
    plan = commit(window)
    assert plan.progress == Progress(0, frozenset({1, 2, 5}), "n", TOPIC_ID)
    successor = filled(log(0, 1, 2, 5, 6), make_window(start=Progress(0, plan.progress.done, "c", TOPIC_ID)))
    assert successor.unfinished == 2
    assert successor.bytes == filled(log(0, 6)).bytes
    assert offsets(successor.take(9, clock())) == [0, 6]
    assert slow is not None


def test_a_mark_at_the_watermark_is_kept_until_its_record_is_fetched(clock: Clock) -> None:
    """A fetch may end just before a record that is done: the next owner must not answer it again."""
    window = make_window(start=Progress(5, frozenset({7}), "c", TOPIC_ID))
    window.add(log(5, 6))
    resolve(window.take(2, clock()))
    assert stored(commit(window)) == Progress(7, frozenset({7}), "n", TOPIC_ID)
    window.add(log(7, 8))
    assert offsets(window.take(2, clock())) == [8]


def test_marks_of_records_that_compaction_took_are_forgotten(clock: Clock) -> None:
    window = make_window(start=Progress(5, frozenset({7}), "c", TOPIC_ID))
    window.add(log(5, 9))
    resolve(window.take(2, clock()))
    assert commit(window).progress == Progress(10, frozenset(), "n", TOPIC_ID)


def test_holes_in_the_offsets_are_no_gaps(clock: Clock) -> None:
    window = filled(log(3, 7, 8, 20))
    resolve(window.take(3, clock()))
    assert commit(window).progress.offset == 20
    resolve(window.take(1, clock()))
    window.advance(25)
    assert commit(window).progress.offset == 25


def test_the_position_never_goes_back() -> None:
    window = filled(log(0, 1, 2))
    window.advance(1)
    window.add(log(1, 2))
    assert (window.position, window.unfinished) == (3, 3)


def test_a_lease_ends_once(clock: Clock) -> None:
    window = filled(log(0, 1))
    lease = window.take(2, clock())
    resolve(lease)
    resolve(lease)
    fail(lease, clock)
    assert (window.ready, window.held, window.pending, window.faults) == (2, 0, 0, 0)
    assert window.discarded == 4


def test_what_comes_for_a_closed_window_is_discarded(clock: Clock) -> None:
    window = filled(log(0, 1))
    answered, released = window.take(1, clock()), window.take(1, clock())
    assert window.close() == 2
    resolve(answered)
    fail(released, clock)
    assert (window.ready, window.held, window.pending, window.faults, window.discarded) == (0, 0, 0, 0, 2)
    assert window.take(1, clock()) is None


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_outcomes_resolves_nothing(clock: Clock, count: int) -> None:
    window = filled(log(0, 1))
    lease = window.take(2, clock())
    assert lease is not None
    with pytest.raises(ValueError, match="2 records need as many outcomes"):
        lease.resolve(answers(log(*range(count))))
    assert not lease.ended
    resolve(lease)
    assert window.ready == 2


def test_a_transaction_of_limited_size(clock: Clock) -> None:
    window = filled(log(*range(5)))
    resolve(window.take(5, clock()))
    assert [len(commit(window, limit=2).slots) for _ in range(4)] == [2, 2, 1, 0]
    assert window.committed_progress.offset == 5


@pytest.mark.parametrize(
    ("bound", "fits", "full"),
    [
        (window_policy(records=4), log(0, 1, 2), log(3)),
        (window_policy(pending=4), log(0, 1, 2), log(3)),
        (window_policy(size=4 * 202), log(0, 1, 2), log(3)),
        (window_policy(), log(0, SPAN - 2), log(SPAN - 1)),
    ],
)
def test_every_bound_fills_the_window(bound: object, fits: list[Record], full: list[Record], clock: Clock) -> None:
    window = make_window(bound)  # type: ignore[arg-type]  # a policy; parametrize knows no types
    window.add(fits)
    assert not window.full()
    window.add(full)
    assert window.full()
    resolve(window.take(100, clock()))
    commit(window)
    assert not window.full(0.5)


def test_done_records_above_a_slow_one_do_not_stay_in_memory(clock: Clock) -> None:
    """They no longer count for the bound in bytes, so their bytes must be gone."""
    window = make_window()
    records = log(0, 1)
    done = weakref.ref(records[1])
    window.add(records)
    slow, fast = window.take(1, clock()), window.take(1, clock())
    resolve(fast)
    commit(window)
    del records, fast
    gc.collect()
    assert done() is None
    assert slow is not None
    assert window.unfinished == 1


def test_skipped_records_do_not_stay_in_memory() -> None:
    window = make_window(start=Progress(0, frozenset({1}), "c", TOPIC_ID))
    records = log(0, 1)
    skipped = weakref.ref(records[1])
    window.add(records)
    del records
    gc.collect()
    assert skipped() is None


def arm(window: Window) -> None:
    window.committed(window.arming())


def test_after_an_unclean_death_one_batch_at_a_time_each_armed_and_committed(clock: Clock) -> None:
    window = filled(log(*range(9)), make_window(start=Progress(0, phase="n", topic_id=TOPIC_ID)))
    assert window.take(9, clock()) is None  # nobody would know what it died of
    arm(window)
    assert window.committed_progress.phase == "B"
    first = window.take(9, clock())
    assert offsets(first) == [0, 1, 2, 3]
    assert window.take(9, clock()) is None
    resolve(first)
    assert window.take(9, clock()) is None  # answered is not committed
    assert stored(commit(window)).phase == "b"
    assert window.wants_arming
    arm(window)
    assert offsets(window.take(9, clock())) == [4, 5, 6, 7]


def test_after_dying_on_one_batch_one_record_at_a_time(clock: Clock) -> None:
    window = filled(log(0, 1), make_window(start=Progress(0, phase="B", topic_id=TOPIC_ID)))
    assert window.progress().phase == "a0"
    arm(window)
    assert window.committed_progress.phase == "a1"
    assert offsets(window.take(9, clock())) == [0]


def test_the_tries_of_one_record_are_not_held_against_the_next(clock: Clock) -> None:
    """The phase in a commit stands beside the offset in it, so it tells of the record there."""
    window = filled(log(0, 1), make_window(start=Progress(0, phase="a2", topic_id=TOPIC_ID)))
    arm(window)
    assert window.committed_progress.phase == "a3"
    resolve(window.take(1, clock()))
    assert stored(commit(window)) == Progress(1, frozenset(), "a0", TOPIC_ID)


def test_a_record_that_killed_the_process_every_time_is_given_up_untried(clock: Clock) -> None:
    window = filled(log(0, 1), make_window(start=Progress(0, phase="a3", topic_id=TOPIC_ID)))
    assert not window.wants_arming
    assert window.take(9, clock()) is None
    assert sent(window) == [b"given up 0"]
    assert window.committed_progress == Progress(1, frozenset(), "a0", TOPIC_ID)
    arm(window)
    assert offsets(window.take(9, clock())) == [1]


def test_a_partition_that_is_handed_over_is_as_suspect_as_before(clock: Clock) -> None:
    window = filled(log(0, 1), make_window(start=Progress(0, phase="a2", topic_id=TOPIC_ID)))
    arm(window)
    assert window.closing(window.plan()).progress.phase == "a2"  # armed, and not tried


def test_the_status_line_tells_what_an_operator_asks(clock: Clock) -> None:
    window = filled(log(0, 1, 2))
    resolve(window.take(1, clock()))
    assert window.take(1, clock()) is not None
    assert repr(window) == "<Window 0..3 unfinished=3 pending=1 held=1 ready=1 phase=n>"
