"""The loop of the data plane over a consumer with a log in memory. Time is virtual."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import suppress
from itertools import chain, pairwise
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from bisupervised.streams.kafka.decompressing import BatchTooLarge
from bisupervised.streams.kafka.errors import Lost, NotAllowed
from bisupervised.streams.kafka.records import Oversized
from bisupervised.streams.plane.standing import End
from bisupervised.streams.plane.window.marks import Progress
from support.partitions import Reaction, lost_after, lost_before
from support.planes import A, B, World, places, records
from support.virtual_time import on_virtual_time
from support.windows import TOPIC_ID, answers, window_policy


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.action for record in caplog.records if hasattr(record, "action")]


# owning


@on_virtual_time
async def test_a_partition_is_paused_before_it_is_owned_and_resumed_where_it_was_committed() -> None:
    world = World()
    world.brokers[A].stored = Progress(5, topic_id=TOPIC_ID)
    world.consumer.write(A, *range(8))
    await world.own(A)
    assert world.consumer.told == [("pause", A), ("seek", A, 0), ("seek", A, 5), ("resume", A)]
    assert await world.answer_all() == [[(0, 5), (0, 6), (0, 7)]]
    await world.stop()


@on_virtual_time
async def test_nothing_is_fetched_while_the_broker_does_not_answer() -> None:
    world = World()
    world.brokers[A].open_fails = 10
    world.consumer.write(A, 0)
    await world.own(A)
    assert world.consumer.told == [("pause", A), ("seek", A, 0)]
    await asyncio.sleep(10.0)
    assert await world.answer_all() == [[(0, 0)]]
    await world.stop()


@on_virtual_time
async def test_a_group_that_may_not_be_joined_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.consumer.errors.append(GroupAuthorizationFailedError("shop-local"))
    with pytest.raises(NotAllowed, match="Read on the group 'shop-local'"):
        async with asyncio.timeout(60.0):
            await world.task
    assert actions(caplog) == ["plane_failed"]


@on_virtual_time
async def test_a_rebalance_lets_go_of_everything_and_what_comes_late_is_discarded() -> None:
    world = World(drain_s=1.0)
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    await world.own(A, B)
    held.resolve(answers(held.records))
    assert world.plane.counters.abandoned == 1
    assert world.plane.counters.rebalances == 1
    assert await world.answer_all() == [[(0, 0)]]  # delivered again, by the next owner: this one
    assert world.brokers[A].sent == [b"answer 0"]
    assert [outbox.closed for outbox in world.outboxes] == [True, False, False]
    await world.stop()


@on_virtual_time
async def test_rebalances_that_follow_each_other_share_one_drain() -> None:
    """What is in flight hangs, and the group forms anew, again and again: a partition is not given up for as long."""
    world = World(drain_s=10.0)
    world.consumer.write(A, 0)
    took = []
    for _ in range(4):
        await world.own(A)
        await world.next_batch(within_s=2.0)
        began = asyncio.get_running_loop().time()
        await world.consumer.assign()
        took.append(asyncio.get_running_loop().time() - began)
    assert took[0] == pytest.approx(10.0, abs=0.5)
    assert sum(took[1:]) < 1.0
    await world.stop()


@on_virtual_time
async def test_a_partition_that_is_given_anew_and_was_never_taken_away_has_one_owner() -> None:
    """A rebalance that an error cut short let go of nothing: two owners would fence each other, again and again."""
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    await world.consumer.listener.on_partitions_assigned({A})
    await asyncio.sleep(0.5)
    held.resolve(answers(held.records))
    assert await world.answer_all() == [[(0, 0)]]  # once, and by the new owner
    await asyncio.sleep(10.0)
    assert world.brokers[A].opened == 2
    assert world.brokers[A].sent == [b"answer 0"]
    assert [outbox.closed for outbox in world.outboxes] == [True, False]
    assert list(world.plane.statistics()["partitions"]) == ["requests-0"]
    await world.stop()
    assert world.brokers[A].stored == Progress(1, phase="c", topic_id=TOPIC_ID)


@on_virtual_time
async def test_what_is_in_flight_in_a_rebalance_is_committed_before_it_goes_on() -> None:
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    rebalance = asyncio.create_task(world.consumer.assign(B))
    await asyncio.sleep(1.0)
    assert not rebalance.done()
    held.resolve(answers(held.records))
    await rebalance
    assert world.brokers[A].stored == Progress(1, phase="c", topic_id=TOPIC_ID)
    assert world.plane.statistics()["sent"] == 1
    assert list(world.plane.statistics()["partitions"]) == ["requests-1"]
    await world.stop()


@on_virtual_time
async def test_a_rebalance_waits_for_an_acquisition_no_longer_than_for_a_drain() -> None:
    world = World(drain_s=2.0)
    never = asyncio.Event()
    world.brokers[A].open = never.wait  # type: ignore[assignment,method-assign]  # a broker that does not answer
    await world.own(A)
    before = asyncio.get_running_loop().time()
    await world.own(B)
    assert 2.0 <= asyncio.get_running_loop().time() - before < 6.0
    await world.stop()


@on_virtual_time
async def test_nobody_waits_for_an_acquisition_that_does_not_hear_that_it_is_over() -> None:
    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600.0)
        await asyncio.sleep(3600.0)

    world = World(drain_s=2.0)
    world.brokers[A].open = deaf  # type: ignore[method-assign]  # a client that does not end
    await world.own(A)
    began = asyncio.get_running_loop().time()
    await world.stop()
    assert asyncio.get_running_loop().time() - began < 15.0
    assert world.plane.statistics()["partitions"] == {}


@on_virtual_time
async def test_a_first_acquisition_gets_to_its_first_commit_whatever_comes_between() -> None:
    """What was opened is committed, and the next owner finds less to end again."""
    world = World()
    world.brokers[A].stored = None
    opening = asyncio.Event()
    world.brokers[A].open = opening.wait  # type: ignore[assignment,method-assign]  # a broker that takes its time
    await asyncio.sleep(0.001)
    await world.consumer.assign(A)
    asyncio.get_running_loop().call_later(0.5, opening.set)
    await world.own(B)
    assert world.brokers[A].stored is not None
    await world.stop()


@on_virtual_time
async def test_a_group_that_never_committed_begins_where_the_settings_say() -> None:
    for start, expected in (("earliest", 3), ("latest", 9)):
        world = World(start=start)
        world.brokers[A].stored = None
        world.coordinator.offsets = {"begin": 3, "end": 9}.__getitem__
        await world.own(A)
        assert world.consumer.positions[A] == expected
        await world.stop()


@on_virtual_time
async def test_where_to_begin_is_asked_until_it_is_known() -> None:
    world = World()
    world.brokers[A].stored = None
    away = [Lost("away")] * 3

    def offsets(which: str) -> int:
        if away:
            raise away.pop()
        return {"begin": 3, "end": 9}[which]

    world.coordinator.offsets = offsets
    await world.own(A)
    await asyncio.sleep(3.0)
    assert world.consumer.positions[A] == 3
    await world.stop()


@on_virtual_time
async def test_an_error_nobody_foresaw_ends_the_plane(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.brokers[A].progress_fails = [ZeroDivisionError()]
    await world.own(A)
    with pytest.raises(ZeroDivisionError):
        await world.task
    assert world.consumer.stopped
    assert world.coordinator.closed
    assert "plane_failed" in actions(caplog)


@on_virtual_time
async def test_the_agent_is_told_its_share_after_each_rebalance() -> None:
    world = World()
    await world.own(A)
    await world.own(A, B)
    assert world.shares[-3:] == [(1, 2), (0, 2), (2, 2)]
    world.consumer.logs.update({TopicPartition("requests", 2): [], TopicPartition("requests", 3): []})
    await world.own(B)
    assert world.shares[-2:] == [(0, 4), (1, 4)]  # partitions were added to the topic
    await world.stop()
    assert world.shares[-1] == (0, 4)


@on_virtual_time
async def test_the_share_follows_metadata_that_comes_late() -> None:
    world = World()
    world.consumer.metadata = {0}  # as known for up to five minutes
    await world.own(B)
    assert world.shares[-1] == (1, 2), "one with that number is there, so there are two"
    await asyncio.sleep(1.0)
    world.consumer.logs.update({TopicPartition("requests", 2): [], TopicPartition("requests", 3): []})
    world.consumer.metadata = {0, 1}
    await world.own(A)
    assert world.shares[-1] == (1, 2), "nothing tells of more yet"
    await asyncio.sleep(1.0)
    assert world.shares[-1] == (1, 4), "but it is asked at each rebalance"
    await world.stop()


@on_virtual_time
async def test_the_share_of_an_unknown_number_is_that_of_the_last_known_or_none() -> None:
    world = World()
    world.consumer.asks, world.consumer.metadata = False, set()
    await world.own(A)
    assert world.shares[-1] == (1, 0), "not all of it"
    world.consumer.metadata = None
    await asyncio.sleep(1.0)
    assert world.shares[-1] == (1, 2)
    world.consumer.metadata = set()  # a moment without
    await world.own(B)
    await asyncio.sleep(1.0)
    assert world.shares[-1] == (1, 2)
    await world.stop()


@on_virtual_time
async def test_the_share_is_kept_until_what_is_in_flight_has_ended() -> None:
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    assert held.wanted
    rebalance = asyncio.create_task(world.consumer.assign(B))
    await asyncio.sleep(1.0)
    assert (world.shares[-1], held.wanted) == ((1, 2), True)
    held.resolve(answers(held.records))
    await rebalance
    assert world.shares[-2:] == [(0, 2), (1, 2)]
    await world.stop()


@on_virtual_time
async def test_what_was_not_answered_by_the_drain_deadline_is_not_wanted_when_the_share_is_told() -> None:
    world = World(drain_s=1.0)
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    wanted = []
    world.told = lambda: wanted.append(held.wanted)
    await world.own(B)
    assert wanted == [False, False]
    await world.stop()


# fetching


@on_virtual_time
async def test_a_full_window_pauses_and_half_empty_it_is_resumed() -> None:
    world = World(window=window_policy(records=8), batch_records=1)
    world.consumer.fetch = 2
    world.consumer.write(A, *range(12))
    await world.own(A)
    await asyncio.sleep(1.0)
    assert world.consumer.told[-1] == ("pause", A)
    assert world.plane.unfinished == 8
    seen = []
    for _ in range(12):
        batch = await world.next_batch()
        batch.resolve(answers(batch.records))
        await asyncio.sleep(0.3)
        seen.append((world.plane.unfinished, A in world.consumer.paused))
    assert seen[:4] == [(7, True), (6, True), (5, True), (4, True)]
    assert seen[4][1] is False
    stored = world.brokers[A].stored
    assert stored is not None
    assert stored.offset == 12
    assert len(world.brokers[A].sent) == 12
    await world.stop()


@on_virtual_time
async def test_nothing_more_is_fetched_while_the_next_two_batches_are_there() -> None:
    world = World(batch_records=4)
    world.consumer.fetch = 4
    world.consumer.write(A, *range(40))
    await world.own(A)
    await world.next_batch()
    fetched = []
    for _ in range(4):
        await world.next_batch()
        await asyncio.sleep(0.01)
        fetched.append(world.plane.counters.fetched)
    assert [later - earlier for earlier, later in pairwise(fetched)] == [4, 4, 4]  # a batch taken, a batch fetched
    await world.stop()


@on_virtual_time
async def test_with_an_agent_that_takes_nothing_the_client_is_polled_all_the_same() -> None:
    world = World(batch_records=1)
    world.consumer.fetch = 1
    world.consumer.write(A, *range(20))
    await world.own(A)
    polls = world.consumer.polls
    await asyncio.sleep(1.0)
    assert 4 <= world.consumer.polls - polls <= 6
    await world.stop()


@on_virtual_time
async def test_what_a_stopped_partition_holds_keeps_nobody_from_fetching() -> None:
    world = World(batch_records=4)
    world.unreadable[100] = "of another version"
    world.consumer.write(A, *range(20), 100)
    await world.own(A, B)
    assert world.plane.standings()[0].state == "stopped"
    world.consumer.fetch = 4
    world.consumer.write(B, *range(40))
    began = asyncio.get_running_loop().time()
    for _ in range(10):
        with await world.next_batch() as batch:
            batch.resolve(answers(batch.records))
    assert asyncio.get_running_loop().time() - began < 0.1
    await world.stop()


@on_virtual_time
async def test_one_that_was_full_does_not_wait_until_a_fetch_for_others_has_ended() -> None:
    world = World(window=window_policy(pending=8))
    world.consumer.fetch = 4
    world.consumer.write(A, *range(40))
    await world.own(A, B)  # nothing is written to B: a fetch for B alone waits at the broker
    pauses = []
    began = asyncio.get_running_loop().time()
    for _ in range(10):
        pauses.append(A in world.consumer.paused)
        batch = await world.next_batch()
        batch.resolve(answers(batch.records))
    assert any(pauses)
    assert asyncio.get_running_loop().time() - began < 0.1
    await world.stop()


@on_virtual_time
async def test_a_fetch_waits_long_once_nothing_is_paused_that_could_be_resumed() -> None:
    world = World(window=window_policy(records=2))
    world.consumer.write(A, 0, 1)
    await world.own(A, B)
    await asyncio.sleep(0.2)
    assert A in world.consumer.paused
    assert world.consumer.wait_ms < 50
    await world.answer_all()
    assert world.consumer.wait_ms == 500
    world.unreadable[2] = "of version 9"
    world.consumer.write(A, 2)
    await asyncio.sleep(1.0)
    assert A in world.consumer.paused  # stopped, until a person acts
    assert world.consumer.wait_ms == 500
    await world.stop()


@on_virtual_time
async def test_while_the_agent_is_not_hungry_every_partition_is_paused_and_the_backlog_stays() -> None:
    world = World()
    world.consumer.fetch = 2
    world.consumer.write(A, *range(4))
    await world.own(A, B)
    assert world.consumer.paused == set()
    world.hungry = False
    await asyncio.sleep(0.2)
    assert world.consumer.paused == {A, B}
    assert world.plane.statistics()["paused"] == 2
    before = world.plane.counters.fetched
    world.consumer.write(A, *range(4, 100))
    await asyncio.sleep(60.0)
    assert world.plane.counters.fetched == before  # flat, however long it lasts
    world.hungry = True
    await asyncio.sleep(0.2)
    assert world.consumer.paused == set()
    assert [place for came in await world.answer_all() for place in came] == [(0, offset) for offset in range(100)]
    await world.stop()


@on_virtual_time
async def test_records_that_are_taken_only_to_probe_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    await world.own(A)
    for world.hungry, world.probing in ((False, True), (True, True), (False, True), (True, True), (True, False)):
        await asyncio.sleep(0.5)
    assert world.consumer.paused == set()
    told = [vars(line).get("action", "") for line in caplog.records]
    assert [action for action in told if action.startswith("partitions_")] == [
        "partitions_paused",
        "partitions_resumed",
    ]
    await world.stop()


@on_virtual_time
async def test_what_was_fetched_is_still_handed_out_so_that_one_can_probe() -> None:
    world = World(batch_records=1)
    world.consumer.write(A, 0, 1)
    await world.own(A)
    world.hungry = False
    await asyncio.sleep(0.2)
    assert await world.answer_all() == [[(0, 0)], [(0, 1)]]
    await world.stop()


@on_virtual_time
async def test_a_partition_acquired_while_the_agent_is_not_hungry_stays_paused() -> None:
    world = World()
    world.hungry = False
    world.consumer.write(A, 0)
    await asyncio.sleep(0.3)
    await world.own(A)
    assert ("resume", A) not in world.consumer.told
    world.hungry = True
    await asyncio.sleep(0.3)
    assert await world.answer_all() == [[(0, 0)]]
    await world.stop()


@on_virtual_time
async def test_records_of_a_paused_or_a_foreign_partition_are_not_taken() -> None:
    world = World(window=window_policy(records=2))
    world.consumer.write(A, 0, 1)
    await world.own(A)
    await asyncio.sleep(0.5)
    assert A in world.consumer.paused
    world.consumer.strays = {A: records(A, 7), B: records(B, 0)}
    await asyncio.sleep(0.5)
    assert world.plane.unfinished == 2
    assert await world.answer_all() == [[(0, 0), (0, 1)]]
    await world.stop()


@on_virtual_time
async def test_nothing_fetched_for_a_former_owner_reaches_the_next() -> None:
    """Between two windows of one partition, what the client returns is of the former one's place."""
    world = World()
    world.consumer.write(A, *range(6))
    await world.own(A)
    held = await world.next_batch()
    world.brokers[A].script = [lost_before]
    world.brokers[A].stored = Progress(2, topic_id=TOPIC_ID)
    held.resolve(answers(held.records))
    world.consumer.strays = {A: records(A, 4, 5)}
    await asyncio.sleep(2.0)
    await world.answer_all()
    assert world.brokers[A].sent == [b"answer %d" % offset for offset in range(2, 6)]
    await world.stop()


@on_virtual_time
async def test_markers_and_what_was_aborted_move_the_offset() -> None:
    world = World()
    world.consumer.write(A, 0, 1)
    world.consumer.ends[A] = 9
    await world.own(A)
    await world.answer_all()
    await asyncio.sleep(6.0)
    assert world.brokers[A].stored == Progress(9, phase="n", topic_id=TOPIC_ID)
    await world.stop()


@on_virtual_time
async def test_what_could_not_be_unpacked_falls_back_and_goes_to_no_agent() -> None:
    world = World()
    log: list[Any] = [
        Oversized("requests", 0, each.offset, 0, None, None, [], "too much") if each.offset in {1, 2} else each
        for each in records(A, 0, 1, 2, 3)
    ]
    world.consumer.logs[A] = log
    await world.own(A)
    assert await world.answer_all() == [[(0, 0), (0, 3)]]
    await asyncio.sleep(1.0)
    assert set(world.brokers[A].sent) == {b"answer 0", b"answer 3", b"too large 1", b"too large 2"}
    assert world.brokers[A].commits[-1].offset == 4
    await world.stop()


@pytest.mark.parametrize("error", [NoOffsetForPartitionError(A), BatchTooLarge(1000, A)])
def test_a_place_that_cannot_be_read_stops_that_partition_only(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    @on_virtual_time
    async def scenario() -> None:
        world = World()
        await world.own(A, B)
        world.consumer.errors.append(error)
        await asyncio.sleep(0.5)
        world.consumer.write(A, 0)
        world.consumer.write(B, 0)
        assert await world.answer_all() == [[(1, 0)]]
        assert A in world.consumer.paused
        assert B not in world.consumer.paused
        assert "stopped" in world.plane.statistics()["partitions"]["requests-0"]
        assert actions(caplog).count("partition_stopped") == 1
        await world.stop()

    scenario()


@on_virtual_time
async def test_a_leader_that_has_no_record_for_a_moment_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """One that has just begun to lead was seen to say so of records that it had."""
    world = World()
    await world.own(A, B)
    world.consumer.write(A, 0)
    world.consumer.write(B, 0)
    for _ in range(5):
        world.consumer.errors.append(OffsetOutOfRangeError({A: 0}))
        await asyncio.sleep(1.0)
    found = await world.answer_all()
    assert sorted(place for batch in found for place in batch) == [(0, 0), (1, 0)]
    assert actions(caplog).count("offset_doubted") == 1
    assert "partition_stopped" not in actions(caplog)
    await world.stop()


@on_virtual_time
async def test_one_that_keeps_saying_so_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.own(A, B)
    for _ in range(12):
        world.consumer.errors.append(OffsetOutOfRangeError({A: 0}))
        await asyncio.sleep(1.0)
    world.consumer.write(A, 0)
    world.consumer.write(B, 0)
    assert await world.answer_all() == [[(1, 0)]]
    assert "stopped" in world.plane.statistics()["partitions"]["requests-0"]
    assert actions(caplog).count("partition_stopped") == 1
    await world.stop()


@on_virtual_time
async def test_a_record_for_another_worker_stops_its_partition_before_it(caplog: pytest.LogCaptureFixture) -> None:
    """What lies before it is answered and committed, it and what lies behind stay for whoever can read them."""
    world = World()
    world.unreadable = {2: "of another version"}
    world.consumer.write(A, 0, 1)
    await world.own(A, B)
    assert await world.answer_all() == [[(0, 0), (0, 1)]]
    world.consumer.write(A, 2, 3)
    world.consumer.write(B, 1)
    assert await world.answer_all() == [[(1, 1)]]
    assert A in world.consumer.paused
    assert "offset 2: of another version" in caplog.text
    assert actions(caplog).count("partition_stopped") == 1
    await world.stop()
    assert world.brokers[A].stored == Progress(2, phase="c", topic_id=TOPIC_ID)


@on_virtual_time
async def test_nothing_behind_a_record_for_another_worker_is_taken_in() -> None:
    world = World()
    world.unreadable = {2: "of another version"}
    world.consumer.write(A, *range(5))
    await world.own(A)
    await asyncio.sleep(5.0)
    assert world.plane.counters.fetched == 2
    await world.stop()
    stored = world.brokers[A].stored
    assert stored is not None
    assert stored.offset <= 2


@on_virtual_time
async def test_a_fetch_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.own(A)
    world.consumer.errors += [KafkaConnectionError("away")] * 5
    world.consumer.write(A, 0)
    assert await world.answer_all() == [[(0, 0)]]
    assert actions(caplog).count("fetch_failed") == 5
    await world.stop()


@on_virtual_time
async def test_a_fetch_that_fails_loses_no_other_partitions_records() -> None:
    """When one record is corrupt, the client drops what it had for others, and has moved their positions."""
    world = World()
    await world.own(A, B)
    world.consumer.logs[A] += records(A, 0, 1, 2)
    world.consumer.errors.append(CorruptRecordException("of B"))
    assert await world.answer_all() == [[(0, 0), (0, 1), (0, 2)]]
    await world.stop()


def test_a_client_that_only_fails_ends_the_plane_with_one_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "bisupervised")  # a record of it would keep the error, and all that it holds
    unheard: list[Any] = []

    @on_virtual_time
    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
        world = World()
        await world.own(A)
        world.consumer.errors += [KafkaConnectionError("dead")] * 10_000
        with pytest.raises(KafkaConnectionError):
            await asyncio.wait_for(world.task, 120.0)
        assert world.consumer.stopped

    scenario()
    gc.collect()
    assert unheard == [], "an error that nobody had asked for is logged when its future is collected"


@pytest.mark.parametrize("task", ["fetching", "updating"])
def test_a_client_whose_own_tasks_have_ended_ends_the_plane(task: str) -> None:
    """It would answer every fetch with nothing, for ever."""

    @on_virtual_time
    async def scenario() -> None:
        world = World()
        await world.own(A)
        getattr(world.consumer, task).set_exception(RuntimeError("the handler is closed"))
        with pytest.raises(KafkaError, match="stopped fetching") as raised:
            await asyncio.wait_for(world.task, 1.0)
        assert isinstance(raised.value.__cause__, RuntimeError)
        assert world.consumer.stopped

    scenario()


# handing out


@on_virtual_time
async def test_batches_hold_records_of_several_partitions() -> None:
    world = World(batch_records=4)
    world.consumer.write(A, 0, 1, 2)
    world.consumer.write(B, 0, 1, 2)
    await world.own(A, B)
    batches = await world.answer_all()
    assert [len(batch) for batch in batches] == [4, 2]
    assert {partition for partition, _ in batches[0]} == {0, 1}
    assert sorted(chain.from_iterable(batches)) == [(p, o) for p in (0, 1) for o in range(3)]
    await world.stop()


@on_virtual_time
async def test_an_agent_gets_no_more_at_once_than_it_wants() -> None:
    world = World(batch_records=4, appetite=2)
    world.consumer.write(A, *range(4))
    await world.own(A)
    assert [len(batch) for batch in await world.answer_all()] == [2, 2]
    world.appetite = 100
    world.consumer.write(A, *range(4, 10))
    assert [len(batch) for batch in await world.answer_all()] == [4, 2]
    await world.stop()


@on_virtual_time
async def test_no_partition_starves() -> None:
    world = World(batch_records=2)
    world.consumer.write(A, *range(40))
    world.consumer.write(B, *range(40))
    await world.own(A, B)
    firsts = {batch[0][0] for batch in (await world.answer_all())[:4]}
    assert firsts == {0, 1}
    await world.stop()


@on_virtual_time
async def test_suspects_are_alone_in_their_batch_and_the_guilty_record_is_given_up_alone() -> None:
    world = World(batch_records=4)
    world.consumer.write(A, 0, 1)
    world.consumer.write(B, 0, 1)
    await world.own(A, B)
    came = []
    while True:
        try:
            batch = await world.next_batch()
        except TimeoutError:
            break
        came.append(places(batch.records))
        if (0, 1) in came[-1]:
            batch.release(failed=True)
        else:
            batch.resolve(answers(batch.records))
    assert len(came[0]) == 4
    assert all(len({partition for partition, _ in batch}) == 1 for batch in came[1:])
    assert came.count([(0, 1)]) == 3
    assert world.brokers[A].sent == [b"answer 0", b"failed 1"]
    assert world.brokers[B].sent == [b"answer 0", b"answer 1"]
    assert world.plane.statistics()["faults"] > 3
    await world.stop()


@on_virtual_time
async def test_the_first_record_waits_for_more_and_no_longer_than_it_may() -> None:
    world = World(batch_records=3, batch_wait_s=0.05)
    await world.own(A)
    now = asyncio.get_running_loop().time
    began = now()
    world.consumer.write(A, 0)
    await asyncio.sleep(0.02)
    world.consumer.write(A, 1)
    assert places((await world.next_batch()).records) == [(0, 0), (0, 1)]
    assert 0.049 < now() - began < 0.06
    began = now()
    world.consumer.write(A, 2, 3, 4)
    assert len((await world.next_batch()).records) == 3
    assert now() - began < 0.01
    await world.stop()


@on_virtual_time
async def test_the_next_batch_is_there_as_soon_as_one_is_taken() -> None:
    """Not only when the next fetch returns: that may be a tenth of a second."""
    world = World(batch_records=1)
    world.consumer.write(A, *range(20))
    await world.own(A)
    began = asyncio.get_running_loop().time()
    for _ in range(20):
        await world.next_batch()
    assert asyncio.get_running_loop().time() - began < 0.1
    await asyncio.sleep(10.0)
    world.task.cancel()
    await asyncio.wait({world.task})


@on_virtual_time
async def test_an_agent_that_takes_nothing_stops_the_fetch() -> None:
    world = World(window=window_policy(pending=6), batch_records=2)
    world.consumer.fetch = 2
    world.consumer.write(A, *range(100))
    await world.own(A)
    await asyncio.sleep(5.0)
    assert world.plane.counters.batches == 1
    assert world.plane.unfinished == 8  # the bound, and what the inbox holds
    assert sum(map(len, await world.answer_all())) == 100
    await world.stop()


@on_virtual_time
async def test_after_an_unclean_death_nothing_goes_out_before_the_last_batch_is_committed() -> None:
    world = World(careful=True, batch_records=2)
    world.brokers[A].stored = Progress(0, phase="n", topic_id=TOPIC_ID)
    world.consumer.write(A, *range(4))
    await world.own(A)
    first = await world.next_batch()
    assert places(first.records) == [(0, 0), (0, 1)]
    with pytest.raises(TimeoutError):
        await world.next_batch()
    first.resolve(answers(first.records))
    assert places((await world.next_batch()).records) == [(0, 2), (0, 3)]
    world.task.cancel()
    await asyncio.wait({world.task})


@on_virtual_time
async def test_one_partition_at_a_time_tries_what_may_kill_the_process() -> None:
    """So that a death is nobody's fault but that of the batch that was tried."""
    world = World(careful=True, batch_records=2)
    for tp in (A, B):
        world.brokers[tp].stored = Progress(0, phase="n", topic_id=TOPIC_ID)
        world.consumer.write(tp, 0)
    await world.own(A, B)
    tried = await world.next_batch()
    with pytest.raises(TimeoutError):
        await world.next_batch()
    phases = {tp: world.phase(tp) for tp in (A, B)}
    (place,) = places(tried.records)
    guilty = A if place[0] == A.partition else B
    assert phases == {guilty: "B", B if guilty is A else A: "b"}
    tried.resolve(answers(tried.records))
    assert len(await world.answer_all()) == 1
    await world.stop()
    assert {world.phase(tp) for tp in (A, B)} == {"b"}


@on_virtual_time
async def test_partitions_take_turns_in_trying() -> None:
    """One whose records keep coming must not keep another waiting, which has a backlog."""
    world = World(careful=True, batch_records=2)
    for tp in (A, B):
        world.brokers[tp].stored = Progress(0, phase="n", topic_id=TOPIC_ID)
        world.consumer.write(tp, *range(8))
    await world.own(A, B)
    tried = []
    for _ in range(6):
        batch = await world.next_batch()
        tried.append(batch.records[0].partition)
        batch.resolve(answers(batch.records))
    assert set(tried[:3]) == {0, 1}
    assert tried.count(0) == 3
    world.task.cancel()
    await asyncio.wait({world.task})


@on_virtual_time
async def test_a_batch_that_may_kill_waits_until_nothing_else_is_in_flight() -> None:
    """Otherwise a death by the neighbour's batch would be blamed on it."""
    world = World(careful=True, batch_records=2)
    world.brokers[A].open_fails = 2  # acquired when the other's batch is out
    world.brokers[A].stored = Progress(0, phase="n", topic_id=TOPIC_ID)
    world.consumer.write(A, 0)
    world.consumer.write(B, 0)
    await world.own(A, B)
    calm = await world.next_batch()
    assert places(calm.records) == [(1, 0)]
    with pytest.raises(TimeoutError):
        await world.next_batch(within_s=5.0)
    calm.resolve(answers(calm.records))
    suspect = await world.next_batch()
    assert places(suspect.records) == [(0, 0)]
    world.consumer.write(B, 1)
    with pytest.raises(TimeoutError):
        await world.next_batch(within_s=5.0)
    suspect.resolve(answers(suspect.records))
    assert places((await world.next_batch()).records) == [(1, 1)]
    world.task.cancel()
    await asyncio.wait({world.task})


@pytest.mark.parametrize("ends", [lost_before, lost_after])
def test_a_commit_that_arms_and_is_lost_is_settled_like_any_other(ends: Reaction) -> None:
    @on_virtual_time
    async def scenario() -> None:
        world = World(careful=True)
        world.brokers[A].stored = Progress(0, phase="B", topic_id=TOPIC_ID)
        world.brokers[A].script = [None, ends]
        world.consumer.write(A, 0)
        await world.own(A)
        assert await world.answer_all() == [[(0, 0)]]
        phases = [commit.phase for commit in world.brokers[A].commits]
        assert phases.count("a1") == 1
        await world.stop()

    scenario()


# stopping


@on_virtual_time
async def test_stopping_ends_what_is_in_flight_and_leaves() -> None:
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    world.plane.stop()
    world.consumer.write(A, 1)
    await asyncio.sleep(1.0)
    assert not world.task.done()
    held.resolve(answers(held.records))
    await world.task
    assert world.brokers[A].stored == Progress(1, phase="c", topic_id=TOPIC_ID)
    assert world.consumer.stopped
    assert world.coordinator.closed
    assert world.plane.statistics()["partitions"] == {}


@on_virtual_time
async def test_a_fetch_waits_no_longer_while_a_partition_is_released_for_it_may_come_back() -> None:
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    await asyncio.sleep(1.0)
    assert world.consumer.wait_ms == 500
    rebalance = asyncio.create_task(world.consumer.assign(A))
    await asyncio.sleep(1.0)
    assert world.consumer.wait_ms < 50
    held.resolve(answers(held.records))
    await rebalance
    await world.stop()


@pytest.mark.parametrize("stops", [True, False])
def test_what_the_agent_gives_back_is_not_waited_for(stops: bool) -> None:
    """A stop and a rebalance tell it before they wait for what is in flight."""

    @on_virtual_time
    async def scenario() -> None:
        world = World(drain_s=1000.0)
        world.consumer.write(A, 0)
        await world.own(A)
        held = await world.next_batch()
        world.left = held.release
        began = asyncio.get_running_loop().time()
        if stops:
            await world.stop()
        else:
            await world.consumer.assign()
        assert asyncio.get_running_loop().time() - began < 1.0
        assert world.brokers[A].sent == []
        assert world.plane.counters.abandoned == 0
        if not stops:
            await world.stop()

    scenario()


@on_virtual_time
async def test_stopping_in_the_middle_of_a_rebalance() -> None:
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    held = await world.next_batch()
    rebalance = asyncio.create_task(world.consumer.assign(A))
    await asyncio.sleep(0.5)
    world.plane.stop()
    await asyncio.sleep(0.5)
    held.resolve(answers(held.records))
    await asyncio.gather(rebalance, world.task)
    assert world.brokers[A].sent == [b"answer 0"]
    assert world.plane.statistics()["sent"] == 1


@on_virtual_time
async def test_stopping_in_the_middle_of_a_rebalance_waits_no_longer_than_the_rebalance() -> None:
    world = World(drain_s=10.0)
    world.consumer.write(A, 0)
    await world.own(A)
    await world.next_batch()
    began = asyncio.get_running_loop().time()
    rebalance = asyncio.create_task(world.consumer.assign(A))
    await asyncio.sleep(8.0)
    world.plane.stop()
    await asyncio.gather(rebalance, world.task)
    assert 10.0 <= asyncio.get_running_loop().time() - began < 12.0


@on_virtual_time
async def test_a_client_that_waits_for_a_rebalance_is_spoken_for() -> None:
    """It would leave the group only when all others have joined, and the group would give it partitions until then."""
    world = World()
    await world.own(A)
    world.consumer.leaves.clear()
    began = asyncio.get_running_loop().time()
    stopping = asyncio.create_task(world.stop())
    while not world.consumer.requests:  # noqa: ASYNC110  # on virtual time, where polling is free
        await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - began < 1.5
    ((node, request, group),) = world.consumer.requests
    assert (node, request._group, request._member_id, group) == (3, "group", "member", ConnectionGroup.DEFAULT)
    world.consumer.leaves.set()
    await stopping


@on_virtual_time
async def test_a_client_that_leaves_is_not_spoken_for() -> None:
    world = World()
    await world.own(A)
    await world.stop()
    assert world.consumer.requests == []


@on_virtual_time
async def test_stopping_gives_up_what_does_not_end() -> None:
    world = World(drain_s=3.0)
    world.consumer.write(A, 0)
    await world.own(A)
    await world.next_batch()
    began = asyncio.get_running_loop().time()
    await world.stop()
    assert 2.9 < asyncio.get_running_loop().time() - began < 4.0
    assert world.plane.counters.abandoned == 1


@on_virtual_time
async def test_stopping_does_not_wait_for_a_client_that_does_not_end(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    world.consumer.leaves.clear()
    (await world.next_batch()).resolve(answers(world.consumer.logs[A]))
    began = asyncio.get_running_loop().time()
    await world.stop()
    assert asyncio.get_running_loop().time() - began < 15.0
    assert world.brokers[A].sent == [b"answer 0"]
    assert "leave_failed" in actions(caplog)


# telling


@on_virtual_time
async def test_who_counts_hears_what_every_partition_commits() -> None:
    world = World()
    world.consumer.write(A, 0)
    world.consumer.write(B, 5)
    await world.own(A, B)
    await world.answer_all()
    assert sorted(map(str, world.committed)) == ["b'answer 0'", "b'answer 5'"]
    await world.stop()


@on_virtual_time
async def test_how_partitions_stand() -> None:
    world = World(window=window_policy(records=2))
    world.consumer.write(A, 0, 1, 2)
    await world.own(A, B)
    held = await world.next_batch()
    first, second = world.plane.standings()
    assert (first.topic, first.partition, first.state, first.stopped) == ("requests", 0, "paused", None)
    assert (first.position, first.unfinished, first.oldest_ms) == (3, 3, 1_700_000_000_123)
    assert (second.state, second.position, second.unfinished, second.oldest_ms) == ("running", 0, 0, None)
    held.resolve(answers(held.records))
    await world.answer_all()
    first, _ = world.plane.standings()
    assert (first.state, first.unfinished, first.oldest_ms, first.sent) == ("running", 0, None, 3)
    await world.stop()
    assert world.plane.standings() == []


@on_virtual_time
async def test_where_partitions_end_is_asked_of_the_broker() -> None:
    world = World()
    world.consumer.offsets = lambda which: {"end": 9, "high": 11}[which]
    with pytest.raises(Lost, match="not been started"):
        await world.plane.ends()
    await world.own(A, B)
    assert await world.plane.ends() == {A: End(9, 11), B: End(9, 11)}
    await world.stop()


@on_virtual_time
async def test_recoveries_are_counted_beyond_the_partitions_they_happened_to() -> None:
    world = World()
    world.consumer.write(A, 0)
    await world.own(A)
    world.brokers[A].script = [lost_before]
    await world.answer_all()
    assert world.plane.statistics()["recoveries"] == 1
    await world.consumer.assign(B)
    assert world.plane.statistics()["recoveries"] == 1
    await world.stop()
