"""A line between a worker and a broker that can be cut, and that counts what the worker asks.

All lines of a run live in one thread with an event loop of its own: a harness that is busy does not slow them.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from enum import Enum
from typing import Any

from bisupervised.streams.sandbox.ports import HOST

METADATA = 3  #: how Kafka numbers the question who leads what

_HEAD = struct.Struct(">ih")  # of a request: its size, and what it asks
_CHUNK = 1 << 16


class Way(Enum):
    """What becomes of what is sent."""

    OPEN = "open"
    STALLED = "stalled"  #: nothing comes through, in either direction, and nobody is told, as where a cable is pulled
    REFUSED = "refused"  #: every connection ends, and a new one is refused, as where a process is gone


class Requests:
    """Finds what each request asks in the bytes that a client sends, however they are cut."""

    def __init__(self) -> None:
        self._head = b""
        self._rest = 0  # bytes of the present request that are still to come

    def feed(self, data: bytes) -> Iterator[int]:
        """The numbers of the requests that begin here."""
        while data:
            if self._rest:
                taken = min(self._rest, len(data))
                self._rest -= taken
            else:
                taken = min(_HEAD.size - len(self._head), len(data))
                self._head += data[:taken]
                if len(self._head) == _HEAD.size:
                    size, asked = _HEAD.unpack(self._head)
                    self._head, self._rest = b"", size - 2
                    yield asked
            data = data[taken:]


class Line:
    """One listening port, and the broker's behind it."""

    def __init__(self, port: int, target: int) -> None:
        self.asked: Counter[int] = Counter()  #: requests so far, by their number
        self._port = port
        self._target = target
        self._flows = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def set(self, way: Way) -> None:
        """From now on, for connections that are there too."""
        if way is Way.REFUSED:
            self._flows.set()
            if self._server is not None:
                self._server.close()
                self._server = None
            for end in list(self._ends):
                end.transport.abort()
            return
        if way is Way.OPEN:
            self._flows.set()
        else:
            self._flows.clear()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, HOST, self._port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._ends |= ends
        try:
            await self._flows.wait()
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
                ends.add(far_writer)
                self._ends |= ends
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._pass(reader, far_writer, Requests()))
                    ways.create_task(self._pass(far_reader, writer, None))
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asks: Requests | None) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if asks is not None:
                    self.asked.update(asks.feed(data))
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:  # either end may go at any time
            pass
        finally:
            writer.transport.abort()  # the other way ends with this one


class Lines:
    """The thread that they live in. Every method blocks for a moment only."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lines", daemon=True)
        self._thread.start()
        self._lines: list[Line] = []

    def line(self, port: int, target: int) -> Line:
        """A new one, open."""
        line = Line(port, target)
        self._lines.append(line)
        self.set(line, Way.OPEN)
        return line

    def set(self, line: Line, way: Way) -> None:
        """Change what becomes of what is sent over it."""
        self._run(line.set(way))

    def stop(self) -> None:
        """End every connection, and the thread."""
        for line in self._lines:
            self.set(line, Way.REFUSED)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)

    def _run(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10.0)
