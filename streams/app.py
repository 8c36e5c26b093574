"""The application: a `faust.App` that runs the agents. Kafka is the data plane's; Faust never touches it.

What Faust provides: agents and their supervision (a crash restarts an agent), the worker with its signals and
exit codes, services, timers, the command line `faust -A`. What was refused, with figures, is in ARCHITECTURE.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import faust
from faust.app import BootStrategy
from mode import Service

from ..agents.in_flight import InFlight
from .batch import Batch
from .channel import BatchChannel
from .logs import configure
from .plane import DataPlane
from .preflight import TopicFacts, preflight
from .settings import Settings
from .substitute import FallbackSubstitute
from .topology import (
    AGENTS,
    AgentName,
    Step,
    make_local,
    make_remote,
    make_remote_supervisor,
    make_router,
    plane_policy,
    steps,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

#: exit status of a process whose inference thread hangs (EX_SOFTWARE)
HUNG_EXIT = 70


class _Boot(BootStrategy):
    """Faust without its own Kafka client and without its web server."""

    enable_kafka = False
    enable_web = False


class PlaneService(Service):
    """Runs a data plane for as long as the worker lives, and ends the worker where the plane fails."""

    def __init__(self, plane: DataPlane, agent: Agent, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plane = plane
        self._agent = agent
        self._running: asyncio.Task[None] | None = None

    @property
    def label(self) -> str:
        """For Faust's log."""
        return f"DataPlane: {self._plane.policy.name}"

    async def on_start(self) -> None:
        """Warm the agent up, then begin to read."""
        await self._agent.warm_up()
        self._running = asyncio.create_task(self._plane.run(), name=f"plane {self._plane.policy.name}")
        self._running.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.add_future(self.crash(task.exception()))

    async def on_stop(self) -> None:
        """Drain, leave the group, let go of the model."""
        self._plane.stop()
        if self._running is not None:
            await asyncio.wait({self._running})
        await self._agent.close()
        told = self._plane.statistics()
        log.info("%s stopped: %s", self._plane.policy.name, told, extra={"action": "plane_stopped"})


class Agent(ABC):
    """What a step needs besides its plane: something before the first record, the body, something after the last."""

    @abstractmethod
    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """The agent's body, which Faust runs and restarts."""

    async def warm_up(self) -> None:
        """Before the first record."""

    async def close(self) -> None:
        """After the last."""


class LocalAgent(Agent):
    """The small model and its supervisor."""

    def __init__(self, settings: Settings) -> None:
        self._local = make_local(settings, on_hang=_end_process)
        self._inputs = settings.local.warm_up

    async def warm_up(self) -> None:
        """Predict once."""
        await self._local.warm_up(self._inputs)

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Decide batch by batch."""
        async for batch in batches:
            with batch:
                batch.resolve(await self._local.decide(batch.records))

    async def close(self) -> None:
        """Let go of the thread."""
        self._local.close()


class RemoteAgent(Agent):
    """The remote call: many under way at once."""

    def __init__(self, settings: Settings) -> None:
        self._remote = make_remote(settings)
        self._calls = InFlight(self._remote.answer, settings.remote.in_flight)

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Submit and go on: the lease of a batch outlives the loop body."""
        async for batch in batches:
            await self._calls.submit(batch)

    async def close(self) -> None:
        """The plane has drained; what is left belongs to nobody."""
        await self._calls.close(deadline_s=0.0)
        await self._remote.close()


class RemoteSupervisorAgent(Agent):
    """The judge of remote answers."""

    def __init__(self, settings: Settings) -> None:
        self._judge = make_remote_supervisor(settings)

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Judge batch by batch."""
        async for batch in batches:
            with batch:
                batch.resolve(self._judge.judge(batch.records))


_AGENTS: dict[AgentName, Callable[[Settings], Agent]] = {
    "local": LocalAgent,
    "remote": RemoteAgent,
    "remote_supervisor": RemoteSupervisorAgent,
}


def create_app(settings: Settings, agents: Sequence[AgentName] = AGENTS) -> faust.App:
    """The application with these agents: `faust -A` and `bisupervised worker` both run what is made here.

    Call it where no event loop runs: it asks the broker for the topics, and loads the model.
    Raises `ConfigurationError` and `BrokerUnreachable`.
    """
    flow = [step for step in steps(settings).values() if step.agent in agents]
    facts = _run(preflight(settings, flow))
    app = faust.App(settings.name, broker="kafka://unused", web_enabled=False, autodiscover=False)
    app.boot_strategy = _Boot(app)
    for step in flow:
        _add(app, settings, step, facts)
    return app


def _add(app: faust.App, settings: Settings, step: Step, facts: TopicFacts) -> None:
    channel = BatchChannel(app)
    plane = DataPlane(
        plane_policy(settings, step),
        make_router(settings, step, facts),
        channel,
        FallbackSubstitute(step.agent, step.facts),
    )
    agent = _AGENTS[step.agent](settings)
    app.agent(channel, name=step.agent)(agent.run)

    @app.service
    class _Plane(PlaneService):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(plane, agent, **kwargs)


def run_worker(settings: Settings, agents: Sequence[AgentName] = AGENTS) -> int:
    """Run until SIGTERM or Ctrl-C. Returns the exit status: 0 when stopped, 1 when something failed."""
    configure(settings.log.level, as_json=settings.log.as_json)
    app = create_app(settings, agents)
    log.info("runs %s", ", ".join(agents), extra={"action": "worker_started"})
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = faust.Worker(app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    # not asyncio.run: it would leave this thread without an event loop, and Faust looks for one
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def _end_process() -> None:
    """An inference thread that hangs cannot be ended alone."""
    logging.shutdown()
    os._exit(HUNG_EXIT)
