"""Records as consumers give them: with what the product reads of them, whatever their headers are called, and however
large the batch is that they come in.

The client makes an object twice as dear of each, one at a time. Here they are made in pieces. It cannot read a
header whose name is not UTF-8. Of a batch that unpacks to too much it would give none, again and again: here each of
its records comes as `Oversized`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

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
#: records that are unpacked at once
_PIECE = 500


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


class _Piece(NamedTuple):
    """Some neighbouring records of a batch."""

    records: list[Fetched]  #: at least one
    offset: int  #: of the last one


class _Pieces:
    """A batch, as the client reads one: with pieces where the client expects records."""

    def __init__(self, batch: Any, tp: TopicPartition) -> None:  # noqa: ANN401  # a compiled class
        self._batch = batch
        self._tp = tp

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as above
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Piece]:
        topic, number = self._tp
        try:
            records = chain(iter(self._batch)) if isinstance(self._batch, _BATCHES) else self._of_old()
        except BatchTooLarge as error:
            places = self._places(str(error))
            while unread := list(islice(places, _PIECE)):
                yield _Piece(unread, unread[-1].offset)
            return
        while piece := [
            Fetched(topic, number, record.offset, record.timestamp, record.key, record.value, record.headers)
            for record in islice(records, _PIECE)
        ]:
            yield _Piece(piece, piece[-1].offset)

    def _of_old(self) -> Iterator[Any]:
        """Before Kafka 0.11. Such a batch hides which records it holds."""
        try:
            yield from self._batch
        except BatchTooLarge as error:
            raise BatchTooLarge(error.most, self._tp) from error

    def _places(self, detail: str) -> Iterator[Fetched]:
        """One by one, for there may be millions. Where a topic was compacted, some of these records are no more."""
        batch, (topic, number) = self._batch, self._tp
        first, end, timestamp = batch.base_offset, batch.next_offset, batch.max_timestamp
        text = "%s-%d offsets %d to %d: %s"
        log.error(text, topic, number, first, end - 1, detail, extra={"action": "batch_too_large"})
        for offset in range(first, end):
            yield Oversized(topic, number, offset, timestamp, None, None, [], detail)


class _Batches:
    """The batches of a fetch, in pieces. Only the client itself reads those that end transactions."""

    def __init__(self, records: Any, tp: TopicPartition) -> None:  # noqa: ANN401  # aiokafka's MemoryRecords
        self._records = records
        self._tp = tp

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> Any:  # noqa: ANN401  # a compiled class
        batch = self._records.next_batch()
        return batch if batch.is_control_batch else _Pieces(batch, self._tp)


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, tp: TopicPartition, records: Any, *arguments: Any) -> None:  # noqa: ANN401  # as above
        super().__init__(tp, _Batches(records, tp), *arguments)
        self._left: list[Fetched] = []  # unpacked, and not given yet
        self._end: int = self.next_fetch_offset  # where what is unpacked ends
        self.exhausted = False  #: there are no more

    def __iter__(self) -> Iterator[Fetched]:
        while given := self.take(1):
            yield given[0]

    def __next__(self) -> Fetched:
        return next(iter(self))

    def take(self, most: int) -> list[Fetched]:
        """The next records; fewer than `most` where there are no more."""
        found = self._left
        self.next_fetch_offset = self._end  # as the client's own loop knows it
        while len(found) < most and not self.exhausted:
            piece: list[Fetched] | None = next(self._records_iterator, None)
            self._end = self.next_fetch_offset
            self.exhausted = piece is None
            found = found + (piece or [])  # not in place: it may be what is left
        given, self._left = found[:most], found[most:]
        self.next_fetch_offset = given[-1].offset + 1 if self._left else self._end
        return given

    def _consumer_record(self, tp: TopicPartition, record: _Piece) -> list[Fetched]:
        """What the client's own loop yields: here the records of a piece."""
        if record.records[0].offset >= self.next_fetch_offset:
            return record.records
        return [each for each in record.records if each.offset >= self.next_fetch_offset]


_getall = fetcher.FetchResult.getall  # the client's own, which takes record by record


def _taken(result: Any, max_records: int | None = None) -> list[Any]:  # noqa: ANN401  # the client's, without types
    """`FetchResult.getall`."""
    records = result._partition_records  # noqa: SLF001  # as above
    if not isinstance(records, _Records):
        return _getall(result, max_records)  # type: ignore[no-any-return]  # as above
    if not result.check_assignment(result._topic_partition):  # noqa: SLF001  # as above
        return []
    given = records.take(sys.maxsize if max_records is None else max_records)
    result._update_position()  # noqa: SLF001  # as above
    if records.exhausted:
        result._partition_records = None  # noqa: SLF001  # as above
    return given


def fetch_lean(most: int) -> None:
    """From now on, every consumer of this process gives `Fetched`, and unpacks no batch to more than `most` bytes."""
    bound_batches(most)
    fetcher.PartitionRecords = _Records  # the client has no option for which record it makes
    fetcher.FetchResult.getall = _taken  # not another class: consumers that run already hold some of this one


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
