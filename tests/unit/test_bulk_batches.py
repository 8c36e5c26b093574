"""When a batch is full, what the log says, how often it is looked at, and how much the provider's queue takes."""

from __future__ import annotations

import math

import msgspec
import pytest
from bisupervised.agents.remote.bulk.closing import (
    ClosePolicy,
    Gathered,
    Part,
    clipped,
    earlier,
    holds,
    joined,
    parts_of,
    ranges,
)
from bisupervised.agents.remote.bulk.fold import BulkLedger
from bisupervised.agents.remote.bulk.identity import Place, batch_id, place_in
from bisupervised.agents.remote.bulk.pace import PacePolicy
from bisupervised.agents.remote.bulk.queue import TokenQueue
from bisupervised.schemas.bulk import BatchTold, BulkEntry, decode_bulk, encode_bulk

POLICY = ClosePolicy(records=3, bytes=100, tokens=50, money=10, age_s=5.0, excluded=2)


def batch(first: int, **changes: object) -> BatchTold:
    made = BatchTold(f"b{first}", first, first + 10, "closed", "openai_batch", records=10)
    return msgspec.structs.replace(made, **changes)


def entry(*batches: BatchTold, whole: bool = False, topic_id: str = "t", queue_tokens: int = 0) -> BulkEntry:
    end = max((one.end for one in batches), default=0)
    return BulkEntry("shop", topic_id, end, batches, whole=whole, queue_tokens=queue_tokens)


@pytest.mark.parametrize(
    ("size", "tokens", "most", "room"), [(40, 20, 4, True), (41, 20, 4, False), (40, 21, 4, False), (40, 20, 5, False)]
)
def test_an_input_goes_into_a_batch_that_has_room_for_it(size: int, tokens: int, most: int, *, room: bool) -> None:
    gathered = Gathered(0, 0.0)
    assert gathered.has_room(1000, 1000, 1000, POLICY), "the first one always does"
    gathered.add(0, 60, 30, 6)
    assert gathered.has_room(size, tokens, most, POLICY) is room


def test_no_bound_is_none() -> None:
    gathered = Gathered(0, 0.0)
    gathered.add(0, 1, 10**9, 10**9)
    assert gathered.has_room(1, 10**9, 10**9, ClosePolicy())


def test_it_is_closed_when_it_is_full_or_old_enough_and_never_empty() -> None:
    gathered = Gathered(0, 10.0)
    assert not gathered.is_due(math.inf, POLICY)
    gathered.add(0, 1, 1, 1)
    assert not gathered.is_due(14.9, POLICY)
    assert gathered.is_due(15.0, POLICY)
    gathered.add(1, 1, 1, 1)
    gathered.add(5, 1, 1, 1)
    assert gathered.is_due(10.0, POLICY)
    assert gathered.end == 6


def test_what_cannot_be_asked_does_not_wait_for_ever_in_memory() -> None:
    gathered = Gathered(0, 10.0)
    gathered.leave_out(3)
    assert not gathered.is_due(10.0, POLICY)
    gathered.leave_out(4)
    assert gathered.is_due(10.0, POLICY)
    assert (gathered.end, gathered.records) == (5, 0)


def test_offsets_are_told_as_ranges() -> None:
    found = ranges([1, 2, 3, 7, 9, 10])
    assert found == ((1, 4), (7, 8), (9, 11))
    assert [offset for offset in range(12) if holds(found, offset)] == [1, 2, 3, 7, 9, 10]


def test_ranges_grow_and_the_earliest_deadline_is_known() -> None:
    assert joined(((1, 4), (7, 8)), [4, 9, 2]) == ((1, 5), (7, 8), (9, 10))
    assert [earlier(*pair) for pair in ((None, None), (3, None), (None, 4), (5, 4))] == [None, 3, 4, 4]
    gathered = Gathered(0, 0.0)
    for offset, deadline_ms in enumerate((None, 9, 7, None, 8)):
        gathered.add(offset, 1, 1, 1, deadline_ms)
    assert gathered.deadline_ms == 7


def test_the_last_word_about_a_batch_counts() -> None:
    ledger = BulkLedger("t")
    for told in (
        entry(batch(0)),
        entry(batch(10)),
        entry(batch(0, state="running", provider_id="p"), queue_tokens=9),
        entry(batch(10, state="ended")),
    ):
        ledger.take(decode_bulk(encode_bulk(told)))
    assert ledger.open == {"b0": batch(0, state="running", provider_id="p")}
    assert [one.id for one in ledger.ended] == ["b10"]
    assert (ledger.next, ledger.queue_tokens) == (20, 0)


def test_a_whole_entry_stands_for_itself_and_another_topic_for_nothing() -> None:
    ledger = BulkLedger("t")
    ledger.take(entry(batch(0), batch(10)))
    ledger.take(entry(batch(90), topic_id="made anew"))
    assert ledger.next == 20
    ledger.take(entry(batch(10), whole=True))
    assert ledger.open == {"b10": batch(10)}


def test_an_entry_of_another_version_is_not_guessed_at() -> None:
    with pytest.raises(msgspec.DecodeError, match="version 2"):
        decode_bulk(encode_bulk(msgspec.structs.replace(entry(), v=2)))


def test_names_tell_places_and_nothing_else_does() -> None:
    assert place_in("b3-70-AAAAAAAAAAAAAAAA") == Place(3, 70)
    for foreign in ("", "b3-70", "b3-70-short", "x3-70-AAAAAAAAAAAAAAAA", "b3-70-AAAAAAAAAAAAAAAA\n", "b-1-70-A"):
        assert place_in(foreign) is None
    assert batch_id("shop", "t", 1, 0, 5) != batch_id("shop", "anew", 1, 0, 5)


def test_a_batch_is_looked_at_more_seldom_as_it_gets_older() -> None:
    pace = PacePolicy(10.0, 300.0)
    assert [pace.poll_s(age_s) for age_s in (0.0, 100.0, 1000.0, 10_000.0)] == [10.0, 10.0, 50.0, 300.0]


def test_what_has_failed_waits_twice_as_long_each_time_or_as_the_server_wishes() -> None:
    pace = PacePolicy(10.0, 300.0)
    assert [pace.again_s(failures) for failures in (0, 1, 2, 9, 1000)] == [10.0, 20.0, 40.0, 300.0, 300.0]
    assert (pace.again_s(0, random=0.0), pace.again_s(0, random=1.0)) == (5.0, 15.0)
    assert pace.again_s(0, wish_s=60.0) == 60.0


def inputs(*tokens: int, first: int = 0, step: int = 1) -> list[Part]:
    return [Part(first + number * step, 1, taken, 1, 1000 - number) for number, taken in enumerate(tokens)]


def test_a_batch_is_split_into_ranges_without_a_gap_that_each_have_room_in_the_queue() -> None:
    parts = parts_of(5, 30, inputs(20, 20, 20, 90, 10, 40, first=7, step=3), ClosePolicy(tokens=50))
    assert [(one.first, one.end) for one in parts] == [(5, 13), (13, 16), (16, 19), (19, 30)]
    assert [one.tokens for one in parts] == [40, 20, 90, 50]
    assert [one.records for one in parts] == [2, 1, 1, 2]
    assert [one.deadline_ms for one in parts] == [999, 998, 997, 995]


def test_the_first_part_may_be_a_few_and_one_that_cannot_be_split_stays_whole() -> None:
    some = inputs(*[1] * 10)
    assert [one.records for one in parts_of(0, 10, some, ClosePolicy(), head=3)] == [3, 7]
    assert [(one.first, one.end) for one in parts_of(0, 10, some, ClosePolicy())] == [(0, 10)]
    assert [(one.first, one.end, one.records) for one in parts_of(3, 9, [], ClosePolicy())] == [(3, 9, 0)]


def test_no_batch_is_split_into_more_than_an_entry_of_the_log_can_tell() -> None:
    parts = parts_of(0, 1000, inputs(*[9] * 1000), ClosePolicy(tokens=9))
    assert len(parts) == 100
    assert (parts[-1].first, parts[-1].end, parts[-1].records) == (99, 1000, 901)


def test_ranges_are_cut_to_those_of_a_part() -> None:
    assert clipped(((1, 4), (7, 9), (12, 13)), 3, 8) == ((3, 4), (7, 8))
    assert clipped(((1, 4),), 4, 8) == ()


def test_what_was_learned_bounds_a_batch_as_the_settings_do_and_the_lower_bound_counts() -> None:
    close = ClosePolicy(tokens=50)
    assert [close.within(tokens).tokens for tokens in (0, 40, 60)] == [50, 40, 50]
    assert [ClosePolicy().within(tokens).tokens for tokens in (0, 40)] == [0, 40]


def test_a_batch_that_was_split_is_over_when_its_parts_are_known() -> None:
    ledger = BulkLedger("t")
    ledger.take(entry(batch(0)))
    parts = [batch(0, id="b0-4", end=4), batch(4, id="b4-10", end=10)]
    split = BulkEntry("shop", "t", 10, (batch(0, state="ended", split=2), *parts), batch_tokens=70)
    ledger.take(decode_bulk(encode_bulk(split)))
    assert list(ledger.open) == ["b0-4", "b4-10"]
    assert (ledger.next, ledger.batch_tokens) == (10, 70)


def test_what_one_batch_may_have_is_learned_from_what_is_refused_alone() -> None:
    queue = TokenQueue()
    queue.refused("a", 1000)
    assert not queue.too_large(10**9), "others waited beside it"
    queue.refused("a", 1000, alone=True)
    assert queue.most == 500
    assert [queue.too_large(tokens) for tokens in (500, 501)] == [False, True]
    queue.refused("b", 400, alone=True)
    assert queue.most == 200


def test_no_less_is_tried_than_what_was_answered_before_unless_that_is_refused_too() -> None:
    queue = TokenQueue()
    queue.taken("a", 800)
    queue.answered("a")
    queue.refused("b", 1000, alone=True)
    assert queue.most == 800
    queue.refused("c", 2000, alone=True)
    assert queue.most == 800
    queue.refused("d", 700, alone=True)
    assert queue.most == 350


def test_a_batch_at_the_limit_that_is_answered_raises_it() -> None:
    queue = TokenQueue()
    queue.refused("a", 1000, alone=True)
    queue.taken("b", 480)
    queue.answered("b")
    assert queue.most == 500
    queue.taken("c", 495)
    assert queue.most == 500, "it may be refused yet"
    queue.answered("c")
    assert (queue.most, queue.waiting) == (510, 0)


def test_what_the_queue_takes_is_learned_from_what_it_refuses() -> None:
    queue = TokenQueue()
    queue.taken("a", 600)
    assert queue.fits(10**9), "nothing is known yet"
    queue.refused("b", 600)
    assert queue.limit == 1080
    assert queue.fits(480)
    assert not queue.fits(481)
    queue.left("a")
    assert queue.fits(10**9), "one alone may always be tried"
    queue.refused("c", 1000)
    assert queue.limit == 900


def test_a_limit_grows_where_batches_at_the_limit_are_taken() -> None:
    queue = TokenQueue(1000)
    queue.taken("a", 500)
    assert queue.limit == 1000
    queue.taken("b", 490)
    assert queue.limit == 1020


def test_the_least_that_former_owners_learned_is_believed() -> None:
    queue = TokenQueue()
    for limit in (0, 700, 900, 0):
        queue.learned_before(limit, limit // 2)
    assert (queue.limit, queue.most) == (700, 350)
