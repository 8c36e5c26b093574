"""From a configuration to the parts of a worker: how each step's records are moved, and the agent that answers them.

    plane_policy   window, pace and transactions of a step
    make_router    where its outcomes go
    make_agent     local: the model, what judges it, how much it takes at once
                   remote: a client (transport, protocol, retries, gate), what is kept, what may be spent
                   remote_supervisor: what judges the remote's answers

Only the user's model and the remote's key are read here: all else that the settings name came with the configuration.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from ...agents.agents import Agent, LocalAgent, RemoteAgent, RemoteSupervisorAgent
from ...agents.auditing.draw import Draw
from ...agents.local.agent import Local
from ...agents.local.appetite import Appetite, AppetitePolicy
from ...agents.local.formats.loaded import Placing
from ...agents.local.model import ModelPolicy, load_model
from ...agents.remote.agent import Remote
from ...agents.remote.asking import RemoteAnswer
from ...agents.remote.batching import BatchPolicy
from ...agents.remote.client import ClientPolicy, RemoteClient
from ...agents.remote.credentials import Authorized
from ...agents.remote.endpoint import Endpoint, endpoint
from ...agents.remote.gate import Funds, Gate
from ...agents.remote.limiting.breaker import BreakerPolicy
from ...agents.remote.retry import RetryPolicy
from ...agents.remote.reusing.cache import AnswerCache, CachePolicy
from ...agents.remote.reusing.reuse import Reuse
from ...agents.remote.spending.budget import BudgetPolicy
from ...agents.remote.spending.price import Price
from ...agents.remote.spending.purse import Purse
from ...agents.remote.transport import AiohttpTransport, Transport
from ...agents.remote_supervisor import RemoteSupervisor
from ...agents.terms import Terms
from ...agents.tracing import Tracing
from ...schemas.budget import NANO, Amount
from ...schemas.errors import ConfigurationError, InvalidRequest
from ...schemas.records import Facts, Incoming
from ..events.making import request_format
from ..flow import Step, StepName, accepts_local, group_of
from ..plane.pacing import PacingPolicy
from ..plane.partition import PartitionPolicy
from ..plane.policy import PlanePolicy
from ..plane.sending.routing import Router
from ..plane.window.caution import CautionPolicy
from ..plane.window.window import WindowPolicy
from ..settings.broker import outbox_policy
from ..settings.file import Configuration
from ..settings.secret import one_word, secret
from ..settings.tables import BudgetSettings, LocalSettings, RemoteSettings, Settings
from ..telemetry.tracing import make_tracing
from .auditing import Auditing
from .budget_topic import BudgetTopic
from .preflight import TopicFacts
from .protocols import make_protocol

#: batches that are tried one at a time after an unclean end. An owner holds a few, behind those that are answered and
#: not committed yet; were there more, a death would begin with them anew
_SUSPECT_BATCHES = 16

# how records are moved


def plane_policy(configuration: Configuration, step: Step, *, begin_anew: bool = False) -> PlanePolicy:
    """How the records of this step are moved."""
    settings = configuration.settings
    kafka, stream = settings.kafka, settings.stream
    return PlanePolicy(
        name=step.agent,
        topic=step.topic,
        outbox=outbox_policy(settings, configuration.connection, group_of(settings, step.agent)),
        partition=_partition_policy(settings, step, begin_anew=begin_anew),
        delivery=stream.delivery,
        start=stream.start,
        batch_records=step.batch_records,
        batch_wait_s=step.batch_wait_s,
        fetch_records=stream.fetch_records,
        session_timeout_s=kafka.session_timeout_s,
        rebalance_timeout_s=kafka.rebalance_timeout_s,
        request_timeout_s=kafka.request_timeout_s,
    )


def _partition_policy(settings: Settings, step: Step, *, begin_anew: bool) -> PartitionPolicy:
    stream = settings.stream
    caution = CautionPolicy(
        tries=stream.max_tries,
        batch=step.batch_records,
        suspects=min(stream.window_records, _SUSPECT_BATCHES * step.batch_records),
        enabled=step.runs_user_code,
    )
    interval_s = stream.commit_interval_ms / 1000
    # what a transaction behind a remote call carries has waited for the call, and it costs as much CPU time as several
    # calls: back to back, transactions kept the next calls waiting
    pacing = PacingPolicy(interval_s, unhurried_s=0.0 if step.agent == "local" else interval_s)
    return PartitionPolicy(
        _window_policy(settings, step),
        caution,
        pacing,
        stream.drain_s,
        attempt_s=stream.transaction_timeout_s,
        begin_anew=begin_anew,
    )


def _window_policy(settings: Settings, step: Step) -> WindowPolicy:
    stream = settings.stream
    return WindowPolicy(
        records=stream.window_records,
        bytes=stream.window_bytes,
        pending=max(stream.fetch_records, 4 * step.batch_records),
        max_tries=stream.max_tries,
        ordering=stream.ordering,
        ahead=_ahead(settings) if step.agent == "remote" else 0,
    )


def _ahead(settings: Settings) -> int:
    """A partition's share of what can be under way: after a crash, few more than that are taken for asked before."""
    remote = settings.remote
    return max(remote.batch_size, remote.in_flight * remote.batch_size // settings.topics.partitions)


def make_router(settings: Settings, step: Step, facts: TopicFacts, own_ms: Mapping[str, int]) -> Router:
    """Where the outcomes of this step go; `own_ms`: for how long records of each topic bear their request's time."""
    topics = {route: settings.topics.name_of(route) for route in step.routes}
    limits = {route: facts.message_bytes[topic] for route, topic in topics.items()}
    return Router(topics, step.topic, limits, own_ms)


def make_auditing(settings: Settings, step: Step) -> Callable[[Callable[[Incoming], Facts]], Auditing] | None:
    """What makes the records of `audits` of this step, told how facts are read; None without an audit."""
    audit, word = settings.audit, secret(settings.audit, "secret")
    if not audit.on or word is None or step.agent == "shadow":
        return None
    draw, key = Draw(audit.share, word.encode(), settings.name, audit.shadow_share), word.encode()
    return partial(Auditing, draw, key, settings.name, reads_requests=step.agent == "local")


# the agents


def make_agent(configuration: Configuration, name: StepName, on_hang: Callable[[], None]) -> Agent:
    """The agent of a step. `local` loads the user's model: raises `ConfigurationError` where that fails.

    `on_hang` is called where that model does not answer in time: its thread cannot be ended alone.
    """
    settings, terms = configuration.settings, configuration.terms
    tracing = make_tracing(settings.name, _endpoint(settings.remote))
    if name == "local":
        return _fitting(LocalAgent(make_local(settings, terms, on_hang), settings.local.warm_up, tracing), terms)
    if name == "shadow":
        raise ConfigurationError(["[audit] shadow_share: must be 0: this version asks no shadows yet"])
    if name == "remote":
        remote = make_remote(settings, terms, tracing)
        return RemoteAgent(remote, tracing, _budget_topic(configuration, remote.gate))
    return RemoteSupervisorAgent(_remote_supervisor(terms), tracing)


def _fitting(agent: LocalAgent, terms: Terms) -> LocalAgent:
    """The same. Raises `ConfigurationError` where the thresholds were made for another model."""
    if faults := agent.objections(terms):
        raise ConfigurationError(faults)
    return agent


def make_local(settings: Settings, terms: Terms, on_hang: Callable[[], None], *, detailed: bool = False) -> Local:
    """The user's model, loaded, and what judges it. `detailed`: answers come with their `Details`."""
    local = settings.local
    return Local(
        load_model(_model_policy(local, detailed=detailed)),
        terms.local,
        request_format(settings),
        batch_timeout_s=local.predict_timeout_s,
        appetite=Appetite(AppetitePolicy(local.batch_size, local.batch_ms / 1000)),
        thresholds_version=terms.version,
        learned=terms.learned,
        on_hang=on_hang,
    )


def _model_policy(local: LocalSettings, *, detailed: bool) -> ModelPolicy:
    return ModelPolicy(
        local.model,
        local.output,
        local.labels,
        local.version,
        local.own_score,
        local.temperature,
        local.samples,
        detailed,
        Placing(local.device, local.dtype, local.threads),
    )


def make_remote(
    settings: Settings,
    terms: Terms,
    tracing: Tracing | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    funds: Funds | None = None,
    hear: Callable[[Incoming, RemoteAnswer], object] | None = None,
) -> Remote:
    """What asks the remote. Reads its key. `funds`: in place of those of `[budget]`. `hear`: is told of every answer,
    with its `Details`.
    """
    remote = settings.remote
    try:
        client = RemoteClient(
            make_transport(remote),
            make_protocol(remote, detailed=hear is not None),
            client_policy(remote, settings.name),
            gate=_gate(settings, terms, clock, funds or _funds(settings.budget)),
            probe=_probe(remote.probe),
            endpoint=_endpoint(remote),
            clock=clock,
        )
    except InvalidRequest as error:
        raise ConfigurationError([f"[remote] probe: the remote cannot be asked this input: {error}"]) from error
    return Remote(
        client,
        request_format(settings),
        supervisor=remote.own_score,
        send=remote.send,
        batch=BatchPolicy(remote.batch_bytes),
        accepts_local=accepts_local(settings),
        reuse=_reuse(remote, client),
        tracing=tracing,
        hear=hear,
    )


def _remote_supervisor(terms: Terms) -> RemoteSupervisor:
    return RemoteSupervisor(
        terms.remote, thresholds_version=terms.version, joint=terms.joint, arbitration=terms.arbitration
    )


# the parts of the remote agent


def _probe(written: str) -> Any:  # noqa: ANN401  # any JSON value
    """The input of a probe: JSON where it is that, else the text itself; None for none."""
    try:
        return orjson.loads(written) if written else None
    except orjson.JSONDecodeError:
        return written


def _endpoint(remote: RemoteSettings) -> Endpoint:
    return endpoint(remote.protocol, remote.model, remote.url)


def make_transport(remote: RemoteSettings) -> Transport:
    """What carries calls to the remote, with the key where there is one, which is read now."""
    key = one_word(remote, "api_key")
    # no bound of its own: `in_flight` bounds the calls, and can change while it runs
    transport = AiohttpTransport(connections=0, max_response_bytes=remote.max_response_bytes)
    if key is None:
        return transport
    header, scheme = remote.api_key_header, remote.api_key_scheme
    return Authorized(transport, key, header=header, scheme=scheme, read=lambda: one_word(remote, "api_key"))


def client_policy(remote: RemoteSettings, pipeline: str = "") -> ClientPolicy:
    """Where and how the remote is asked, what it costs, and for which pipeline."""
    return ClientPolicy(
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
        pipeline=pipeline,
    )


def _gate(settings: Settings, terms: Terms, clock: Callable[[], float], funds: Funds | None) -> Gate:
    remote = settings.remote
    breaker = BreakerPolicy(remote.breaker_failures, remote.breaker_cool_down_s, remote.terminal_cool_down_s)
    return Gate(terms.limits, breaker, waits=remote.while_open == "wait", funds=funds, clock=clock)


def _reuse(remote: RemoteSettings, client: RemoteClient) -> Reuse | None:
    """Answers that are kept, where they are."""
    if not remote.cache_records:
        return None
    policy = CachePolicy(remote.cache_records, remote.cache_bytes, remote.cache_hours * 3600.0)
    return Reuse(AnswerCache(policy), client.protocol)


def _funds(budget: BudgetSettings) -> Funds | None:
    """What may be spent, and how much of it is this process's; None where nothing limits it."""
    if not budget.limited:
        return None
    limit = Amount(round(budget.money * NANO), budget.calls)
    purse = Purse(BudgetPolicy(limit, budget.per, budget.lease_share), f"{socket.gethostname()}:{os.getpid()}")
    return Funds(purse, waits=budget.when_spent == "wait")


def _budget_topic(configuration: Configuration, gate: Gate) -> BudgetTopic | None:
    """The log of the gate's purse, each told of the other."""
    if gate.funds is None:
        return None
    reach, settings = configuration.connection, configuration.settings
    topic, purse = settings.topics.budget, gate.funds.purse
    log = BudgetTopic(reach, topic, settings.name, purse, gate.funds_changed, now=gate.funds.now)
    gate.funds.on_need = log.need
    return log
