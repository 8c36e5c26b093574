"""What is compressed is read within a bound: little of it may be much, and no size that it claims is believed.

Nobody asks for compressed bodies, but some servers and proxies compress all the same: `decompress`. Record batches of
Kafka are read with the same functions (`streams/kafka/decompressing.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import cramjam
import numpy as np

#: written by a server that does not compress
PLAIN = "identity"
#: largest piece that a stream is read in, bytes
PIECE_BYTES = 256 * 1024
#: the encodings that a stream may have
_STREAMED = ("gzip", "x-gzip", "deflate")
#: what some servers name that is none: the body is plain
_NONE = (PLAIN, "none", "utf-8", "utf8", "binary", "8bit", "7bit", "chunked", "aws-chunked")
#: behind a compressed body: padding, which gzip allows, and line ends that some servers add
_PADDING = b"\0\r\n\t "
#: encodings, one on top of the other, that are undone: a server needs one, a proxy may add its own
_MOST_LAYERS = 2
#: window bits of zlib: a gzip or a zlib header, whichever there is, and no header at all
_ANY_HEADER, _NO_HEADER = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
#: bytes of the output that is tried first, and how many for each byte of the input: nearly all fit
_FIRST, _RATIO = 65_536, 16
#: how cramjam says that the output is full
_FULL = "failed to write whole buffer"


class CannotDecompress(ValueError):
    """The body is not what its header says, or nobody here knows the encoding."""


class TooLarge(ValueError):
    """It is larger than the bound."""


def encodings_of(header: str) -> list[str]:
    """What a `content-encoding` names, in the order in which it was applied."""
    named = [name.partition(";")[0].strip(" \t\"'").lower() for name in header.split(",")]
    return [name for name in named if name and name not in _NONE]


def decompress(body: bytes, encodings: list[str], most: int) -> bytes:
    """The plain body, `most` bytes at most. Raises `TooLarge` and `CannotDecompress`; never takes much more memory.

    An encoding that is named twice, by a server and by its proxy, may have been applied once.
    """
    unknown = [name for name in encodings if name not in _READERS]
    if unknown:
        raise CannotDecompress(f"the encoding {unknown[0][:40]!r} is not known here")
    if len(encodings) > _MOST_LAYERS:
        raise CannotDecompress(f"{len(encodings)} encodings one on top of the other")
    undone = ""
    for name in reversed(encodings):
        try:
            body = _undone(name, body, most)
        except (zlib.error, EOFError, cramjam.DecompressionError) as error:
            if name != undone:
                raise CannotDecompress(f"{error} ({name})") from error
        undone = name
    return body


def _undone(name: str, body: bytes, most: int) -> bytes:
    """One encoding undone; nothing is nothing in every encoding."""
    if not body:
        return b""
    try:
        return _READERS[name](body, most)
    except (zlib.error, EOFError, cramjam.DecompressionError):
        bare = body.rstrip(_PADDING)
        if len(bare) == len(body):
            raise
        return _READERS[name](bare, most)


def _inflate(body: bytes, most: int) -> bytes:
    """Deflate with its header, or without one, as some servers send it."""
    try:
        return gunzipped(body, most)
    except (zlib.error, EOFError):
        return gunzipped(body, most, _NO_HEADER)


def gunzipped(data: bytes, most: int, window_bits: int = _ANY_HEADER) -> bytes:
    """All members of a gzip file, of which one alone is usual. Raises `TooLarge`, `zlib.error` and `EOFError`."""
    plain = bytearray()
    rest = data
    while True:
        reader = zlib.decompressobj(window_bits)
        plain += reader.decompress(rest, most + 1 - len(plain))
        if len(plain) > most:
            raise TooLarge
        if not reader.eof:
            raise EOFError("it is cut short")
        rest = reader.unused_data
        if not rest.strip(_PADDING):
            return bytes(plain)


async def inflated(chunks: AsyncIterator[bytes], encodings: str) -> AsyncIterator[bytes]:
    """A body of any size, plain, in pieces of `PIECE_BYTES` at most. `encodings` is its `content-encoding`.

    Raises `CannotDecompress` where it is compressed by another way than gzip and deflate, or is broken.
    """
    named = encodings_of(encodings)
    if any(name not in _STREAMED for name in named) or len(named) > 1:
        raise CannotDecompress(f"the encoding {named[0][:40]!r} cannot be read as a stream here")
    reader = None
    async for chunk in chunks:
        if not named:
            yield chunk
            continue
        rest = chunk
        while rest:
            reader = reader or zlib.decompressobj(_ANY_HEADER)
            try:
                yield reader.decompress(rest, PIECE_BYTES)
            except zlib.error as error:
                raise CannotDecompress(str(error)) from error
            rest = reader.unconsumed_tail
            if reader.eof:  # one more member may follow
                rest, reader = reader.unused_data.lstrip(_PADDING), None
    if reader is not None:
        raise CannotDecompress("it is cut short")


def unpacked(decompress_into: Callable[[bytes, Any], int], data: bytes, most: int) -> bytes:
    """By one of cramjam's, into outputs of a size that is given: what is not written of them costs no memory.

    Raises `TooLarge` and `cramjam.DecompressionError`.
    """
    for size in (min(most, _FIRST + _RATIO * len(data)), most):
        output = np.empty(size, np.uint8)
        try:
            return output[: decompress_into(data, output)].tobytes()
        except cramjam.DecompressionError as error:
            if _FULL not in str(error):
                raise
    raise TooLarge


_READERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": gunzipped,
    "x-gzip": gunzipped,
    "deflate": _inflate,
    "br": partial(unpacked, cramjam.brotli.decompress_into),
    "zstd": partial(unpacked, cramjam.zstd.decompress_into),
}
