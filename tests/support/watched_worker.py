"""A worker whose event loop is watched: `python -m support.watched_worker CONFIG FILE` runs `bisupervised worker`.

What was seen is written to FILE when the worker stops: `{"longest_block_ms", "beats", "worst"}`.

**Blocked** is how late a beat of the loop is, less the time in which the loop's thread was ready to run and the
machine gave it no processor. The kernel counts the latter exactly, for each thread (`run_delay`, the second number of
`/proc/thread-self/schedstat`). So whatever the loop itself does counts, be it computing, waiting in a call that blocks,
waiting for another thread's GIL, or a row of small callbacks; a busy machine does not.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from bisupervised.streams import app
from bisupervised.streams.settings import load_settings

BEAT_S = 0.005
#: a beat later than this has its stack told, seconds
_SUSPECT_S = 0.04
_KEPT = 5


def run_delay_s() -> float:
    """Seconds that this thread was ready to run and did not."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


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
            began, delayed = time.monotonic(), run_delay_s()
            self._beat_at, self._stack = began, ""
            await asyncio.sleep(BEAT_S)
            late = time.monotonic() - began - BEAT_S
            if late > _SUSPECT_S / 2:
                self._note(late - (run_delay_s() - delayed))
            self.beats += 1

    def _note(self, blocked_s: float) -> None:
        self.worst = sorted([*self.worst, (blocked_s, self._stack)], reverse=True)[:_KEPT]

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
        status = app.run_worker(load_settings(Path(sys.argv[1])))
    finally:
        Path(sys.argv[2]).write_text(json.dumps(watching.told()))
    sys.exit(status)
