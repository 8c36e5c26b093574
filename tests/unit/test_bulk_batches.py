"""When a batch is full, what the log says, how often it is looked at, and how much the provider's queue takes."""

from __future__ import annotations

import math

import msgspec
import pytest
from bisupervised.agents.remote.bulk.closing import ClosePolicy, Gathered, earlier, holds, joined, ranges
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
        queue.learned_before(limit)
    assert queue.limit == 700
