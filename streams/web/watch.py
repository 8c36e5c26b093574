"""Looks at the worker once a second, and asks the broker every other, for as long as the worker runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from ..health import Health
from ..outbox import Lost
from ..plane import Standing
from .history import TICK_S, History, sample
from .status import Seen

log = logging.getLogger(__name__)

#: seconds between two questions to the broker, and for an answer
_ASK_S, _ANSWER_S = 2.0, 5.0


class Watched(Protocol):
    """One agent and its plane, as far as they are looked at."""

    @property
    def name(self) -> str: ...
    def snapshot(self) -> dict[str, Any]: ...
    def statistics(self) -> dict[str, Any]: ...
    def standings(self) -> list[Standing]: ...
    async def ends(self) -> dict[Any, int]: ...


class Watch:
    """What was last seen, what changed lately, and whether the worker is ready."""

    def __init__(self, watched: Sequence[Watched], health: Health, clock: Callable[[], float] = time.monotonic) -> None:
        self.seen = Seen()
        self.history = History()
        self.health = health
        self._watched = watched
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look."""
        self._tasks = [asyncio.create_task(self._look_on(), name="watch")]
        self._tasks += [asyncio.create_task(self._ask_on(one), name=f"watch {one.name}") for one in self._watched]

    async def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _look_on(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(TICK_S)

    def look(self) -> None:
        """Look once."""
        now, seen = self._clock(), self.seen
        seen.snapshots = {one.name: one.snapshot() for one in self._watched}
        seen.agents = {one.name: one.statistics() for one in self._watched}
        seen.standings = {one.name: one.standings() for one in self._watched}
        self.health.seen([standing for standings in seen.standings.values() for standing in standings], now)
        self.history.add(sample(seen.snapshots, now))

    def reasons(self) -> list[str]:
        """Why the worker is not ready, now."""
        self.seen.reasons = self.health.reasons(self._clock())
        return self.seen.reasons

    async def _ask_on(self, one: Watched) -> None:
        while True:
            with _told(one.name):
                await self.ask(one)
            await asyncio.sleep(_ASK_S)

    async def ask(self, one: Watched) -> None:
        """Ask the broker once where the partitions end: that it answers is worth as much as what it says."""
        with suppress(Lost, TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                ends = await one.ends()
            self.health.answered(one.name, self._clock())
            self.seen.ends.update({(tp.topic, tp.partition): end for tp, end in ends.items()})


@contextmanager
def _told(name: str) -> Iterator[None]:
    """A fault in looking is told, and ends neither the looking nor the worker."""
    try:
        yield
    except Exception:  # whatever a client that is being closed raises
        log.exception("cannot look at %s", name, extra={"action": "watch_failed"})
