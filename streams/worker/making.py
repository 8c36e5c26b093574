"""Who reads what, and what each part is made of: from the settings to policies and agents.

requests ─▶ local ─▶ results | doubtful ─▶ remote ─▶ answers ─▶ remote_supervisor ─▶ results | fallback
                  anything that cannot be answered, at any step ─▶ fallback
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from ...agents.agents import Agent, LocalAgent, RemoteAgent, RemoteSupervisorAgent
from ...agents.local.agent import Local
from ...agents.local.appetite import Appetite, AppetitePolicy
from ...agents.local.model import ModelPolicy, load_model
from ...agents.remote.agent import Remote
from ...agents.remote.batching import BatchPolicy
from ...agents.remote.client import ClientPolicy, RemoteClient
from ...agents.remote.credentials import Authorized
from ...agents.remote.endpoint import Endpoint, endpoint
from ...agents.remote.gate import Funds, Gate
from ...agents.remote.limiting.breaker import BreakerPolicy
from ...agents.remote.limiting.limits import LimitsPolicy
from ...agents.remote.retry import RetryPolicy
from ...agents.remote.reusing.cache import AnswerCache, CachePolicy
from ...agents.remote.reusing.reuse import Reuse
from ...agents.remote.spending.budget import BudgetPolicy
from ...agents.remote.spending.price import Price
from ...agents.remote.spending.purse import Purse
from ...agents.remote.transport import AiohttpTransport, Transport
from ...agents.remote_supervisor import RemoteSupervisor
from ...agents.supervision.supervisor import Supervisor
from ...agents.supervision.thresholds import Thresholds, read_thresholds
from ...agents.terms import Terms
from ...agents.tracing import Tracing
from ...schemas.budget import NANO, Amount
from ...schemas.errors import ConfigurationError
from ..flow import AgentName, Step, accepts_local, group_of, request_format
from ..plane.caution import CautionPolicy
from ..plane.outbox import OutboxPolicy
from ..plane.pacing import PacingPolicy
from ..plane.partition import PartitionPolicy
from ..plane.policy import PlanePolicy
from ..plane.routing import Router
from ..plane.window import WindowPolicy
from ..settings.broker import connection
from ..settings.secret import one_word
from ..settings.tables import Settings
from ..settings.thresholds_file import version_of
from ..telemetry.tracing import make_tracing
from .budget_topic import BudgetTopic
from .preflight import TopicFacts
from .protocols import make_protocol


def plane_policy(settings: Settings, step: Step) -> PlanePolicy:
    """How the records of this step are moved."""
    kafka, stream = settings.kafka, settings.stream
    outbox = OutboxPolicy(
        connection=connection(kafka),
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
        ahead=_ahead(settings) if step.agent == "remote" else 0,
    )
    caution = CautionPolicy(
        tries=stream.max_tries,
        batch=step.batch_records,
        suspects=stream.window_records,
        enabled=step.runs_user_code,
    )
    interval_s = stream.commit_interval_ms / 1000
    # what a transaction behind a remote call carries has waited for the call, and it costs as much CPU time as several
    # calls: back to back, transactions kept the next calls waiting
    pacing = PacingPolicy(interval_s, unhurried_s=0.0 if step.agent == "local" else interval_s)
    return PartitionPolicy(window, caution, pacing, stream.drain_s)


def _ahead(settings: Settings) -> int:
    """A partition's share of what can be under way: after a crash, few more than that are taken for asked before."""
    remote = settings.remote
    return max(remote.batch_size, remote.in_flight * remote.batch_size // settings.topics.partitions)


def make_router(settings: Settings, step: Step, facts: TopicFacts) -> Router:
    """Where the outcomes of this step go."""
    topics = {route: settings.topics.name_of(route) for route in step.routes}
    limits = {route: facts.message_bytes[topic] for route, topic in topics.items()}
    return Router(topics, facts.partitions[step.topic], limits)


def make_agent(settings: Settings, name: AgentName, on_hang: Callable[[], None]) -> Agent:
    """The agent of a step. `local` loads the user's model: raises `ConfigurationError` where that fails."""
    tracing = make_tracing(settings.name, _endpoint(settings))
    if name == "remote":
        remote = _remote(settings, tracing)
        return RemoteAgent(remote, tracing, _budget_topic(settings, remote.gate))
    if name == "remote_supervisor":
        return RemoteSupervisorAgent(_remote_supervisor(settings), tracing)
    agent = LocalAgent(_local(settings, on_hang), settings.local.warm_up, tracing)
    if faults := agent.objections(terms_of(settings)):
        raise ConfigurationError(faults)
    return agent


def terms_of(settings: Settings) -> Terms:
    """What can change while the worker runs. Raises `ConfigurationError` where the thresholds file is another now."""
    local, remote = settings.local, settings.remote
    made = _thresholds_file(settings)
    return Terms(
        version=version_of(settings),
        local=Supervisor(local.supervisor, local.threshold),
        remote=Supervisor(remote.supervisor, remote.threshold),
        joint=made.joint if made else None,
        arbitration=remote.arbitration,
        local_model=made.local.model if made else "",
        limits=_limits(settings),
    )


def _limits(settings: Settings) -> LimitsPolicy:
    remote = settings.remote
    return LimitsPolicy(remote.requests_per_minute, remote.tokens_per_minute, remote.in_flight, remote.limit_window_s)


def _thresholds_file(settings: Settings) -> Thresholds | None:
    """Read a second time, for what the settings have no place for."""
    if not settings.thresholds.file:
        return None
    made = read_thresholds(Path(settings.thresholds.file))
    known = (settings.thresholds.version, settings.local.threshold, settings.remote.threshold)
    if (made.version, made.local.threshold, made.remote.threshold) != known:
        raise ConfigurationError(["[thresholds] file: was replaced while it was read; try again"])
    return made


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
    return Local(
        load_model(policy),
        Supervisor(local.supervisor, local.threshold),
        request_format(settings),
        batch_timeout_s=local.predict_timeout_s,
        appetite=Appetite(AppetitePolicy(local.batch_size, local.batch_ms / 1000)),
        thresholds_version=version_of(settings),
        on_hang=on_hang,
    )


def _remote_supervisor(settings: Settings) -> RemoteSupervisor:
    terms = terms_of(settings)
    return RemoteSupervisor(
        terms.remote, thresholds_version=terms.version, joint=terms.joint, arbitration=terms.arbitration
    )


def _remote(settings: Settings, tracing: Tracing | None = None) -> Remote:
    remote = settings.remote
    policy = ClientPolicy(
        url=remote.url,
        timeout_s=remote.timeout_s,
        retry=RetryPolicy(remote.tries, remote.backoff_first_s, remote.backoff_most_s, remote.deadline_s),
        price=Price(
            remote.price_per_call,
            remote.price_per_million_prompt_tokens,
            remote.price_per_million_completion_tokens,
        ),
        most_answer_tokens=remote.most_answer_tokens,
        headers=remote.headers,
    )
    client = RemoteClient(
        make_transport(settings),
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
        accepts_local=accepts_local(settings),
        reuse=_reuse(settings, client),
        tracing=tracing,
    )


def _endpoint(settings: Settings) -> Endpoint:
    return endpoint(settings.remote.protocol, settings.remote.model, settings.remote.url)


def _reuse(settings: Settings, client: RemoteClient) -> Reuse | None:
    remote = settings.remote
    if not remote.cache_records:
        return None
    policy = CachePolicy(remote.cache_records, remote.cache_bytes, remote.cache_hours * 3600.0)
    return Reuse(AnswerCache(policy), client.protocol)


def make_transport(settings: Settings) -> Transport:
    """What carries calls to the remote, with the key where there is one."""
    remote, key = settings.remote, one_word(settings.remote, "api_key")
    # no bound of its own: `in_flight` bounds the calls, and can change while it runs
    transport = AiohttpTransport(connections=0, max_response_bytes=remote.max_response_bytes)
    if key is None:
        return transport
    return Authorized(transport, key, header=remote.api_key_header, scheme=remote.api_key_scheme)


def _gate(settings: Settings) -> Gate:
    remote = settings.remote
    breaker = BreakerPolicy(remote.breaker_failures, remote.breaker_cool_down_s, remote.terminal_cool_down_s)
    return Gate(_limits(settings), breaker, waits=remote.while_open == "wait", funds=_funds(settings))


def _funds(settings: Settings) -> Funds | None:
    budget = settings.budget
    if not budget.limited:
        return None
    limit = Amount(round(budget.money * NANO), budget.calls)
    purse = Purse(BudgetPolicy(limit, budget.per, budget.lease_share), f"{socket.gethostname()}:{os.getpid()}")
    return Funds(purse, waits=budget.when_spent == "wait")


def _budget_topic(settings: Settings, gate: Gate) -> BudgetTopic | None:
    """The log of the gate's purse, each told of the other."""
    if gate.funds is None:
        return None
    reach, topic = connection(settings.kafka), settings.topics.budget
    log = BudgetTopic(reach, topic, settings.name, gate.funds.purse, gate.funds_changed, now=gate.funds.now)
    gate.funds.on_need = log.need
    return log
