"""Reading topics where a leader has no record for a moment: one that has just begun to lead. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from bisupervised.streams.kafka.consumer import Doubts
from bisupervised.streams.tools.replay import Counts, Mark, ReplayOptions
from bisupervised.streams.tools.replay_run import Replay, _fetched
from bisupervised.streams.topics.reading import read_at, read_to_the_end, some_records
from support.virtual_time import on_virtual_time

A, B = TopicPartition("fallback", 0), TopicPartition("fallback", 1)


class FakeConsumer:
    """A reader of two partitions with ten records each, whose leaders deny them for a while."""

    def __init__(self, denied_s: float = 0.0, *, resets: bool = False) -> None:
        self.positions = {A: 0, B: 0}
        self.begin = 0
        self.asked = 0
        self._resets = resets  # it begins anew where a leader has no record, as the client does unless told
        self._denied_s = denied_s
        self._denied_from = asyncio.get_running_loop().time()

    def deny(self, seconds: float) -> None:
        self._denied_from = asyncio.get_running_loop().time()
        self._denied_s = seconds

    @property
    def denying(self) -> bool:
        return asyncio.get_running_loop().time() < self._denied_from + self._denied_s

    def assign(self, places: Sequence[TopicPartition]) -> None: ...
    async def seek_to_beginning(self, *_places: TopicPartition) -> None: ...

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.positions[place] = offset

    async def position(self, place: TopicPartition) -> int:
        return self.positions[place]

    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, self.begin)

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked += 1
        return dict.fromkeys(places, 3 if self.denying else 10)

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """Each record is of the millisecond that its offset says."""
        return {place: SimpleNamespace(offset=at) if at < 10 else None for place, at in times.items()}

    async def getmany(self, *places: TopicPartition, timeout_ms: int, max_records: int = 2) -> dict[Any, list[Any]]:
        await asyncio.sleep(timeout_ms / 1000)
        if self.denying and not self._resets:
            self.positions[B] += 2  # what was fetched of it is dropped
            raise OffsetOutOfRangeError({A: self.positions[A]})
        if self.denying:
            self.positions[A], self._denied_s = 0, 0.0
        found = {}
        for place in places or (A,):
            at = self.positions[place]
            end = min(10, at + max_records)
            found[place] = [SimpleNamespace(topic=place.topic, offset=offset) for offset in range(at, end)]
            self.positions[place] = end
        return found


@pytest.mark.parametrize("denied_s", [0.0, 1.0, 8.0])
@on_virtual_time
async def test_a_leader_that_denies_a_record_for_a_moment_is_asked_again(denied_s: float) -> None:
    consumer: Any = FakeConsumer(denied_s)
    doubts, read = Doubts(), list[tuple[int, int]]()
    while len(read) < 20:
        found = await some_records(consumer, dict(consumer.positions), doubts)
        read += [(place.partition, record.offset) for place, records in found.items() for record in records]
    assert sorted(read) == [(number, offset) for number in (0, 1) for offset in range(10)], "none is dropped beside it"


@on_virtual_time
async def test_one_that_keeps_denying_it_is_believed_and_nothing_is_passed_over() -> None:
    consumer: Any = FakeConsumer(60.0)
    doubts = Doubts()

    async def ask() -> None:
        while True:
            assert await some_records(consumer, {A: 4, B: 0}, doubts) == {}

    began = asyncio.get_running_loop().time()
    with pytest.raises(OffsetOutOfRangeError):
        await ask()
    assert 10.0 <= asyncio.get_running_loop().time() - began <= 12.0
    assert consumer.positions == {A: 4, B: 0}


def replay(at: int) -> Replay:
    options = ReplayOptions("requests", ("a reason",))
    return Replay("x", {place: (at, Mark(10, "", options, Counts())) for place in (A, B)}, options, 2, resumed=True)


@on_virtual_time
async def test_a_replay_takes_no_record_for_deleted_that_a_leader_denies_for_a_moment() -> None:
    consumer: Any = FakeConsumer(5.0)
    consumer.begin = 4  # by its word
    doubts = Doubts()
    assert await _fetched(replay(0), consumer, doubts) == ({}, {})
    assert consumer.positions == {A: 0, B: 0}


@on_virtual_time
async def test_a_replay_counts_what_is_gone_for_good() -> None:
    consumer: Any = FakeConsumer(60.0)
    consumer.begin = 4
    doubts = Doubts()
    began = asyncio.get_running_loop().time()
    while not (deleted := (await _fetched(replay(0), consumer, doubts))[1]):
        assert asyncio.get_running_loop().time() - began < 15.0
    assert deleted == {A: 4, B: 4}
    assert consumer.positions == {A: 4, B: 4}


@pytest.mark.parametrize(("denied_s", "found"), [(0.0, 7), (5.0, 7), (60.0, None)])
@on_virtual_time
async def test_an_original_is_gone_only_when_its_leader_repeats_it(denied_s: float, found: int | None) -> None:
    consumer: Any = FakeConsumer(denied_s)
    doubts = Doubts()
    record = await read_at(consumer, A, 7, doubts)
    assert getattr(record, "offset", None) == found
    if found is None:
        began = consumer.asked
        assert await read_at(consumer, A, 8, doubts) is None
        assert consumer.asked == began + 1, "it is believed from then on"


@on_virtual_time
async def test_an_original_that_retention_has_taken_is_gone_at_once() -> None:
    consumer: Any = FakeConsumer()
    consumer.begin = 8
    assert await read_at(consumer, A, 7, Doubts()) is None
    assert consumer.asked == 1


@on_virtual_time
async def test_a_reader_that_begins_anew_meanwhile_gives_no_record_twice() -> None:
    consumer: Any = FakeConsumer(resets=True)
    given: list[int] = []

    def take(record: Any) -> None:
        given.append(record.offset)
        if len(given) == 6:
            consumer.deny(1.0)

    await read_to_the_end(consumer, [A], {"fallback": take})
    assert given == list(range(10))


@pytest.mark.parametrize(("since_ms", "first"), [(0.0, 0), (6.5, 7), (99.0, 10), (-1.0, 0)])
@on_virtual_time
async def test_older_records_are_not_read(since_ms: float, first: int) -> None:
    """Each record is of the millisecond that its offset says."""
    consumer: Any = FakeConsumer()
    given: list[int] = []
    await read_to_the_end(consumer, [A], {"fallback": lambda record: given.append(record.offset)}, since_ms=since_ms)
    assert given == list(range(first, 10))
