"""Records as consumers give them: with what the product reads of them, whatever their headers are called, and however
large the batch is that they come in.

The client makes an object twice as dear of each. Measured on 300-byte records: 0.7 µs instead of 1.3. It cannot read a
header whose name is not UTF-8. Of a batch that unpacks to too much it would give none, again and again: here each of
its records comes as `Oversized`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from .decompressing import BatchTooLarge, bound_batches

log = logging.getLogger(__name__)

#: version of a record batch from which on records have headers
_MAGIC = 2
_BATCHES = (DefaultRecordBatch, _DefaultRecordBatchPy)


class Fetched(msgspec.Struct, frozen=True, gc=False):
    """One record of a topic, an `Incoming`."""

    topic: str
    partition: int
    offset: int
    timestamp: int  #: milliseconds since epoch
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Oversized(Fetched, frozen=True, gc=False):
    """One record of a batch that unpacks to more than is taken. Only its place is known, and about when it was sent."""

    detail: str  #: why, for people


class _Packed:
    """A compressed batch, as the client reads one."""

    def __init__(self, batch: Any, tp: TopicPartition) -> None:  # noqa: ANN401  # a compiled class
        self._batch = batch
        self._tp = tp

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as above
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        if not isinstance(self._batch, _BATCHES):
            return self._of_old()
        try:
            return iter(self._batch)
        except BatchTooLarge as error:
            return self._places(str(error))

    def _of_old(self) -> Iterator[Any]:
        """Before Kafka 0.11. Such a batch hides which records it holds."""
        try:
            yield from self._batch
        except BatchTooLarge as error:
            raise BatchTooLarge(error.most, self._tp) from error

    def _places(self, detail: str) -> Iterator[Oversized]:
        """One by one, for there may be millions. Where a topic was compacted, some of these records are no more."""
        batch, (topic, number) = self._batch, self._tp
        first, end, timestamp = batch.base_offset, batch.next_offset, batch.max_timestamp
        text = "%s-%d offsets %d to %d: %s"
        log.error(text, topic, number, first, end - 1, detail, extra={"action": "batch_too_large"})
        for offset in range(first, end):
            yield Oversized(topic, number, offset, timestamp, None, None, [], detail)


class _Batches:
    """The batches of a fetch; those that are compressed are `_Packed`."""

    def __init__(self, records: Any, tp: TopicPartition) -> None:  # noqa: ANN401  # aiokafka's MemoryRecords
        self._records = records
        self._tp = tp

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> Any:  # noqa: ANN401  # a compiled class
        batch = self._records.next_batch()
        if isinstance(batch, _BATCHES) and (batch.compression_type == 0 or batch.is_control_batch):
            return batch
        return _Packed(batch, self._tp)


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, tp: TopicPartition, records: Any, *arguments: Any) -> None:  # noqa: ANN401  # as above
        super().__init__(tp, _Batches(records, tp), *arguments)

    def __iter__(self) -> Iterator[Fetched]:
        records: Iterator[Fetched] = self._records_iterator
        return records

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Fetched:  # noqa: ANN401  # a compiled class
        if type(record) is Oversized:
            return record
        return Fetched(
            tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, record.headers
        )


def fetch_lean(most: int) -> None:
    """From now on, every consumer of this process gives `Fetched`, and unpacks no batch to more than `most` bytes."""
    bound_batches(most)
    fetcher.PartitionRecords = _Records  # the client has no option for which record it makes


class _Forgiving(bytes):
    """Bytes whose text may be damaged."""

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401  # an index or a slice
        found = super().__getitem__(place)
        return _Forgiving(found) if isinstance(found, bytes) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]  # marked final, which is about its types
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        buffer: Any = self._buffer  # type: ignore[has-type]  # aiokafka has no types
        self._buffer = buffer if isinstance(buffer, _Forgiving) else _Forgiving(buffer)


class _ForgivingRecords(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka has no types
    def next_batch(self) -> Any:  # noqa: ANN401  # as above
        piece = self._next_slice
        batch = super().next_batch()
        return _Batch(piece) if piece is not None and piece[self.MAGIC_OFFSET] >= _MAGIC else batch


def read_any_header() -> None:
    """From the next fetch on, every consumer of this process reads such records. What is fetched is to be dropped."""
    if fetcher.MemoryRecords is _ForgivingRecords:
        return
    fetcher.MemoryRecords = _ForgivingRecords  # the client decodes names strictly, and drops the fetch with the error
    text = "a record has a header whose name is not UTF-8: it is read with U+FFFD in its place, all records more slowly"
    log.warning(text, extra={"action": "header_name_damaged"})
