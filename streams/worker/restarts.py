"""Faust's supervisor of agents, with three faults of Faust 0.15.3 and mode 0.7.1 mended (each seen).

- An agent that was restarted is not marked as started: its next crash is noticed 5 s later, and a worker that
  stops before waits for it for ever.
- A crash while a restart is under way wakes nobody, with the same 5 s.
- The limit of 100 restarts a second is a bucket of one token: two restarts within 10 ms end the worker.
"""

from __future__ import annotations

from typing import Any

from mode.supervisors import OneForOneSupervisor
from mode.types import ServiceT
from mode.utils.times import rate_limit

from ..telemetry.logs import SERVICES

#: seconds until a supervisor that is busy is told again
_AGAIN_S = 0.01


class AgentRestarts(OneForOneSupervisor):
    """Restarts an agent that crashed; more than `max_restarts` at once, or as many a second, end the worker."""

    logger = SERVICES

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  # for mode's supervisor
        super().__init__(**kwargs)
        self._bucket = rate_limit(self.max_restarts, self.max_restarts, raises=self.raises)
        self.restarts = 0  #: agents put in the place of one that crashed

    def wakeup(self) -> None:
        """Look for crashed agents now, or as soon as the restart under way is done."""
        if self._please_wakeup is None and not self.should_stop:
            self.loop.call_later(_AGAIN_S, self.wakeup)
        super().wakeup()

    async def restart_service(self, service: ServiceT) -> None:
        """Put a new agent in the place of one that crashed, and start it."""
        self.restarts += 1
        place = self._index[service]
        await super().restart_service(service)
        await self._services[place].maybe_start()
