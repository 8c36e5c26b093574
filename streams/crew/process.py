"""One of the processes, as the parent has it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

import orjson

from ...agents.tasks import begin

#: bytes without an end of line that are written as a line all the same
_LONGEST = 2**20
_PIECE = 2**16
#: seconds after a process's end in which what it last said must come: its own children may hold the pipe open
_LAST_WORDS_S = 1.0

#: what a process says, and the pipe by which it does
Said = tuple[asyncio.StreamReader, asyncio.BaseTransport]


class Process:
    """A worker with a leash: a pipe that tells it its place, and by its end that the parent is gone."""

    def __init__(self, number: int, child: asyncio.subprocess.Process, leash: int, said: Said) -> None:
        self.number = number
        self.pid = child.pid
        self._child = child
        self._leash = leash
        stream, self._pipe = said
        self._telling = begin(tell(stream), f"log of process {number}")

    def __repr__(self) -> str:
        return f"<Process {self.number} pid {self.pid}>"

    def signal(self, number: signal.Signals) -> None:
        """Send it, where the process has not ended."""
        if self._child.returncode is None:  # not by asyncio, which may take its status from who waits for it
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Until it has ended, and all that it said is written. Returns its status; minus the signal that ended it."""
        status = await self._child.wait()
        await asyncio.wait((self._telling,), timeout=_LAST_WORDS_S)
        self._pipe.close()
        os.close(self._leash)
        return status


async def start(
    number: int, words: Sequence[str], env: Mapping[str, str], listener: socket.socket | None, secret: str
) -> Process:
    """Start a worker with this command line. It has a process group of its own: Ctrl-C reaches it only through us."""
    read, write = os.pipe()
    descriptor = None if listener is None else listener.fileno()
    told = {"process": number, "listener": descriptor, "secret": secret}
    os.write(write, orjson.dumps(told) + b"\n")
    # no pipe of asyncio's: it tells no end of a process before its pipes end, and the process's own children hold them
    said, saying = os.pipe()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bisupervised.streams.cli", *words, "--member", str(read)),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=saying,
        env=env,
        pass_fds=[read] if descriptor is None else [read, descriptor],
        process_group=0,
    )
    os.close(read)
    os.close(saying)
    return Process(number, child, write, await _reading(said))


async def _reading(descriptor: int) -> Said:
    stream = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
    return stream, transport


async def tell(stream: asyncio.StreamReader) -> None:
    """Write what a process says, whole lines at a time, so that those of several do not mix."""
    rest = b""
    while piece := await stream.read(_PIECE):
        whole, end, rest = (rest + piece).rpartition(b"\n")
        if len(rest) > _LONGEST:
            whole, end, rest = whole + end + rest, b"\n", b""
        _write(whole + end)
    _write(rest and rest + b"\n")


def _write(lines: bytes) -> None:
    with suppress(OSError):  # nobody reads any more: the work goes on, as it does in one worker
        sys.stderr.buffer.write(lines)
        sys.stderr.buffer.flush()
