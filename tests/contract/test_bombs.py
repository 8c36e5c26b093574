"""What others have compressed, through the client's own parsers: read as it is, or `Oversized` where it is too much."""

from __future__ import annotations

import gzip
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer import fetcher
from aiokafka.record import memory_records
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from bisupervised.streams.kafka import decompressing
from bisupervised.streams.kafka.decompressing import BatchTooLarge, bound_batches
from bisupervised.streams.kafka.records import Oversized, _ForgivingRecords, fetch_lean
from support.batches import batch_of

TP = TopicPartition("requests", 3)
MOST = 1 << 20
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
NAMES = [f"{name}_decode" for name in CODECS]


@pytest.fixture(autouse=True)
def unpatched() -> Iterator[None]:
    """The client's own parts are put back: the process is shared."""
    records = fetcher.PartitionRecords
    codecs = [
        (parser, name, vars(parser)[name])
        for parser in decompressing._PARSERS
        for name in NAMES
        if name in vars(parser)
    ]
    yield
    fetcher.PartitionRecords = records
    for parser, name, codec in codecs:
        setattr(parser, name, codec)


def batch(codec: int, *values: bytes, first: int = 0, magic: int = 2) -> bytes:
    builder: Any
    if magic == 2:
        builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 30)
    else:
        builder = LegacyRecordBatchBuilder(magic, codec, 1 << 30)
    for number, value in enumerate(values):
        arguments = (number, 1_700_000_000_000 + number, b"key", value)
        builder.append(*arguments, *([[]] if magic == 2 else []))
    data = bytearray(builder.build())
    data[:8] = struct.pack(">q", first)
    return bytes(data)


def read(*batches: bytes, parser: Any = MemoryRecords) -> Any:
    fetch_lean(MOST)
    return fetcher.PartitionRecords(TP, parser(b"".join(batches)), [], 0, None, None, True, 0)


@pytest.mark.parametrize("parser", [MemoryRecords, memory_records._MemoryRecordsPy, _ForgivingRecords])
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_batch_that_is_too_large_comes_as_its_places_and_those_around_it_as_they_are(codec: int, parser: Any) -> None:
    bomb = batch(codec, b"\0" * MOST, b"small", first=2)
    assert len(bomb) < MOST // 10, "small on the wire"
    found = list(read(batch(codec, b"one", b"two"), bomb, batch(0, b"five", first=4), parser=parser))
    assert [record.offset for record in found] == [0, 1, 2, 3, 4]
    assert [record.value for record in found] == [b"one", b"two", None, None, b"five"]
    assert [type(record) is Oversized for record in found] == [False, False, True, True, False]
    assert (found[2].topic, found[2].partition, found[2].timestamp) == (*TP, 1_700_000_000_001)
    assert f"more than [stream] window_bytes = {MOST}" in found[2].detail


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_the_memory_is_not_taken(codec: int) -> None:
    """The bomb itself is made before. 128 megabytes; the bound is one megabyte."""
    bomb = batch_of(codec, 128 << 20)
    found = read(bomb)
    tracemalloc.start()
    try:
        (record,) = list(found)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(record) is Oversized
    assert most < 8 * MOST + 2 * len(bomb)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("size", [MOST // 2, MOST - 1000])
def test_what_is_within_the_bound_is_read(codec: int, size: int) -> None:
    values = (random.Random(7).randbytes(size // 2), b"\0" * (size // 2))
    assert tuple(record.value for record in read(batch(codec, *values))) == values


@pytest.mark.parametrize("codec", [1, 2])
def test_a_batch_of_an_old_format_says_where_it_is(codec: int) -> None:
    """It hides which records it holds."""
    assert [record.value for record in read(batch(codec, b"one", b"two", magic=1))] == [b"one", b"two"]
    with pytest.raises(BatchTooLarge) as raised:
        list(read(batch(codec, b"\0" * MOST, magic=1)))
    assert raised.value.place == TP


PIECES = [b"a", b"ab" * 5000, bytes(200_000), random.Random(3).randbytes(70_000)]


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("gzip", gzip_encode),
        ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),  # members
        ("snappy", snappy_encode),
        ("snappy", lambda data: snappy_encode(data, xerial_compatible=False)),
        ("snappy", lambda data: snappy_encode(data, xerial_blocksize=1000)),
        ("lz4", lz4_encode),
        ("zstd", zstd_encode),
        ("zstd", lambda data: bytes(cramjam.zstd.compress(data[:7])) + bytes(cramjam.zstd.compress(data[7:]))),
    ],
)
@pytest.mark.parametrize("data", PIECES, ids=len)
def test_each_codec_gives_what_went_in_up_to_the_bound(
    name: str, encode: Callable[[bytes], bytes], data: bytes
) -> None:
    packed = bytes(encode(data))
    assert getattr(decompressing._Bounded(max(len(data), 1)), name)(packed) == data
    if len(data) > 1:
        with pytest.raises(BatchTooLarge):
            getattr(decompressing._Bounded(len(data) - 1), name)(packed)


@pytest.mark.parametrize("name", ["gzip", "snappy", "lz4", "zstd"])
def test_what_is_damaged_is_not_called_too_large(name: str) -> None:
    with pytest.raises((ValueError, EOFError, zlib.error, cramjam.DecompressionError)):
        getattr(decompressing._Bounded(1000), name)(b"\x1f\x8bno such thing at all")
    bound_batches(MOST)
