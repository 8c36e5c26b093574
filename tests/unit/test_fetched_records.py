"""What a consumer of ours makes of the bytes of a fetch: what the client makes, less what nobody reads."""

from __future__ import annotations

import gc
from collections.abc import Iterator
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
    before = fetcher.PartitionRecords
    yield before
    fetcher.PartitionRecords = before


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
