"""All the processes: signals reach each of them, and where one ends unasked, all end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol

from ...agents.tasks import begin

log = logging.getLogger(__name__)

#: how a process ends that was told to stop: in order, or before it could hear of it otherwise
_STOPPED = (0, -signal.SIGTERM)


class Member(Protocol):
    """What is asked of a process."""

    number: int
    pid: int

    def signal(self, number: signal.Signals) -> None:
        """Send it, where the process has not ended."""

    def wait(self) -> Coroutine[Any, Any, int]:
        """Until it has ended; its status, or minus the signal that ended it."""


class Crew:
    """A worker in several processes, which ends as one does: with the status of the first that failed."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._stopping = False
        self._code: int | None = None  #: of who failed first

    async def start(self, making: Iterable[Callable[[], Awaitable[Member]]]) -> None:
        """Start all, or as many as there are until we are told to stop, or one cannot be started."""
        for make in making:
            if self._stopping:
                break
            try:
                self.members.append(await make())
            except OSError as error:
                self._not_started(len(self.members) + 1, error)
                break
            if self._stopping:  # while it was being started
                self.members[-1].signal(signal.SIGTERM)

    def _not_started(self, number: int, error: OSError) -> None:
        self._code = 1
        extra = {"action": "process_not_started", "member": number}
        log.error("process %d cannot be started: %s; the others stop", number, error, extra=extra)
        self.stop()

    def stop(self) -> None:
        """Have all stop in order. Not by Ctrl-C's signal: who hears that while it starts ends with a traceback."""
        self._stopping = True
        self.pass_on(signal.SIGTERM)

    def pass_on(self, number: signal.Signals) -> None:
        """Send a signal to all."""
        for member in self.members:
            member.signal(number)

    async def ended(self) -> int:
        """Until all have ended. Returns the exit status of the whole."""
        waiting = {begin(member.wait(), f"process {member.number}"): member for member in self.members}
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                self._hear(waiting.pop(ended), ended.result())
        return self._code or 0

    def _hear(self, member: Member, status: int) -> None:
        facts = {"member": member.number, "pid": member.pid, "status": status}
        if self._code is not None or (self._stopping and status in _STOPPED):
            log.info("process %d %s", member.number, told(status), extra={"action": "process_stopped", **facts})
            return
        self._code = exit_status(status)
        others = "" if self._stopping else "; nobody had asked it to, so the others stop, too"
        text = "process %d (pid %d) %s%s"
        extra = {"action": "process_ended", **facts}
        log.error(text, member.number, member.pid, told(status), others, extra=extra)
        if not self._stopping:
            self.stop()


def told(status: int) -> str:
    """How a process ended, in words."""
    return f"has ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"


def exit_status(status: int) -> int:
    """As a shell tells it: a signal that ended a process, and 128."""
    return status if status >= 0 else 128 - status
