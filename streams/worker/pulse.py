"""An event loop that stands still ends the process, and the log says where it stood.

What notices faults runs in the event loop: heartbeats, deadlines, health. Where a callback does not end, only another
thread can tell. By then the broker has given the partitions away, and a new process does more than this one.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

#: seconds between two beats, and between two looks
_BEAT_S = 1.0
_STDERR = 2
#: seconds for the log line: what stands still may hold the lock of the log
_TELL_S = 2.0


class Pulse:
    """Beats in the event loop; a thread looks whether it does.

    It counts looks, not seconds: a process that was frozen, or had no processor, has not looked either.
    """

    def __init__(self, patience_s: float, on_still: Callable[[], None]) -> None:
        """`on_still` is called in the thread, after `patience_s` seconds without a beat, and should end the process."""
        self._patience_s = patience_s
        self._on_still = on_still
        self._beats = 0
        self._seen = 0
        self._looks = 0  # since the last new beat

    async def run(self) -> None:
        """Beat until cancelled."""
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(ended,), name="pulse", daemon=True).start()
        try:
            while True:
                self.beat()
                await asyncio.sleep(_BEAT_S)
        finally:
            ended.set()

    def beat(self) -> None:
        """The event loop has had its turn."""
        self._beats += 1

    def look(self) -> bool:
        """True when there was no beat for too long."""
        self._looks = self._looks + 1 if self._beats == self._seen else 0
        self._seen = self._beats
        return self._looks * _BEAT_S >= self._patience_s

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(_BEAT_S):
            if self.look():
                faulthandler.dump_traceback(_STDERR)  # of all threads; it waits for nobody
                telling = threading.Thread(target=self._tell, daemon=True)
                telling.start()
                telling.join(_TELL_S)
                self._on_still()
                return

    def _tell(self) -> None:
        text = "the event loop has stood still for %g s: the process ends, and where each thread was stands above"
        log.critical(text, self._patience_s, extra={"action": "loop_stood_still"})
