"""Who reads what, and what each part is made of: from the settings to policies and agents.

requests ─▶ local ─▶ results | doubtful ─▶ remote ─▶ answers ─▶ remote_supervisor ─▶ results | fallback
                  anything that cannot be answered, at any step ─▶ fallback
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..agents.agents import Agent, LocalAgent, RemoteAgent, RemoteSupervisorAgent
from ..agents.local import Local
from ..agents.model import Model, ModelPolicy, load_model
from ..agents.remote.agent import Remote
from ..agents.remote.batching import BatchPolicy
from ..agents.remote.breaker import BreakerPolicy
from ..agents.remote.client import ClientPolicy, RemoteClient
from ..agents.remote.credentials import Authorized
from ..agents.remote.endpoint import Endpoint, endpoint
from ..agents.remote.gate import Gate
from ..agents.remote.limits import LimitsPolicy
from ..agents.remote.retry import RetryPolicy
from ..agents.remote.transport import AiohttpTransport, Transport
from ..agents.remote_supervisor import RemoteSupervisor
from ..agents.supervision.supervisor import Supervisor
from ..agents.supervision.thresholds import read_thresholds
from ..agents.tracing import Tracing
from ..schemas.codec import RequestFormat, facts_of
from ..schemas.errors import ConfigurationError
from ..schemas.records import Facts, Incoming, Route
from .api_key import api_key
from .caution import CautionPolicy
from .outbox import OutboxPolicy
from .partition import PartitionPolicy
from .plane import PlanePolicy
from .preflight import TopicFacts
from .protocols import make_protocol
from .routing import Router
from .settings import Settings
from .substitute import request_facts
from .tracing import make_tracing
from .window import WindowPolicy

AgentName = Literal["local", "remote", "remote_supervisor"]
AGENTS: tuple[AgentName, ...] = get_args(AgentName)

#: answers judged at once; judging is arithmetic
_JUDGED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Step:
    """One agent's place in the flow."""

    agent: AgentName
    topic: str  #: read by it
    routes: tuple[Route, ...]  #: written by it
    batch_records: int  #: most records it gets at once
    batch_wait_s: float  #: seconds a record waits for others
    runs_user_code: bool  #: its inputs could kill the process
    facts: Callable[[Incoming], Facts]  #: what is known about a record of its topic


def steps(settings: Settings) -> dict[AgentName, Step]:
    """The flow, in its order."""
    topics, local, remote = settings.topics, settings.local, settings.remote
    flow = (
        Step(
            "local",
            topics.requests,
            ("results", "doubtful", "fallback"),
            local.batch_size,
            local.batch_wait_ms / 1000,
            True,
            request_facts,
        ),
        Step(
            "remote",
            topics.doubtful,
            ("answers", "fallback", "results") if remote.while_open == "accept_local" else ("answers", "fallback"),
            remote.batch_size,
            remote.batch_wait_ms / 1000,
            False,
            facts_of,
        ),
        Step(
            "remote_supervisor",
            topics.answers,
            ("results", "fallback"),
            _JUDGED_AT_ONCE,
            0.0,
            False,
            facts_of,
        ),
    )
    return {step.agent: step for step in flow}


def plane_policy(settings: Settings, step: Step) -> PlanePolicy:
    """How the records of this step are moved."""
    kafka, stream = settings.kafka, settings.stream
    outbox = OutboxPolicy(
        bootstrap_servers=kafka.bootstrap_servers,
        group=group_of(settings, step.agent),
        transaction_timeout_s=stream.transaction_timeout_s,
        request_timeout_s=kafka.request_timeout_s,
        watchdog_s=stream.watchdog_s,
    )
    return PlanePolicy(
        name=step.agent,
        topic=step.topic,
        outbox=outbox,
        partition=_partition_policy(settings, step),
        delivery=stream.delivery,
        start=stream.start,
        batch_records=step.batch_records,
        batch_wait_s=step.batch_wait_s,
        fetch_records=stream.fetch_records,
        session_timeout_s=kafka.session_timeout_s,
        rebalance_timeout_s=kafka.rebalance_timeout_s,
        request_timeout_s=kafka.request_timeout_s,
    )


def _partition_policy(settings: Settings, step: Step) -> PartitionPolicy:
    stream = settings.stream
    window = WindowPolicy(
        records=stream.window_records,
        bytes=stream.window_bytes,
        pending=max(stream.fetch_records, 4 * step.batch_records),
        max_tries=stream.max_tries,
        ordering=stream.ordering,
    )
    caution = CautionPolicy(
        tries=stream.max_tries,
        batch=step.batch_records,
        suspects=stream.window_records,
        enabled=step.runs_user_code,
    )
    return PartitionPolicy(
        window=window,
        caution=caution,
        commit_interval_s=stream.commit_interval_ms / 1000,
        drain_s=stream.drain_s,
    )


def make_router(settings: Settings, step: Step, facts: TopicFacts) -> Router:
    """Where the outcomes of this step go."""
    topics = {route: settings.topics.name_of(route) for route in step.routes}
    limits = {route: facts.message_bytes[topic] for route, topic in topics.items()}
    return Router(topics, facts.partitions[step.topic], limits)


def group_of(settings: Settings, agent: AgentName) -> str:
    """The consumer group of an agent; its transactional ids begin with it."""
    return f"{settings.name}-{agent.replace('_', '-')}"


def request_format(settings: Settings) -> RequestFormat:
    """Which parts of a request mean what."""
    request = settings.request
    return RequestFormat(request.input, request.id, request.deadline_ms, request.deadline_header)


def make_agent(settings: Settings, name: AgentName, on_hang: Callable[[], None]) -> Agent:
    """The agent of a step. `local` loads the user's model: raises `ConfigurationError` where that fails."""
    tracing = make_tracing(settings.name, _endpoint(settings))
    if name == "local":
        return LocalAgent(_local(settings, on_hang), settings.local.warm_up, tracing)
    if name == "remote":
        return RemoteAgent(_remote(settings, tracing), tracing)
    return RemoteSupervisorAgent(_remote_supervisor(settings), tracing)


def _local(settings: Settings, on_hang: Callable[[], None]) -> Local:
    local = settings.local
    policy = ModelPolicy(
        local.model,
        local.output,
        local.labels,
        local.version,
        local.supervisor,
        local.temperature,
        local.samples,
    )
    model = load_model(policy)
    _check_calibrated_for(settings, model)
    return Local(
        model,
        Supervisor(local.supervisor, local.threshold),
        request_format(settings),
        batch_timeout_s=local.predict_timeout_s,
        thresholds_version=settings.thresholds.version,
        on_hang=on_hang,
    )


def _remote_supervisor(settings: Settings) -> RemoteSupervisor:
    file = settings.thresholds.file
    return RemoteSupervisor(
        Supervisor(settings.remote.supervisor, settings.remote.threshold),
        thresholds_version=settings.thresholds.version,
        joint=read_thresholds(Path(file)).joint if file else None,
        arbitration=settings.remote.arbitration,
    )


def _check_calibrated_for(settings: Settings, model: Model) -> None:
    """Thresholds of another model say nothing about this one."""
    if not settings.thresholds.file:
        return
    wanted = read_thresholds(Path(settings.thresholds.file)).local.model
    if wanted and wanted != model.name:
        raise ConfigurationError([f"[thresholds] file: was made for the local model {wanted}, not {model.name}"])


def _remote(settings: Settings, tracing: Tracing | None = None) -> Remote:
    remote = settings.remote
    policy = ClientPolicy(
        url=remote.url,
        timeout_s=remote.timeout_s,
        retry=RetryPolicy(remote.tries, remote.backoff_first_s, remote.backoff_most_s, remote.deadline_s),
        price_per_call=remote.price_per_call,
        headers=remote.headers,
    )
    client = RemoteClient(
        _transport(settings),
        make_protocol(remote),
        policy,
        gate=_gate(settings),
        endpoint=_endpoint(settings),
    )
    return Remote(
        client,
        request_format(settings),
        supervisor=remote.own_score,
        send=remote.send,
        batch=BatchPolicy(remote.batch_bytes),
        accepts_local=remote.while_open == "accept_local",
        tracing=tracing,
    )


def _endpoint(settings: Settings) -> Endpoint:
    return endpoint(settings.remote.protocol, settings.remote.model, settings.remote.url)


def _transport(settings: Settings) -> Transport:
    remote, key = settings.remote, api_key(settings.remote)
    transport = AiohttpTransport(connections=remote.in_flight, max_response_bytes=remote.max_response_bytes)
    if key is None:
        return transport
    return Authorized(transport, key, header=remote.api_key_header, scheme=remote.api_key_scheme)


def _gate(settings: Settings) -> Gate:
    remote = settings.remote
    limits = LimitsPolicy(remote.requests_per_minute, remote.tokens_per_minute, remote.in_flight, remote.limit_window_s)
    breaker = BreakerPolicy(remote.breaker_failures, remote.breaker_cool_down_s, remote.terminal_cool_down_s)
    return Gate(limits, breaker, waits=remote.while_open == "wait")
