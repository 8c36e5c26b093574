"""Takes a view of the worker once a second, for as long as it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ...agents.tasks import begin, persistently
from ..telemetry.health import Health
from ..telemetry.monitor import Monitor, WorkerView
from .history import TICK_S, History, sample


class Watch:
    """The last view of the worker, the history of its counts, and whether it is ready."""

    def __init__(self, monitor: Monitor, health: Health, clock: Callable[[], float] = time.monotonic) -> None:
        self.health = health
        self.history = History()
        self.view: WorkerView = monitor.view()  #: the last one
        self._monitor = monitor
        self._clock = clock
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take views."""
        self._looking = begin(persistently(self._look_on, "watch"), "watch")

    async def stop(self) -> None:
        """Stop taking views."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    async def _look_on(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(TICK_S)

    def look(self) -> None:
        """Take one view."""
        now, self.view = self._clock(), self._monitor.view()
        for agent, at in self._monitor.answered.items():
            self.health.answered(agent, at)
        self.health.refused(self._monitor.refusal)
        self.health.missing(self._monitor.missing)
        failing = self.view.batches.get("failure", "")
        batches = f"the batches cannot go on: {failing}" if failing else ""
        self.health.troubled([*(step.measured.get("trouble", "") for step in self.view.steps), batches])
        # shadows wait for as long as others need the remote: nothing is wrong with a worker for that
        awaited = [step for step in self.view.steps if step.agent != "shadow"]
        self.health.seen([standing for step in awaited for standing in step.standings], now)
        self.health.waiting({place: wait for step in self.view.steps for place, wait in step.waits.items()})
        self.history.add(sample(self.view, now))

    def reasons(self) -> list[str]:
        """Why the worker is not ready; empty when it is."""
        return self.health.reasons(self._clock())
