"""A fetched record with what the product reads of it. The client makes an object twice as dear of each.

The client has no place to say so, but for its fetcher's own class. Measured on 300-byte records: 0.7 µs instead of 1.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher


class Fetched(msgspec.Struct, frozen=True, gc=False):
    """One record of a topic, an `Incoming`."""

    topic: str
    partition: int
    offset: int
    timestamp: int  #: milliseconds since epoch
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    def __iter__(self) -> Iterator[Fetched]:
        records: Iterator[Fetched] = self._records_iterator
        return records

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Fetched:  # noqa: ANN401  # a compiled class
        return Fetched(
            tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, record.headers
        )


def fetch_lean() -> None:
    """From now on, every consumer of this process gives `Fetched`."""
    fetcher.PartitionRecords = _Records
