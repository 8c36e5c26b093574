"""Compressed bodies, read within a bound: a small body may be a large one, and no size that it claims is believed.

Nobody asks for them, but some servers and proxies compress all the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cramjam

#: written by a server that does not compress
PLAIN = "identity"
#: encodings, one on top of the other, that are undone: a server needs one, a proxy may add its own
_MOST_LAYERS = 2
#: window bits of zlib: a gzip or a zlib header, whichever there is, and no header at all
_ANY_HEADER, _NO_HEADER = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
#: how cramjam says that the buffer is full
_FULL = "failed to write whole buffer"


class CannotDecompress(ValueError):
    """The body is not what its header says, or nobody here knows the encoding."""


class TooLarge(ValueError):
    """The body is larger than the bound."""


def encodings_of(header: str) -> list[str]:
    """What a `content-encoding` names, in the order in which it was applied."""
    named = [name.strip().lower() for name in header.split(",")]
    return [name for name in named if name and name != PLAIN]


def decompress(body: bytes, encodings: list[str], most: int) -> bytes:
    """The plain body, `most` bytes at most. Raises `TooLarge` and `CannotDecompress`; never takes much more memory."""
    if len(encodings) > _MOST_LAYERS:
        raise CannotDecompress(f"{len(encodings)} encodings one on top of the other")
    for name in reversed(encodings):
        if name not in _READERS:
            raise CannotDecompress(f"the encoding {name[:40]!r} is not known here")
        body = _READERS[name](body, most)
    return body


def _inflate(body: bytes, most: int) -> bytes:
    """Deflate with its header, or without one, as some servers send it."""
    try:
        return _members(body, most, _ANY_HEADER)
    except CannotDecompress:
        return _members(body, most, _NO_HEADER)


def _gunzip(body: bytes, most: int) -> bytes:
    return _members(body, most, _ANY_HEADER)


def _members(body: bytes, most: int, window_bits: int) -> bytes:
    """All members of a gzip file, of which one alone is usual."""
    plain = bytearray()
    rest = body
    while True:
        reader = zlib.decompressobj(window_bits)
        try:
            plain += reader.decompress(rest, most + 1 - len(plain))
        except zlib.error as error:
            raise CannotDecompress(str(error)) from error
        if len(plain) > most:
            raise TooLarge
        if not reader.eof:
            raise CannotDecompress("it is cut short")
        rest = reader.unused_data
        if not rest.strip(b"\0"):  # padding, which gzip allows
            return bytes(plain)


def _by_cramjam(decompress_into: Callable[[bytes, bytearray], int]) -> Callable[[bytes, int], bytes]:
    def read(body: bytes, most: int) -> bytes:
        plain = bytearray(most)
        try:
            return bytes(plain[: decompress_into(body, plain)])
        except cramjam.DecompressionError as error:
            if _FULL in str(error):
                raise TooLarge from error
            raise CannotDecompress(str(error)) from error

    return read


_READERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _by_cramjam(cramjam.brotli.decompress_into),
    "zstd": _by_cramjam(cramjam.zstd.decompress_into),
}
