"""Record batches that others have compressed are unpacked within a bound: the memory is not taken beyond it.

A batch of twelve kilobytes may hold gigabytes of zeros, and the client unpacks a whole batch at once. Each function
here takes what the client's own takes, and returns what that returns, or raises `BatchTooLarge` before it is too much.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import cramjam
import numpy as np
from aiokafka import TopicPartition
from aiokafka.codec import _detect_xerial_stream
from aiokafka.record import default_records, legacy_records
from aiokafka.record._crecords import default_records as compiled_records
from aiokafka.record._crecords import legacy_records as compiled_legacy_records

from ...schemas.errors import BiSupervisedError

_PARSERS = (default_records, legacy_records, compiled_records, compiled_legacy_records)
#: bytes of the output that is tried first, and how many for each byte of the input: nearly all batches fit
_FIRST, _RATIO = 65_536, 16
_GZIP = 16 + zlib.MAX_WBITS
_XERIAL_HEADER = 16
_FULL = "failed to write whole buffer"  # what cramjam says of an output that is too small


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
        pieces, size, data = list[bytes](), 0, bytes(payload)
        while data:
            member = zlib.decompressobj(_GZIP)
            pieces.append(member.decompress(data, self.most - size + 1))
            size += len(pieces[-1])
            if size > self.most:
                raise BatchTooLarge(self.most)
            if not member.eof:
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")  # as gzip's own
            data = member.unused_data
        return b"".join(pieces)

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
        """As `_into` says."""
        return self._into(cramjam.lz4.decompress_into, payload)

    def zstd(self, payload: bytes) -> bytes:
        """As `_into` says."""
        return self._into(cramjam.zstd.decompress_into, payload)

    def _into(self, decompress_into: Callable[[bytes, Any], int], payload: bytes) -> bytes:
        """Into an output of a size that is given. What is not written of it costs no memory."""
        first = min(self.most, _FIRST + _RATIO * len(payload))
        for size in (first, self.most):
            output = np.empty(size, np.uint8)
            try:
                return output[: decompress_into(payload, output)].tobytes()
            except cramjam.DecompressionError as error:
                if _FULL not in str(error):
                    raise
        raise BatchTooLarge(self.most)


def bound_batches(most: int) -> None:
    """From now on, no consumer of this process unpacks a record batch to more than so many bytes."""
    codecs = _Bounded(most)
    for parser in _PARSERS:
        _replace(parser, codecs)


def _replace(parser: ModuleType, codecs: _Bounded) -> None:
    for name in ("gzip", "snappy", "lz4", "zstd"):
        if hasattr(parser, f"{name}_decode"):
            setattr(parser, f"{name}_decode", getattr(codecs, name))
