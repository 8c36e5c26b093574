"""Record batches that are small on the wire and large when they are unpacked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.util import calc_crc32c

_CHUNK = bytes(1 << 20)


def _varint(number: int) -> bytes:
    """As Kafka writes them: zigzag, seven bits a byte."""
    left, found = number << 1 if number >= 0 else (-number << 1) - 1, bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    return bytes([*found, left])


def _record(megabytes: int) -> Iterator[bytes]:
    """One record without a key, its value zeros, piece by piece."""
    size = megabytes << 20
    head = b"\0" + _varint(0) + _varint(0) + _varint(-1) + _varint(size)
    yield _varint(len(head) + size + 1) + head
    for _ in range(megabytes):
        yield _CHUNK
    yield _varint(0)


def _gzip(pieces: Iterator[bytes]) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*[packer.compress(piece) for piece in pieces], packer.flush()])


def _with(packer: Any) -> Callable[[Iterator[bytes]], bytes]:
    def packed(pieces: Iterator[bytes]) -> bytes:
        made = packer()
        found = [bytes(made.flush()) for piece in pieces if made.compress(piece)]
        return b"".join([*found, bytes(made.finish())])

    return packed


def _snappy(pieces: Iterator[bytes]) -> bytes:
    blocks = [bytes(cramjam.snappy.compress_raw(piece)) for piece in pieces]
    head = struct.pack("!bccccccBii", -126, *(bytes([c]) for c in b"SNAPPY"), 0, 1, 1)
    return head + b"".join(struct.pack("!i", len(block)) + block for block in blocks)


_PACKED = {1: _gzip, 2: _snappy, 3: _with(cramjam.lz4.Compressor), 4: _with(cramjam.zstd.Compressor)}


def batch_of(codec: int, size: int) -> bytes:
    """A batch that holds one record of so many bytes, packed; made without holding it unpacked."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1000)
    builder.append(0, 1_700_000_000_000, None, b"", [])
    data = bytearray(builder.build())[: _DefaultRecordBatchPy.HEADER_STRUCT.size]
    data += _PACKED[codec](_record(size >> 20))
    struct.pack_into(">i", data, 8, len(data) - _DefaultRecordBatchPy.AFTER_LEN_OFFSET)
    attributes = _DefaultRecordBatchPy.ATTRIBUTES_OFFSET
    struct.pack_into(">h", data, attributes, codec)
    struct.pack_into(">I", data, _DefaultRecordBatchPy.CRC_OFFSET, calc_crc32c(bytes(data[attributes:])))
    return bytes(data)


async def produce(servers: str, tp: TopicPartition, batch: bytes) -> int:
    """Send a batch as it stands. Returns the offset of its first record."""
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        carrier = producer.create_batch()
        carrier.append(timestamp=None, key=None, value=b"")
        carrier.close()
        carrier._buffer = bytearray(batch)  # what is sent
        sent = await (await producer.send_batch(carrier, tp.topic, partition=tp.partition))
        return int(sent.offset)
