"""One partition over a scripted broker: what is believed after each kind of failure. Time is virtual."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka import TopicPartition
from bisupervised.streams.kafka.errors import Lost, NotAllowed, Unsettled
from bisupervised.streams.kafka.refusals import Refusal
from bisupervised.streams.plane.window.marks import MarksError, Progress
from support.partitions import (
    BAD_TIME,
    TOO_LARGE,
    LaggingBroker,
    Owner,
    ScriptedBroker,
    arrived_uncommitted,
    commit_lost,
    lost_after,
    lost_before,
)
from support.virtual_time import on_virtual_time
from support.windows import TOPIC_ID, log, window_policy


def values(*offsets: int) -> list[bytes]:
    return [b"answer %d" % offset for offset in offsets]


def ours(offset: int, *done: int, phase: str = "n") -> Progress:
    return Progress(offset, frozenset(done), phase, TOPIC_ID)


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.action for record in caplog.records if hasattr(record, "action")]


# acquiring


@on_virtual_time
async def test_the_log_says_in_words_where_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    owner = Owner(ScriptedBroker(ours(7)))
    await owner.owned.wait()
    (told,) = [record for record in caplog.records if getattr(record, "action", "") == "partition_acquired"]
    assert told.getMessage() == "requests-0 is ours: it goes on at offset 7"
    assert (told.topic, told.partition, told.offset) == ("requests", 0, 7)  # type: ignore[attr-defined]  # its extra


@on_virtual_time
async def test_the_phase_is_committed_before_anything_is_fetched() -> None:
    broker = ScriptedBroker(ours(7, 9, phase="n"))
    owner = Owner(broker, careful=True)
    await owner.owned.wait()
    assert broker.commits == [ours(7, 9, phase="b")]
    assert owner.partition.position == 7
    await owner.release()


@pytest.mark.parametrize("careful", [True, False])
@on_virtual_time
async def test_a_first_owner_suspects_nothing(careful: bool) -> None:
    """It begins twice, and what it left in between is no death."""
    broker = ScriptedBroker()
    owner = Owner(broker, careful=careful)
    await owner.owned.wait()
    assert [commit.phase for commit in broker.commits] == ["c", "n"]
    await owner.release()


@on_virtual_time
async def test_a_group_that_never_committed_begins_at_the_first_offset() -> None:
    broker = ScriptedBroker()
    owner = Owner(broker)
    await owner.owned.wait()
    # by a producer of its own, then by the one that goes on
    assert broker.commits == [Progress(40, phase=phase, topic_id=TOPIC_ID, born=4) for phase in ("c", "n")]
    await owner.release()
    assert broker.stored == Progress(40, phase="c", topic_id=TOPIC_ID, born=4)


@on_virtual_time
async def test_it_is_acquired_again_and_again_until_the_broker_answers() -> None:
    broker = ScriptedBroker(ours(0), open_fails=2, progress_fails=[Lost("away")], script=[lost_before, lost_after])
    owner = Owner(broker)
    await owner.owned.wait()
    assert broker.opened == 6
    await owner.answer(0)
    assert broker.sent == values(0)
    await owner.release()


@on_virtual_time
async def test_acquiring_ends_when_the_partition_is_taken_away() -> None:
    broker = ScriptedBroker(open_fails=10**6)
    owner = Owner(broker)
    await asyncio.sleep(5.0)
    await owner.release()
    assert not owner.owned.is_set()
    assert broker.discarded == 1


@on_virtual_time
async def test_a_recreated_topic_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker(Progress(7, topic_id="e" * 32))
    owner = Owner(broker)
    await owner.task
    assert owner.partition.stopped is not None
    assert "another topic of the name 'requests'" in owner.partition.stopped
    assert actions(caplog) == ["partition_stopped"]
    assert caplog.messages[0].startswith("requests-0: ")
    assert broker.commits == []
    assert not owner.partition.taking


@pytest.mark.parametrize(("before", "now"), [("", TOPIC_ID), ("e" * 32, ""), ("", "")])
def test_a_broker_without_topic_ids_refuses_nothing(before: str, now: str) -> None:
    @on_virtual_time
    async def scenario() -> None:
        owner = Owner(ScriptedBroker(Progress(7, topic_id=before), topic=now))
        await owner.answer(7)
        assert owner.broker.sent == values(7)
        await owner.release()

    scenario()


@on_virtual_time
async def test_foreign_metadata_stops_it_loudly(caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner(ScriptedBroker(progress_fails=[MarksError("not ours")]))
    await owner.task
    assert owner.partition.stopped == "not ours"
    assert actions(caplog) == ["partition_stopped"]


@on_virtual_time
async def test_what_is_not_allowed_is_not_tried_again() -> None:
    broker = ScriptedBroker(progress_fails=[NotAllowed("Read", "group", "shop-local")])
    owner = Owner(broker)
    with pytest.raises(NotAllowed):
        await owner.task
    assert (broker.opened, broker.discarded) == (1, 1)
    assert owner.partition.stopped is None, "a new process goes on where it was"


@on_virtual_time
async def test_an_error_nobody_foresaw_is_raised_and_the_producer_is_let_go() -> None:
    broker = ScriptedBroker(progress_fails=[ZeroDivisionError()])
    owner = Owner(broker)
    with pytest.raises(ZeroDivisionError):
        await owner.task
    assert broker.discarded == 1


# flushing


@on_virtual_time
async def test_outcomes_and_offset_leave_together_as_soon_as_they_are_ready() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker)
    slow, fast = await owner.take(0), await owner.take(1, 2)
    began = asyncio.get_running_loop().time()
    owner.resolve(fast)
    await asyncio.sleep(0.01)
    assert broker.sent == values(1, 2)
    assert broker.stored == ours(0, 1, 2)
    owner.resolve(slow)
    await asyncio.sleep(0.01)
    assert broker.stored == ours(3)
    assert asyncio.get_running_loop().time() < began + 0.1
    assert owner.progressions == 2
    await owner.release()


@on_virtual_time
async def test_under_load_at_most_one_transaction_in_a_commit_interval() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker, loaded_per_s=1.0, commit_interval_s=1.0)
    leases = [await owner.take(offset) for offset in range(50)]
    for lease in leases:
        owner.resolve(lease)
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)
    assert broker.sent == values(*range(50))
    assert 5 <= len(broker.commits) - 1 <= 7
    await owner.release()


@pytest.mark.parametrize(
    ("per_s", "least", "most"), [(10, 10, 10), (30, 30, 30), (70, 16, 24), (100, 9, 12), (1000, 9, 12)]
)
def test_the_more_comes_the_longer_until_the_next_transaction(per_s: int, least: int, most: int) -> None:
    """Up to the commit interval, at the rate that is full load."""

    @on_virtual_time
    async def scenario() -> None:
        broker = ScriptedBroker(ours(0))
        owner = Owner(broker, loaded_per_s=100.0, commit_interval_s=0.1)
        await owner.owned.wait()
        for offset in range(5 * per_s):
            if offset == per_s:  # the first second does not count
                broker.commits.clear()
            owner.resolve(await owner.take(offset))
            await asyncio.sleep(1 / per_s)
        assert least <= len(broker.commits) / 4 <= most
        await owner.release()
        assert broker.sent == values(*range(5 * per_s))

    scenario()


@pytest.mark.parametrize(("commit_interval_s", "least", "most"), [(0.1, 16, 18), (0.04, 24, 26), (0.01, 32, 34)])
def test_after_each_transaction_comes_a_pause_as_long_as_they_take(
    commit_interval_s: float, least: int, most: int
) -> None:
    """Up to the commit interval. They take 30 ms here."""

    @on_virtual_time
    async def scenario() -> None:
        broker = ScriptedBroker(ours(0), takes_s=0.03)
        owner = Owner(broker, loaded_per_s=1e9, commit_interval_s=commit_interval_s)
        for offset in range(400):
            if offset == 200:  # what they take is known by now
                broker.commits.clear()
            owner.resolve(await owner.take(offset))
            await asyncio.sleep(0.005)
        assert least <= len(broker.commits) <= most
        await owner.release()
        assert broker.sent == values(*range(400))

    scenario()


@on_virtual_time
async def test_who_is_in_no_hurry_commits_so_often_at_most() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker, loaded_per_s=1e9, unhurried_s=0.05)
    for offset in range(100):
        owner.resolve(await owner.take(offset))
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert broker.sent == values(*range(100))
    assert 19 <= len(broker.commits) - 1 <= 22
    await owner.release()


@on_virtual_time
async def test_a_position_that_moves_without_records_is_committed_when_idle() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker, idle_commit_s=5.0)
    await owner.owned.wait()
    await asyncio.sleep(60.0)
    assert len(broker.commits) == 1  # nothing to say, nothing said
    owner.partition.advance(3)
    await asyncio.sleep(5.1)
    assert broker.stored == ours(3)
    await owner.release()


@on_virtual_time
async def test_lost_before_the_commit_is_sent_again() -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker)
    await owner.answer(0, 1)
    assert broker.sent == values(0, 1)
    assert broker.stored == ours(2)
    assert owner.acquisitions == 1
    assert (owner.partition.recoveries, broker.opened) == (1, 2)
    await owner.release()


@on_virtual_time
async def test_lost_after_the_commit_is_not_sent_again() -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_after])
    owner = Owner(broker)
    await owner.answer(0, 1)
    assert broker.sent == values(0, 1)
    assert broker.stored == ours(2)
    assert owner.progressions == 1
    assert owner.partition.unfinished == 0
    await owner.release()


@pytest.mark.parametrize("ends", [lost_before, lost_after])
def test_who_counts_hears_of_each_committed_outcome_once(ends: object) -> None:
    """Whether the transaction was lost before or after its commit, and for what the broker refuses."""

    @on_virtual_time
    async def scenario() -> None:
        broker = ScriptedBroker(ours(0), script=[None, ends], refuses={b"answer 2": TOO_LARGE})  # type: ignore[list-item]  # one of two functions
        owner = Owner(broker)
        await owner.answer(0, 1)
        await owner.answer(2, 3)
        assert owner.told == broker.sent == [*values(0, 1), b"too large 2", *values(3)]
        await owner.release()

    scenario()


@pytest.mark.parametrize("ends", [lost_before, lost_after])
def test_marks_alone_tell_whether_it_was_committed(ends: object) -> None:
    """The offset is the same before and after a commit of later records only."""

    @on_virtual_time
    async def scenario() -> None:
        broker = ScriptedBroker(ours(0), script=[None, ends])  # type: ignore[list-item]  # one of two functions
        owner = Owner(broker)
        slow = await owner.take(0)
        await owner.answer(1)
        assert broker.sent == values(1)
        assert broker.stored == ours(0, 1)
        owner.resolve(slow)
        await owner.release()
        assert broker.sent == values(1, 0)

    scenario()


@on_virtual_time
async def test_recovering_goes_on_until_the_broker_answers() -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker)
    lease = await owner.take(0)
    broker.open_fails = 3
    broker.progress_fails = [Lost("away")]
    owner.resolve(lease)
    await asyncio.sleep(10.0)
    assert broker.sent == values(0)
    assert owner.partition.recoveries == 1
    await owner.release()


@on_virtual_time
async def test_who_is_cut_off_from_the_groups_coordinator_fences_nobody() -> None:
    """Another worker may own the partition by now: each producer that is opened here would end its transaction."""
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker)
    lease = await owner.take(0)
    broker.cut_off = True
    owner.resolve(lease)
    await asyncio.sleep(10.0)
    assert broker.opened == 1
    broker.cut_off = False
    await asyncio.sleep(1.0)
    assert broker.opened == 2
    assert broker.sent == values(0)
    await owner.release()


@on_virtual_time
async def test_where_another_owner_went_on_it_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker)
    old = await owner.take(0, 1)
    held = await owner.take(2)
    owner.resolve(old)
    broker.stored = ours(5, 6)  # somebody else
    owner.owned.clear()
    await owner.owned.wait()
    assert "progress_differs" in actions(caplog)
    assert owner.acquisitions == 2
    assert broker.sent == []
    owner.resolve(held)  # from a window that is closed
    await owner.answer(5, 6, 7)  # 6 is done; what is taken is 5 and 7
    assert broker.sent == values(5, 7)
    assert broker.stored == ours(8)
    await owner.release()


@on_virtual_time
async def test_metadata_that_became_foreign_stops_it(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker)
    lease = await owner.take(0)
    broker.progress_fails = [MarksError("not ours")]
    owner.resolve(lease)
    await owner.task
    assert owner.partition.stopped == "not ours"
    assert broker.sent == []


# progress that is committed beside the next send


async def two_sends(owner: Owner) -> None:
    """One outcome, another before the first is committed, and time for all that follows."""
    first, second = await owner.take(0), await owner.take(1)
    owner.resolve(first)
    await asyncio.sleep(0.5)
    owner.resolve(second)
    await asyncio.sleep(5.0)


@on_virtual_time
async def test_progress_is_committed_with_the_next_send_or_alone_where_there_is_none() -> None:
    broker = LaggingBroker(ours(0))
    owner = Owner(broker)
    first, second = await owner.take(0), await owner.take(1)
    owner.resolve(first)
    owner.resolve(second)
    await asyncio.sleep(0.5)
    assert broker.sent == values(0, 1)
    assert broker.stored == ours(2)
    assert owner.told == values(0, 1), "told when it is committed"
    await owner.release()
    assert broker.stored == ours(2, phase="c")


@on_virtual_time
async def test_one_send_goes_out_while_the_one_before_is_not_committed() -> None:
    broker = LaggingBroker(ours(0))
    owner = Owner(broker, unhurried_s=1.0)
    leases = [await owner.take(offset) for offset in range(3)]
    for lease in leases:
        owner.resolve(lease)
        await asyncio.sleep(1.0)
    assert broker.commits == [ours(0), ours(1), ours(2)]
    assert broker.sizes == [0, 1, 1, 1]
    assert owner.told == values(0, 1)
    await owner.release()
    assert owner.told == values(0, 1, 2)


@pytest.mark.parametrize(("ends", "again"), [(lost_before, []), (arrived_uncommitted, [1]), (commit_lost, [])])
def test_what_is_known_to_have_arrived_is_committed_and_not_sent_again(ends: object, again: list[int]) -> None:
    """Only where nobody knows whether it arrived, it is."""

    @on_virtual_time
    async def scenario() -> None:
        broker = LaggingBroker(ours(0), script=[None, None, ends])  # type: ignore[list-item]  # one of two functions
        owner = Owner(broker, unhurried_s=1.0)
        await two_sends(owner)
        assert broker.sent == values(0, *again, 1)
        assert owner.told == values(0, 1)
        assert broker.stored == ours(2)
        await owner.release()

    scenario()


@on_virtual_time
async def test_what_the_broker_says_is_committed_is_not_sent_again() -> None:
    """The progress of the send before was stored, and then the connection broke."""
    broker = LaggingBroker(ours(0), script=[None, None, lost_after])
    owner = Owner(broker, unhurried_s=1.0)
    await two_sends(owner)
    assert broker.sent == values(0, 1, 1)
    assert owner.told == values(0, 1)
    await owner.release()


@on_virtual_time
async def test_who_lost_the_partition_sends_nothing_again() -> None:
    """The next owner sends all of it. What this one sends again comes once more, and again with each try to recover."""
    broker = LaggingBroker(ours(0))
    owner = Owner(broker, unhurried_s=1.0)
    first, second, third = await owner.take(0), await owner.take(1), await owner.take(2)
    owner.resolve(first)
    await asyncio.sleep(0.5)
    broker.member = False
    owner.resolve(second)
    await asyncio.sleep(30.0)
    owner.resolve(third)
    await owner.release()
    assert broker.sent == values(0, 1), "the second went out beside the commit that failed"
    assert broker.stored == ours(0)


@on_virtual_time
async def test_after_trouble_what_was_sent_is_committed_before_more_is_sent() -> None:
    """While the broker was away, answers piled up, and the group may have lost this owner."""
    broker = LaggingBroker(ours(0))
    owner = Owner(broker)
    first, second = await owner.take(0), await owner.take(1)
    broker.takes_s = 5.0
    owner.resolve(first)
    await asyncio.sleep(4.0)
    broker.takes_s, broker.member = 0.0, False
    owner.resolve(second)
    await asyncio.sleep(30.0)
    assert broker.sent == values(0)
    await owner.release()
    assert broker.sent == values(0)


@on_virtual_time
async def test_a_release_commits_what_was_sent_before_more_is_sent() -> None:
    broker = LaggingBroker(ours(0))
    owner = Owner(broker, unhurried_s=1.0)
    first, second = await owner.take(0), await owner.take(1)
    owner.resolve(first)
    await asyncio.sleep(0.5)
    broker.member = False
    owner.resolve(second)
    await owner.release()
    assert broker.sent == values(0)


@on_virtual_time
async def test_a_refusal_leaves_the_send_before_as_it_was() -> None:
    broker = LaggingBroker(ours(0), refuses={b"answer 1": TOO_LARGE})
    owner = Owner(broker, unhurried_s=1.0)
    await two_sends(owner)
    assert broker.sent == [*values(0), b"too large 1"]
    assert broker.stored == ours(2)
    await owner.release()


@pytest.mark.parametrize("phase", ["b", "B"])
def test_a_careful_owner_says_the_same_and_tries_nothing_before_it_is_committed(phase: str) -> None:
    """No input that was answered is left as one that was being tried."""

    @on_virtual_time
    async def scenario() -> None:
        said = []
        for broker in (ScriptedBroker(ours(0, phase=phase)), LaggingBroker(ours(0, phase=phase))):
            owner = Owner(broker, careful=True)
            await owner.answer(0)
            await owner.answer(1)
            assert broker.sent == values(0, 1)
            await owner.release()
            said.append(broker.commits)
        assert said[0] == said[1]

    scenario()


@on_virtual_time
async def test_a_release_commits_what_the_last_send_left() -> None:
    broker = LaggingBroker(ours(0))
    owner = Owner(broker)
    lease = await owner.take(0)
    owner.partition.release(asyncio.get_running_loop().time() + 10.0)
    owner.resolve(lease)
    await owner.task
    assert broker.sent == values(0)
    assert broker.stored == ours(1, phase="c")


@on_virtual_time
async def test_the_very_last_send_is_committed_too() -> None:
    """Its outcome comes while the partition rests after a commit, and with it the release."""
    broker = LaggingBroker(ours(0))
    owner = Owner(broker, unhurried_s=1.0)
    first, second = await owner.take(0), await owner.take(1)
    owner.resolve(first)
    await asyncio.sleep(1.5)
    assert broker.stored == ours(1)
    owner.resolve(second)
    await owner.release()
    assert broker.sent == values(0, 1)
    assert broker.stored == ours(2, phase="c")


# what the broker refuses


@pytest.mark.parametrize(("error", "why"), [(TOO_LARGE, b"too large 2"), (BAD_TIME, b"refused 2")])
def test_a_refused_record_is_replaced_and_the_rest_go_on(error: Refusal, why: bytes) -> None:
    @on_virtual_time
    async def scenario() -> None:
        broker = ScriptedBroker(ours(0), refuses={b"answer 2": error})
        owner = Owner(broker)
        await owner.answer(0, 1, 2, 3)
        assert broker.sent == [b"answer 0", b"answer 1", why, b"answer 3"]
        assert broker.stored == ours(4)
        await owner.release()

    scenario()


@on_virtual_time
async def test_a_refused_record_is_found_by_halving_where_the_broker_does_not_say_which() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"answer 5": TOO_LARGE}, tells=False)
    owner = Owner(broker)
    await owner.answer(*range(8))
    await asyncio.sleep(30.0)
    assert broker.sent == [*values(0, 1, 2, 3, 4), b"too large 5", *values(6, 7)]
    assert broker.stored == ours(8)
    assert max(broker.sizes) == 8
    assert len(broker.sizes) < 16
    await owner.release()


@on_virtual_time
async def test_after_a_refusal_transactions_grow_again() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"answer 0": TOO_LARGE}, tells=False)
    owner = Owner(broker, window=window_policy(records=64))
    await owner.answer(*range(64))
    await asyncio.sleep(1.0)
    assert len(broker.sent) == 64  # the smaller transactions follow one another without waiting
    await owner.answer(*range(64, 164))
    await owner.answer(*range(164, 464))
    assert broker.sent == [b"too large 0", *values(*range(1, 464))]
    assert broker.sizes[-1] == 300
    await owner.release()


@on_virtual_time
async def test_several_refused_at_once() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"answer 0": TOO_LARGE, b"answer 2": BAD_TIME})
    owner = Owner(broker)
    await owner.answer(0, 1, 2)
    assert broker.sent == [b"too large 0", b"answer 1", b"refused 2"]
    await owner.release()


@on_virtual_time
async def test_a_substitute_that_is_refused_stops_it_loudly(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker(ours(0), refuses={b"answer 1": TOO_LARGE, b"too large 1": TOO_LARGE})
    owner = Owner(broker)
    await owner.answer(0, 1)
    await owner.task
    assert owner.partition.stopped is not None
    assert "fallback of offset 1" in owner.partition.stopped
    assert actions(caplog)[-1] == "partition_stopped"
    assert broker.sent == []
    assert broker.stored == ours(0)
    assert not owner.partition.taking


@on_virtual_time
async def test_a_record_refused_in_another_life_of_the_window_is_no_refused_substitute() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"answer 0": TOO_LARGE})
    owner = Owner(broker)
    lease = await owner.take(0)
    owner.resolve(lease)
    await asyncio.sleep(0.4)
    owner.owned.clear()
    broker.stored = ours(0, phase="b")  # somebody else was here and went
    await owner.owned.wait()
    await owner.answer(0)
    assert owner.partition.stopped is None
    assert broker.sent == [b"too large 0"]
    await owner.release()


@on_virtual_time
async def test_refused_and_meanwhile_another_owner() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"answer 0": TOO_LARGE})
    owner = Owner(broker)
    lease = await owner.take(0)
    owner.owned.clear()
    owner.resolve(lease)
    await asyncio.sleep(0.1)
    broker.stored = ours(1)
    await owner.owned.wait()
    await owner.answer(1)
    assert broker.sent == values(1)
    await owner.release()


# releasing


@on_virtual_time
async def test_what_is_in_flight_may_end_and_then_it_is_closed_well() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker)
    lease = await owner.take(0)
    owner.partition.release(asyncio.get_running_loop().time() + 10.0)
    assert not owner.partition.taking
    await asyncio.sleep(9.0)
    assert not owner.task.done()
    owner.resolve(lease)
    await owner.task
    assert broker.sent == values(0)
    assert broker.stored == ours(1, phase="c")
    assert owner.partition.abandoned == 0
    assert broker.discarded == 1


@on_virtual_time
async def test_the_drain_deadline_abandons_what_is_still_held() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker)
    slow, fast = await owner.take(0), await owner.take(1)
    deadline = asyncio.get_running_loop().time() + 10.0
    owner.partition.release(deadline)
    owner.resolve(fast)
    await owner.task
    now = asyncio.get_running_loop().time()
    assert deadline <= now < deadline + 0.1
    assert owner.partition.abandoned == 1
    assert broker.sent == values(1)
    assert broker.stored == ours(0, 1, phase="n")  # not 'c': it may be the input that hangs
    owner.resolve(slow)
    assert broker.sent == values(1)


@on_virtual_time
async def test_records_nobody_held_do_not_delay_the_release() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker)
    await owner.answer(0)
    owner.partition.add(log(1, 2))
    await asyncio.wait_for(owner.release(), 0.1)
    assert broker.stored == ours(1, phase="c")


@on_virtual_time
async def test_a_last_commit_that_is_lost_ends_it_all_the_same() -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker)
    await owner.owned.wait()
    await asyncio.wait_for(owner.release(), 5.0)
    assert broker.stored == ours(0)


@on_virtual_time
async def test_taken_away_while_recovering() -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker)
    lease = await owner.take(0)
    broker.open_fails = 10**6
    owner.resolve(lease)
    await asyncio.sleep(5.0)
    await asyncio.wait_for(owner.release(), 1.0)
    assert broker.sent == []
    assert broker.stored == ours(0)


@on_virtual_time
async def test_all_steps_of_taking_over_share_one_deadline() -> None:
    """Each is answered within its own time, and all of them not within the time of one try: it is tried again then."""
    broker = ScriptedBroker(ours(7), opens_s=6.0, tells_s=6.0)
    owner = Owner(broker, attempt_s=10.0, reopen_s=0.5)
    await asyncio.sleep(10.2)
    assert broker.opened == 1
    broker.opens_s = broker.tells_s = 0.0
    await asyncio.sleep(0.5)
    assert broker.opened == 2
    assert owner.partition.position == 7
    await owner.release()


@on_virtual_time
async def test_the_opening_commit_shares_it_too() -> None:
    broker = ScriptedBroker(ours(7), opens_s=6.0, takes_s=6.0)
    owner = Owner(broker, attempt_s=10.0, reopen_s=0.5)
    await asyncio.sleep(12.5)
    assert broker.opened == 2
    assert not owner.owned.is_set()
    broker.opens_s = broker.takes_s = 0.0
    await asyncio.sleep(8.5)
    assert owner.partition.position == 7
    await owner.release()


@on_virtual_time
async def test_all_steps_of_a_recovery_share_one_deadline() -> None:
    broker = ScriptedBroker(ours(0), script=[None, lost_before])
    owner = Owner(broker, attempt_s=10.0, reopen_s=0.5)
    lease = await owner.take(0)
    broker.opens_s = broker.tells_s = 6.0
    owner.resolve(lease)
    await asyncio.sleep(10.7)
    assert broker.opened == 2
    broker.opens_s = broker.tells_s = 0.0
    await asyncio.sleep(0.5)
    assert broker.sent == values(0)
    await owner.release()


@on_virtual_time
async def test_a_second_release_waits_no_longer_than_the_first() -> None:
    owner = Owner(ScriptedBroker(ours(0)))
    await owner.take(0)
    now = asyncio.get_running_loop().time
    until = now() + 5.0
    owner.partition.release(until)
    await asyncio.sleep(3.0)
    owner.partition.release(now() + 10.0)
    await owner.task
    assert now() == pytest.approx(until, abs=0.1)


@on_virtual_time
async def test_a_cancelled_owner_closes_its_window() -> None:
    broker = ScriptedBroker(ours(0))
    owner = Owner(broker)
    lease = await owner.take(0)
    owner.task.cancel()
    await asyncio.wait({owner.task})
    owner.resolve(lease)
    assert owner.partition._window.closed
    assert owner.partition.discarded == 1
    assert broker.discarded == 1


# an input that kills


@on_virtual_time
async def test_an_input_that_killed_every_owner_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker(ours(0, phase="n"))
    for life in ("B", "a1", "a2", "a3"):
        owner = Owner(broker, careful=True)
        await owner.take(0)
        assert broker.stored == ours(0, phase=life)
        owner.task.cancel()  # as good as dead: nothing more is said
        await asyncio.wait({owner.task})
    owner = Owner(broker, careful=True)
    await owner.owned.wait()
    with pytest.raises(AssertionError):
        await owner.take(0)  # it is not handed out
    owner.partition.wake_if_ready()
    await asyncio.sleep(1.0)
    assert broker.sent == [b"failed 0"]
    assert broker.stored == ours(1, phase="a0")
    assert "record_given_up" in actions(caplog)
    await owner.release()
    assert broker.stored == ours(1, phase="a0")  # still suspect: its neighbours were not tried yet


@on_virtual_time
async def test_a_missing_offset_of_a_partition_that_was_owned_before_is_not_believed() -> None:
    """A coordinator that has not loaded its log says the same as one of a group that never committed."""
    broker = ScriptedBroker(None, used_before=True)
    owner = Owner(broker)
    await asyncio.sleep(10.0)
    assert not owner.owned.is_set()
    broker.stored = ours(7)
    await asyncio.sleep(10.0)
    assert owner.partition.position == 7
    await owner.release()


@on_virtual_time
async def test_an_offset_that_stays_missing_stops_the_partition(caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner(ScriptedBroker(None, used_before=True))
    await asyncio.wait({owner.task})
    assert owner.partition.stopped is not None
    assert "partition_stopped" in actions(caplog)
    assert not owner.owned.is_set()


@pytest.mark.parametrize(
    ("others", "offset", "born"),
    [
        ({}, 40, 4),  # the group is new: as the settings say
        ({3: Progress(9, born=4)}, 40, 4),  # it is new for this partition, too, which another worker was slower to take
        ({3: Progress(9, born=4), 2: Progress(9)}, 40, 4),  # one was set by hand
        ({1: Progress(9, born=4), 3: Progress(1, born=5)}, 40, 4),
        ({3: Progress(9)}, 30, 0),  # nobody knows: from the earliest nothing is missed
    ],
)
@on_virtual_time
async def test_where_one_begins_depends_on_whether_it_was_there(
    others: dict[int, Progress], offset: int, born: int
) -> None:
    broker = ScriptedBroker(others=others)
    owner = Owner(broker)
    await owner.owned.wait()
    assert broker.stored == Progress(offset, phase="n", topic_id=TOPIC_ID, born=born)
    await owner.release()


@on_virtual_time
async def test_one_that_was_added_begins_at_its_earliest_record() -> None:
    """What arrived before a worker noticed it is not skipped, whatever the settings say. Its heirs know it, too."""
    broker = ScriptedBroker(others={1: Progress(9, born=4)}, partitions=8)
    owner = Owner(broker, tp=TopicPartition("requests", 4))
    await owner.answer(30, 31)
    await owner.release()
    assert broker.stored == Progress(32, phase="c", topic_id=TOPIC_ID, born=4)


@on_virtual_time
async def test_where_nothing_is_skipped_a_worker_of_version_1_reads_what_is_committed() -> None:
    """Its reader takes four parts. Whatever the others say, an added partition begins where all begin."""
    broker = ScriptedBroker(others={1: Progress(9, born=4)}, partitions=8)
    owner = Owner(broker, tp=TopicPartition("requests", 4))
    owner.skips_backlog = False
    await owner.answer(30, 31)
    await owner.release()
    assert broker.stored is not None
    assert broker.stored.metadata() == f"1;{TOPIC_ID};c;"


@on_virtual_time
async def test_outcomes_tell_that_somebody_worked_where_no_offset_does() -> None:
    """Offsets expire, and the ids of transactions with them. Outcomes are kept."""
    owner = Owner(ScriptedBroker(), worked=True)
    await asyncio.wait({owner.task})
    assert owner.partition.stopped is not None
    assert "though outcomes of its work are there" in owner.partition.stopped
    assert "--begin-anew" in owner.partition.stopped


@on_virtual_time
async def test_outcomes_tell_nothing_where_others_of_the_group_have_offsets() -> None:
    owner = Owner(ScriptedBroker(others={1: Progress(9, born=4)}), worked=True)
    async with asyncio.timeout(1.0):
        await owner.owned.wait()
    await owner.release()


@pytest.mark.parametrize("used_before", [True, False])
@on_virtual_time
async def test_a_person_may_say_that_it_begins_anew(used_before: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Not at once: an offset that a coordinator has forgotten for a while comes back."""
    owner = Owner(ScriptedBroker(used_before=used_before), worked=True, begin_anew=True)
    await asyncio.sleep(100.0)
    assert not owner.owned.is_set()
    await asyncio.sleep(30.0)
    await owner.answer(40)
    assert owner.broker.sent == values(40)
    assert "partition_begins_anew" in actions(caplog)
    await owner.release()


@on_virtual_time
async def test_nobody_begins_anew_behind_what_he_has_committed() -> None:
    broker = ScriptedBroker(ours(0), script=[None, None, lost_before])
    owner = Owner(broker, begin_anew=True)
    await owner.answer(0, 1, 2)
    lease = await owner.take(3)
    broker.stored = None
    owner.resolve(lease)
    await asyncio.wait({owner.task})
    assert owner.partition.stopped is not None
    assert broker.sent == values(0, 1, 2)


@on_virtual_time
async def test_an_offset_behind_our_own_commit_is_not_believed() -> None:
    """A coordinator that has loaded a part of its log tells an old offset."""
    broker = ScriptedBroker(ours(0), script=[None, None, lost_before])
    owner = Owner(broker)
    await owner.answer(0, 1, 2)
    lease = await owner.take(3)
    broker.stored = ours(1)
    owner.resolve(lease)
    await asyncio.sleep(10.0)
    assert owner.acquisitions == 1
    broker.stored = ours(3)
    await asyncio.sleep(10.0)
    assert broker.sent == values(0, 1, 2, 3)
    assert owner.acquisitions == 1
    await owner.release()


@on_virtual_time
async def test_an_offset_that_a_transaction_may_still_change_is_waited_for() -> None:
    broker = ScriptedBroker(ours(7), progress_fails=[Unsettled() for _ in range(20)])
    owner = Owner(broker)
    await asyncio.sleep(5.0)
    assert not owner.owned.is_set()
    await asyncio.sleep(10.0)
    assert owner.partition.position == 7
    assert broker.progress_fails == []
    await owner.release()


@on_virtual_time
async def test_an_offset_that_stays_unsettled_stops_the_partition(caplog: pytest.LogCaptureFixture) -> None:
    """Two minutes are told from the first time: an offset that came between them ends the count."""
    broker = ScriptedBroker(ours(7), script=[None, lost_before], progress_fails=[Unsettled() for _ in range(100)])
    owner = Owner(broker)
    await asyncio.sleep(60.0)
    assert owner.partition.stopped is None
    await owner.owned.wait()
    broker.progress_fails = [Unsettled() for _ in range(1000)]
    owner.resolve(await owner.take(7))
    await asyncio.sleep(100.0)
    assert owner.partition.stopped is None
    await asyncio.wait({owner.task})
    assert owner.partition.stopped is not None
    assert "`kafka-transactions.sh abort`" in owner.partition.stopped
    assert "partition_stopped" in actions(caplog)
    assert broker.sent == []


@on_virtual_time
async def test_a_first_owner_whose_first_commit_is_lost_tries_again() -> None:
    """Nothing was ever committed, and so it stays the first. Its second producer sends the first record."""
    broker = ScriptedBroker(None, script=[lost_before, lost_before])
    owner = Owner(broker)
    await owner.answer(40, 41)
    assert broker.sent == values(40, 41)
    assert broker.opened == 4
    await owner.release()


@on_virtual_time
async def test_a_first_commit_that_went_through_unheard_is_found() -> None:
    broker = ScriptedBroker(None, script=[lost_after])
    owner = Owner(broker)
    await owner.answer(40, 41)
    assert broker.sent == values(40, 41)
    assert broker.opened == 2
    await owner.release()
