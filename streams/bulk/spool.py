"""Lines and results of one batch, in files without a name: they may be more than memory holds, and end with us."""

from __future__ import annotations

import asyncio
import os
import struct
from array import array
from collections.abc import AsyncIterator, Sequence
from tempfile import TemporaryFile
from typing import IO

import msgspec

from ...agents.remote.bulk.identity import place_in
from ...agents.remote.bulk.provider import Line, LineResult
from ...agents.remote.transport import Response

#: before each line: bytes of its name and of its body; before each result: its bytes
_LINE, _RESULT = struct.Struct("<HI"), struct.Struct("<I")
#: bytes that are read or written at once
_BLOCK = 1024 * 1024
#: results that are written at once, at most
_RESULTS = 500
#: no result
_NONE = -1


def _nameless(folder: str) -> IO[bytes]:
    return TemporaryFile(dir=folder or None, buffering=0)  # whoever holds it closes it


class Spool:
    """The lines of a batch. Called, it gives them from the first on."""

    def __init__(self, folder: str = "") -> None:
        """`folder`: where the file is made; '' where the system makes such. Raises `OSError`."""
        self._file: IO[bytes] = _nameless(folder)
        self._end = 0

    async def add(self, lines: Sequence[Line]) -> None:
        """Raises `OSError`."""
        written = b"".join(_framed(line) for line in lines)
        await asyncio.to_thread(_write, self._file, written, self._end)
        self._end += len(written)

    async def __call__(self) -> AsyncIterator[Line]:
        """Raises `OSError`."""
        held, at = b"", 0
        while at < self._end:
            more = await asyncio.to_thread(os.pread, self._file.fileno(), _BLOCK, at)
            at += len(more)
            held, lines = _lines_in(held + more)
            for line in lines:
                yield line
            if not more:
                raise OSError("the file of a batch's lines ends too early")

    def close(self) -> None:
        """The file is gone."""
        self._file.close()


def _framed(line: Line) -> bytes:
    name = line.custom_id.encode()
    return _LINE.pack(len(name), len(line.body)) + name + line.body


def _lines_in(held: bytes) -> tuple[bytes, list[Line]]:
    """Whole lines, and what is left."""
    found, at = [], 0
    while len(held) - at >= _LINE.size:
        name, body = _LINE.unpack_from(held, at)
        begin = at + _LINE.size
        if len(held) < begin + name + body:
            break
        found.append(Line(held[begin : begin + name].decode(), held[begin + name : begin + name + body]))
        at = begin + name + body
    return held[at:], found


def _write(file: IO[bytes], written: bytes, at: int) -> None:
    view = memoryview(written)
    while view:
        count = os.pwrite(file.fileno(), view, at)
        view, at = view[count:], at + count


class _Kept(msgspec.Struct, array_like=True):
    """A result as it is kept."""

    custom_id: str
    status: int  #: 0: no response
    headers: dict[str, str]
    body: bytes
    code: str
    error: str


class Results:
    """What became of the lines of one batch, by offset: 8 bytes of memory for each."""

    def __init__(self, partition: int, first: int, end: int, folder: str = "") -> None:
        """Of the offsets from `first` and before `end`. Raises `OSError`."""
        self.foreign = 0  #: results of nothing that was asked
        self.ours = 0  #: the others
        self._partition = partition
        self._first = first
        self._at = array("q", [_NONE]) * (end - first)
        self._file: IO[bytes] = _nameless(folder)
        self._end = 0

    async def take(self, results: AsyncIterator[LineResult]) -> None:
        """All of them. Raises what they raise, and `OSError`."""
        waiting: list[LineResult] = []
        held = 0
        async for result in results:
            waiting.append(result)
            held += 0 if result.response is None else len(result.response.body)
            if len(waiting) >= _RESULTS or held >= _BLOCK:
                await self._add(waiting)
                waiting, held = [], 0
        await self._add(waiting)

    async def _add(self, results: Sequence[LineResult]) -> None:
        written = bytearray()
        for result in results:
            place = place_in(result.custom_id)
            inside = place is not None and place.partition == self._partition
            index = place.offset - self._first if place is not None else _NONE
            if not inside or not 0 <= index < len(self._at):
                self.foreign += 1
                continue
            self.ours += 1
            self._at[index] = self._end + len(written)
            document = msgspec.msgpack.encode(_kept(result))
            written += _RESULT.pack(len(document)) + document
        await asyncio.to_thread(_write, self._file, bytes(written), self._end)
        self._end += len(written)

    async def of(self, offsets: Sequence[int]) -> dict[int, LineResult]:
        """The results of these, where there are any. Raises `OSError`."""
        return await asyncio.to_thread(self._read, offsets)

    def _read(self, offsets: Sequence[int]) -> dict[int, LineResult]:
        found = {}
        for offset in offsets:
            at = self._at[offset - self._first]
            if at != _NONE:
                [size] = _RESULT.unpack(os.pread(self._file.fileno(), _RESULT.size, at))
                found[offset] = _result(os.pread(self._file.fileno(), size, at + _RESULT.size))
        return found

    def close(self) -> None:
        """The file is gone."""
        self._file.close()


def _kept(result: LineResult) -> _Kept:
    response = result.response or Response(0, {}, b"")
    headers = dict(response.headers)
    return _Kept(result.custom_id, response.status, headers, response.body, result.code, result.error)


_decoder = msgspec.msgpack.Decoder(_Kept)


def _result(document: bytes) -> LineResult:
    kept = _decoder.decode(document)
    response = Response(kept.status, kept.headers, kept.body) if kept.status else None
    return LineResult(kept.custom_id, response, kept.code, kept.error)
