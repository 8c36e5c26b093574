"""The application: a `faust.App` that runs the agents. Kafka is the data plane's; Faust never touches it.

What Faust provides: agents, each restarted where it crashes, the worker with its signals and exit codes, services,
the command line `faust -A`. What was refused, with figures, is in docs/decisions.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import faust
import uvloop
from faust.app import BootStrategy
from mode import Service

from ...agents.agents import Agent
from ...agents.heap import settle_heap, without_collecting
from ...agents.shadow import ShadowSubstitute
from ...agents.tasks import begin, persistently
from ...agents.terms import Terms
from ...schemas.codec import encode_result
from ..auditor.standing import Standing as AuditStanding
from ..bulk.standing import BulkStanding
from ..events.making import make_result_writer
from ..flow import AGENTS, AgentName, Step, batch_step, judges, steps
from ..kafka.asking import look_up_coordinators_anywhere
from ..kafka.client import hear_left_errors, notice_broken_connections
from ..kafka.metadata import pace_metadata, share_metadata
from ..plane.clients import KafkaClients
from ..plane.plane import DataPlane
from ..settings.file import Configuration, ConfigurationFile
from ..settings.own_functions import look_for_own
from ..telemetry.logs import SERVICES, configure, tell_in_time
from ..telemetry.monitor import Monitor
from ..telemetry.observation import Observation
from ..telemetry.running_step import RunningStep
from ..versions.following import Follower
from ..versions.in_force import InForce
from ..web.site import Place, Site, make_site
from .channel import BatchChannel
from .collecting import CollectPolicy, CollectRule, collect_by_need
from .making import make_agents, make_auditing, make_router, plane_policy
from .preflight import TopicFacts, until_answered
from .pulse import Pulse
from .reload import Reloader, Reloading
from .restarts import AgentRestarts
from .retention import Retention
from .served_agent import ServedAgent

if TYPE_CHECKING:
    from ...agents.events.results import ResultWriter
    from .batches import BatchParts

T = TypeVar("T")

log = logging.getLogger(__name__)

#: exit status of a process whose inference thread or event loop hangs (EX_SOFTWARE)
HUNG_EXIT = 70
#: seconds between two looks at what is waited for
_LOOK_S = 0.5
#: seconds for which the event loop runs on when all has ended, for what connections have left to do
_LAST_TURNS_S = 0.05
#: session timeouts that the event loop may stand still: after one of them the broker gives its partitions away
_STILL = 2.0


class _Boot(BootStrategy):
    """Faust without its own Kafka client and without its web server."""

    enable_kafka = False
    enable_web = False


class _App(faust.App):
    """Faust without tables, and so without folders for them in the working directory, which may be read-only."""

    logger = SERVICES
    telemetry: Monitor  #: what is seen of the worker

    def _create_directories(self) -> None:
        return


class _Worker(faust.Worker):
    """Faust's, but for the second that it sleeps when all has ended: whoever replaces workers waits for each."""

    logger = SERVICES

    async def _sentinel_task(self) -> None:
        await asyncio.sleep(_LAST_TURNS_S)


class Planes(Service):
    """Runs the data planes for as long as the worker lives, and ends the worker where one fails."""

    logger = SERVICES

    def __init__(
        self,
        steps: Sequence[RunningStep],
        monitor: Monitor,
        site: Site,
        pulse: Pulse,
        retention: Retention,
        follower: Follower | None,
        writer: ResultWriter | None,
        **kwargs: Any,  # noqa: ANN401  # for mode
    ) -> None:
        super().__init__(**kwargs)
        self._steps = steps
        self._monitor = monitor
        self._site = site
        self._pulse = pulse
        self._retention = retention
        self._follower = follower
        self._writer = writer
        self._beginning: asyncio.Task[None] | None = None
        self._running: list[asyncio.Task[None]] = []

    async def on_start(self) -> None:
        """Show ourselves, warm the agents up, then begin to read."""
        await self._site.start()
        for step in self._steps:
            await step.agent.warm_up()
            self._site.health.loaded(step.plane.policy.name)
        settle_heap()
        self.add_future(collect_by_need(CollectRule(CollectPolicy())))
        self.add_future(self._pulse.run())
        if self._follower is None and self._writer is None:
            self._begin()
        else:  # it may take long, and whoever stops the worker must not wait for it
            self._beginning = begin(self._begin_when_known(), "start", self._failed)
        self.add_future(persistently(self._monitor.run, "monitor"))
        self.add_future(persistently(tell_in_time, "log"))
        self.add_future(persistently(self._retention.run, "retention"))

    async def _begin_when_known(self) -> None:
        """Once it is known by which version: no record is judged by the file while the topic cannot be read. And by
        which schema results are written.
        """
        waiting = begin(self._tell_waiting(), "telling what is waited for")
        try:
            if self._writer is not None:
                await self._writer.settle()
            if self._follower is not None:
                await self._follower.settled()
        finally:
            waiting.cancel()
        self._site.health.undecided("")
        self._begin()

    async def _tell_waiting(self) -> None:
        while True:
            schema = "" if self._writer is None else self._writer.waits_for
            version = "" if self._follower is None else self._follower.in_force.waits_for
            self._site.health.undecided(schema or version)
            await asyncio.sleep(_LOOK_S)

    def _begin(self) -> None:
        for step in self._steps:
            self._running.append(begin(step.plane.run(), f"plane {step.plane.policy.name}", self._failed))

    def _failed(self, error: BaseException) -> None:
        self._site.health.failed(f"a data plane has failed: {type(error).__name__}")
        self.add_future(self.crash(error))

    async def on_stop(self) -> None:
        """All at once: drain, leave the group; then let go of models and connections."""
        if self._beginning is not None:
            self._beginning.cancel()
        for step in self._steps:
            step.plane.stop()
        if self._running:
            await asyncio.wait(self._running)
        for step in self._steps:
            await step.agent.close()
            _tell_stopped(step)
        if self._follower is not None:
            await self._follower.close()
        await self._site.stop()


def _tell_stopped(step: RunningStep) -> None:
    """Say what the plane has counted; the fields hold what its agent has, too."""
    plane = step.plane.statistics()
    counts = ", ".join(f"{name} {value}" for name, value in plane.items() if isinstance(value, int) and value)
    facts = {"action": "plane_stopped", "counts": plane | step.agent.statistics()}
    log.info("%s stopped: %s", plane["agent"], counts or "no record came", extra=facts)


def create_app(
    configuration: Configuration,
    agents: Sequence[AgentName] = AGENTS,
    source: ConfigurationFile | None = None,
    *,
    begin_anew: bool = False,
    place: Place | None = None,
) -> _App:
    """The application with these agents: `faust -A` and `bisupervised worker` both run what is made here.

    `begin_anew`: partitions whose committed offset is gone begin, as `[stream] start` says, and are not stopped.
    With a `source`, thresholds and limits are read from it again when it changes, and on SIGHUP. `place`: of one
    of several processes of a command.

    Call it where no event loop runs: it asks the broker for the topics, and loads the model.
    Raises `ConfigurationError` and `BrokerUnreachable`.
    """
    settings = configuration.settings
    look_for_own(settings, agents)
    flow = list(steps(settings, agents).values())
    batching = batch_step(settings, agents)
    facts = _run(until_answered(configuration, [*flow, *([batching] if batching else [])]))
    retention = Retention(configuration, facts.kept)
    retention.tell()
    writer = make_result_writer(settings) if any("results" in step.routes for step in flow) else None
    app = _App(settings.name, broker="kafka://unused", web_enabled=False, autodiscover=False)
    app.boot_strategy = _Boot(app)
    with without_collecting():
        made = make_agents(configuration, flow, on_hang=_end_process, encode=writer or encode_result)
        running = [
            _running_step(app, configuration, step, made[step.agent], facts, retention, begin_anew=begin_anew)
            for step in flow
        ]
    working = [step.agent for step in running]
    follows = any(judges(settings, agent) for agent in made)
    in_force = InForce(settings.name, configuration.terms, lambda terms: _adopt(working, terms), follows=follows)
    audit, batches = AuditStanding(), BulkStanding()
    app.telemetry = Monitor(
        running,
        price_per_call=settings.remote.price_per_call,
        renewal=configuration.connection.renewal,
        thresholds=in_force.statistics,
        audit=audit.told,
        batches=batches.told,
    )
    follower = Follower(configuration.connection, settings.topics.thresholds, in_force) if follows else None
    site = make_site(settings, agents, app.telemetry, place)
    pulse = Pulse(_STILL * settings.kafka.session_timeout_s, _end_process)

    @app.service
    class _Planes(Planes):
        def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  # for mode's Service
            super().__init__(running, app.telemetry, site, pulse, retention, follower, writer, **kwargs)

    _audit_in(app, configuration, audit)
    hears: list[Callable[[], object]] = []
    if batching is not None:
        from .batches import make_batches  # here: a worker without batches starts without them

        own_ms = retention.own_ms
        parts = make_batches(configuration, batching, facts, own_ms, batches, writer, begin_anew=begin_anew)
        hears.append(parts.renewed)
        _batches_in(app, parts)
    if source is not None:
        _reload_from(app, Reloader(source, configuration, working, in_force=in_force, renewed=hears))
    return app


def _adopt(agents: Sequence[Agent], terms: Terms) -> None:
    for agent in agents:
        agent.adopt(terms)


def _audit_in(app: faust.App, configuration: Configuration, standing: AuditStanding) -> None:
    """One worker of the fleet is the auditor, where there is an audit; any may be."""
    if not configuration.settings.audit.share:
        return
    from ..auditor.making import AuditService, make_audit  # here: a worker without an audit starts without it

    made = make_audit(configuration, standing)
    if made is None:
        return
    membership, following = made

    @app.service
    class _AuditService(AuditService):
        def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  # for mode's Service
            super().__init__(membership, following, **kwargs)


def _batches_in(app: faust.App, parts: BatchParts) -> None:
    """Any worker that asks the remote may own batches."""
    from .batches import BatchService

    @app.service
    class _Batches(BatchService):
        def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  # for mode's Service
            super().__init__(parts, **kwargs)


def _reload_from(app: faust.App, reloader: Reloader) -> None:
    @app.service
    class _Reloading(Reloading):
        def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  # for mode's Service
            super().__init__(reloader, **kwargs)


def _running_step(
    app: faust.App,
    configuration: Configuration,
    step: Step,
    agent: Agent,
    facts: TopicFacts,
    retention: Retention,
    *,
    begin_anew: bool,
) -> RunningStep:
    """Channel, plane and agent of one step, tied together."""
    settings = configuration.settings
    channel = BatchChannel(app)
    observation = Observation(step.agent)
    policy = plane_policy(configuration, step, begin_anew=begin_anew)
    clients = KafkaClients(policy, make_router(settings, step, facts, retention.own_ms))
    substitute = ShadowSubstitute(settings.name) if step.agent == "shadow" else None
    served = ServedAgent(agent, channel, step, observation, make_auditing(settings, step), substitute)
    plane = DataPlane(policy, served, clients)
    actor = app.agent(channel, name=step.agent, supervisor_strategy=AgentRestarts)(agent.run)
    return RunningStep(
        plane,
        agent,
        observation,
        lambda: getattr(actor.supervisor, "restarts", 0),
        kept_ms=lambda: retention.kept_ms(step.topic),
    )


def run_worker(
    configuration: Configuration,
    agents: Sequence[AgentName] = AGENTS,
    source: ConfigurationFile | None = None,
    *,
    begin_anew: bool = False,
    place: Place | None = None,
) -> int:
    """Run until SIGTERM or Ctrl-C. Returns the exit status: 0 when stopped, 1 when something failed."""
    told = configuration.settings.log
    configure(told.level, as_json=told.as_json, process=None if place is None else place.process)
    # until the application hears it, it would end the worker; what changes until then is found at the first look
    if source is not None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    notice_broken_connections()
    app = create_app(configuration, agents, source, begin_anew=begin_anew, place=place)
    log.info("runs %s", ", ".join(agents), extra={"action": "worker_started"})
    pace_metadata()
    share_metadata()
    look_up_coordinators_anywhere()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    hear_left_errors(loop)
    worker = _Worker(app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None  # it writes terminal codes even into a log file
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
    """A thread that hangs cannot be ended alone. Every line of the log has been flushed."""
    os._exit(HUNG_EXIT)
