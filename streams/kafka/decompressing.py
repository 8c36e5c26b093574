"""Record batches that others have compressed are unpacked within a bound: the memory is not taken beyond it.

A batch of twelve kilobytes may hold gigabytes of zeros, and the client unpacks a whole batch at once. Each function
here takes what the client's own takes, and returns what that returns, or raises `BatchTooLarge` before it is too much.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import cramjam
from aiokafka import TopicPartition
from aiokafka.codec import _detect_xerial_stream
from aiokafka.record import default_records, legacy_records
from aiokafka.record._crecords import default_records as compiled_records
from aiokafka.record._crecords import legacy_records as compiled_legacy_records

from ...agents.compression import TooLarge, gunzipped, unpacked
from ...schemas.errors import BiSupervisedError

_PARSERS = (default_records, legacy_records, compiled_records, compiled_legacy_records)
_XERIAL_HEADER = 16


class BatchTooLarge(BiSupervisedError):
    """A record batch unpacks to more than is taken; `place` is its partition, where it is known."""

    def __init__(self, most: int, place: TopicPartition | None = None) -> None:
        super().__init__(f"the record batch unpacks to more than [stream] window_bytes = {most}")
        self.most = most
        self.place = place


@dataclass(frozen=True, slots=True)
class _Bounded:
    """The codecs of Kafka. None returns more than `most` bytes, or holds many more."""

    most: int

    def gzip(self, payload: bytes) -> bytes:
        """One member after another, as the format allows."""
        return self._bounded(gunzipped, payload) if payload else b""

    def snappy(self, payload: bytes) -> bytes:
        """Each block says first how long it is."""
        if not _detect_xerial_stream(payload):
            return self._snappy_block(payload, self.most)
        pieces, size, at, data = list[bytes](), 0, _XERIAL_HEADER, memoryview(payload)
        while at < len(data):
            (length,) = struct.unpack_from("!i", data, at)
            pieces.append(self._snappy_block(bytes(data[at + 4 : at + 4 + length]), self.most - size))
            size += len(pieces[-1])
            at += 4 + length
        return b"".join(pieces)

    def _snappy_block(self, block: bytes, most: int) -> bytes:
        if cramjam.snappy.decompress_raw_len(block) > most:
            raise BatchTooLarge(self.most)
        return bytes(cramjam.snappy.decompress_raw(block))

    def lz4(self, payload: bytes) -> bytes:
        """As long as it is."""
        return self._bounded(partial(unpacked, cramjam.lz4.decompress_into), payload)

    def zstd(self, payload: bytes) -> bytes:
        """As long as it is."""
        return self._bounded(partial(unpacked, cramjam.zstd.decompress_into), payload)

    def _bounded(self, read: Callable[[bytes, int], bytes], payload: bytes) -> bytes:
        try:
            return read(bytes(payload), self.most)
        except TooLarge as error:
            raise BatchTooLarge(self.most) from error


def bound_batches(most: int) -> None:
    """From now on, no consumer of this process unpacks a record batch to more than so many bytes."""
    codecs = _Bounded(most)
    for parser in _PARSERS:
        _replace(parser, codecs)


def _replace(parser: ModuleType, codecs: _Bounded) -> None:
    for name in ("gzip", "snappy", "lz4", "zstd"):
        if hasattr(parser, f"{name}_decode"):
            setattr(parser, f"{name}_decode", getattr(codecs, name))
