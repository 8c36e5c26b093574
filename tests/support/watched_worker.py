"""A worker whose event loop is watched: `python -m support.watched_worker CONFIG FILE` runs `bisupervised worker`.

What was seen is written to FILE when the worker stops: `{"longest_block_ms", "beats", "worst"}`.

**Blocked** is how late a beat of the loop is, less what the machine is to blame for. The kernel counts for each
thread how long it ran and how long it was ready to run and had no processor (`/proc/self/task/*/schedstat`). Of the
time between two beats the loop's thread

1. ran: the loop computed, which counts in full;
2. was ready and had no processor: the machine was busy, which does not count;
3. slept for longer than the beat: in a call that blocks, or waiting for the GIL, which counts, but for as long as
   another thread of this process was ready and had no processor: it may have been the one with the GIL.

So a row of small callbacks counts like one large one, and a busy machine does not.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.worker import app

BEAT_S = 0.01
#: a beat later than this has its stack told, seconds
_SUSPECT_S = 0.04
_KEPT = 5


class Spent(NamedTuple):
    """Seconds of a thread, from its beginning."""

    ran: float
    ready: float  #: to run, without a processor


def spent() -> dict[int, Spent]:
    """What each thread of this process has spent, by its id."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended
            ran, ready, _ = map(int, (task / "schedstat").read_text().split())
            found[int(task.name)] = Spent(ran / 1e9, ready / 1e9)
    return found


def blocked_s(elapsed_s: float, before: Mapping[int, Spent], after: Mapping[int, Spent], loop: int) -> float:
    """Seconds that the loop, which is this thread, held up a beat."""
    ran, ready = (now - then for now, then in zip(after[loop], before[loop], strict=True))
    others_s = max((after[one].ready - before[one].ready for one in before.keys() & after.keys() - {loop}), default=0.0)
    slept_s = max(0.0, elapsed_s - ran - ready - BEAT_S)
    return elapsed_s - BEAT_S - ready - min(slept_s, others_s)


class Watch:
    """Beats in the loop; a thread beside it looks what the loop does when a beat is late."""

    def __init__(self) -> None:
        self.beats = 0
        self.worst: list[tuple[float, str]] = []  # (seconds, stack), the longest ones
        self._beat_at = time.monotonic()
        self._stack = ""
        self._loop_thread = threading.get_ident()

    async def beat(self) -> None:
        """For ever, in the loop that is watched."""
        self._loop_thread = threading.get_ident()
        threading.Thread(target=self._look, name="watch", daemon=True).start()
        while True:
            before = spent()  # first: what the machine takes while it is read is neither's
            began = time.monotonic()
            self._beat_at, self._stack = began, ""
            await asyncio.sleep(BEAT_S)
            elapsed_s = time.monotonic() - began
            if elapsed_s > _SUSPECT_S:
                self._note(blocked_s(elapsed_s, before, spent(), threading.get_native_id()))
            self.beats += 1

    def _note(self, seconds: float) -> None:
        self.worst = sorted([*self.worst, (seconds, self._stack)], reverse=True)[:_KEPT]

    def _look(self) -> None:
        while True:
            time.sleep(_SUSPECT_S / 4)
            if time.monotonic() - self._beat_at > _SUSPECT_S and not self._stack:
                frame = sys._current_frames().get(self._loop_thread)
                self._stack = "".join(traceback.format_stack(frame)[-8:])

    def told(self) -> dict[str, Any]:
        """What was seen, in the form of the file."""
        worst = [{"ms": seconds * 1000.0, "stack": stack} for seconds, stack in self.worst]
        return {"longest_block_ms": worst[0]["ms"] if worst else 0.0, "beats": self.beats, "worst": worst}


def watched(watch: Watch) -> None:
    """Let every worker of this process be watched."""
    start = app.Planes.on_start

    async def on_start(self: app.Planes) -> None:
        await start(self)  # which makes ready, and starts the planes; none has had its turn yet
        self.add_future(watch.beat())

    app.Planes.on_start = on_start  # type: ignore[method-assign]  # where the worker begins to work


if __name__ == "__main__":
    watching = Watch()
    watched(watching)
    try:
        status = app.run_worker(load_configuration(Path(sys.argv[1])))
    finally:
        Path(sys.argv[2]).write_text(json.dumps(watching.told()))
    sys.exit(status)
