"""What a consumer of ours makes of the bytes of a fetch: what the client makes, less what nobody reads."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from bisupervised.streams.kafka.records import Fetched, fetch_lean

TP = TopicPartition("requests", 3)
RECORDS: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
    (b"key", b"value", [("traceparent", b"00-1"), ("other", b"")]),
    (None, b"value", []),
    (b"key", None, []),
]


@pytest.fixture
def client_class() -> Iterator[Any]:
    """The client's own, put back afterwards: the process is shared."""
    before = fetcher.PartitionRecords, fetcher.FetchResult, fetcher.FetchResult.getall
    yield before[0]
    fetcher.PartitionRecords, fetcher.FetchResult, fetcher.FetchResult.getall = before


def fetch(offset: int = 0, isolation: int = 0) -> Any:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 16)
    for number, (key, value, headers) in enumerate(RECORDS):
        builder.append(number, 1_700_000_000_000 + number, key, value, headers)
    data = MemoryRecords(bytes(builder.build()))
    return fetcher.PartitionRecords(TP, data, [], offset, None, None, True, isolation)


def test_it_has_what_the_clients_record_has(client_class: Any) -> None:
    fields = Fetched.__struct_fields__
    theirs = [[getattr(record, name) for name in fields] for record in fetch()]
    fetch_lean(1 << 20)
    found = fetch()
    ours = list(found)
    assert all(type(record) is Fetched for record in ours)
    for mine, other in zip(ours, theirs, strict=True):
        assert [getattr(mine, name) for name in fields[:-1]] == other[:-1]
        assert list(mine.headers) == list(other[-1])
    assert found.next_fetch_offset == len(RECORDS)


def test_it_goes_on_where_the_last_look_ended(client_class: Any) -> None:
    """A fetch is taken by parts."""
    fetch_lean(1 << 20)
    found = fetch(offset=1)
    first = next(iter(found))
    assert (first.offset, found.next_fetch_offset) == (1, 2)
    assert [record.offset for record in found] == [2]


def test_it_is_no_work_for_the_garbage_collector(client_class: Any) -> None:
    fetch_lean(1 << 20)
    assert not any(gc.is_tracked(record) for record in fetch())


class Assignment:
    """What a client knows of a partition that is assigned."""

    active, paused, position = True, False, 0

    def state_value(self, _tp: TopicPartition) -> Assignment:
        return self

    def consumed_to(self, offset: int) -> None:
        self.position = offset


def fetched_by_parts(batches: list[int], most: int) -> tuple[list[list[int]], list[int]]:
    """The offsets that each look gives, and the position after it. `batches`: how many records each holds."""
    whole, first = bytearray(), 0
    for count in batches:
        builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
        for number in range(count):
            builder.append(number, 1_700_000_000_000, None, b"value", [])
        batch = builder.build()
        batch[:8] = first.to_bytes(8)
        whole += batch
        first += count
    records = fetcher.PartitionRecords(TP, MemoryRecords(bytes(whole)), [], 0, None, None, True, 0)
    assignment = Assignment()
    result = fetcher.FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)
    looks, positions = list[list[int]](), list[int]()
    while result.has_more():
        looks.append([record.offset for record in result.getall(most)])
        positions.append(assignment.position)
    return looks, positions


@pytest.mark.parametrize(
    ("batches", "most"), [([1200], 2000), ([1200], 700), ([3, 1, 501, 7], 4), ([500, 500], 500), ([1], 1)]
)
def test_by_parts_each_record_comes_once_and_the_position_is_where_the_look_ended(
    client_class: Any, batches: list[int], most: int
) -> None:
    theirs = fetched_by_parts(batches, most)
    fetch_lean(1 << 20)
    looks, positions = fetched_by_parts(batches, most)
    assert (looks, positions) == theirs
    assert [offset for look in looks for offset in look] == list(range(sum(batches)))
    assert all(len(look) <= most for look in looks)


async def test_what_a_consumer_holds_already_is_given_too(client_class: Any) -> None:
    """The budget's has fetched its topic before the first plane starts."""
    held = fetcher.FetchResult(TP, assignment=Assignment(), partition_records=fetch(), backoff=0)
    consumer = SimpleNamespace(
        _records={TP: held},
        _subscriptions=SimpleNamespace(reassignment_in_progress=False),
        _notify=lambda future: None,
        _wait_consume_future=None,
    )
    fetch_lean(1 << 20)
    given = await fetcher.Fetcher.fetched_records(consumer, [TP])
    assert [record.offset for record in given[TP]] == [0, 1, 2]
