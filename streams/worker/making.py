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
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import orjson

from ...agents.agents import Agent, LocalAgent, RemoteAgent, RemoteSupervisorAgent
from ...agents.auditing.draw import Draw
from ...agents.importing import own_callable
from ...agents.local.agent import Local
from ...agents.local.appetite import Appetite, AppetitePolicy
from ...agents.local.formats.loaded import Placing
from ...agents.local.model import Model, ModelPolicy, load_model
from ...agents.local.serving.server import Server, ServerPolicy
from ...agents.remote.agent import Remote
from ...agents.remote.asking import RemoteAnswer
from ...agents.remote.batching import BatchPolicy, Deferral
from ...agents.remote.client import ClientPolicy, RemoteClient
from ...agents.remote.credentials import Authorized, Signed
from ...agents.remote.endpoint import Endpoint, endpoint
from ...agents.remote.gate import Gate
from ...agents.remote.gating.lane import Lane
from ...agents.remote.limiting.breaker import BreakerPolicy
from ...agents.remote.retry import RetryPolicy
from ...agents.remote.reusing.cache import AnswerCache, CachePolicy
from ...agents.remote.reusing.reuse import Reuse
from ...agents.remote.spending.budget import BudgetPolicy
from ...agents.remote.spending.funds import Funds
from ...agents.remote.spending.price import Price
from ...agents.remote.spending.purse import Purse
from ...agents.remote.transport import Transport
from ...agents.remote_supervisor import RemoteSupervisor
from ...agents.shadow import Shadow, ShadowAgent
from ...agents.terms import Terms
from ...agents.tracing import Tracing
from ...schemas.budget import NANO, NOTHING, Amount
from ...schemas.codec import EncodeResult, encode_result
from ...schemas.errors import ConfigurationError, InvalidRequest
from ...schemas.records import Facts, Incoming
from ..events.making import request_format
from ..flow import AgentName, Step, StepName, accepts_local, group_of
from ..plane.pacing import PacingPolicy
from ..plane.partition import PartitionPolicy
from ..plane.policy import PlanePolicy
from ..plane.sending.routing import Router
from ..plane.window.caution import CautionPolicy
from ..plane.window.window import WindowPolicy
from ..settings.broker import outbox_policy
from ..settings.file import Configuration
from ..settings.keys.local import LocalSettings
from ..settings.keys.remote import RemoteSettings
from ..settings.reaching import transport_to
from ..settings.secret import one_word, secret
from ..settings.tables import Settings
from ..telemetry.tracing import make_tracing
from .auditing import Auditing
from .budget_topic import BudgetTopic
from .preflight import TopicFacts
from .protocols import make_protocol

#: batches that are tried one at a time after an unclean end. An owner holds a few, behind those that are answered and
#: not committed yet; were there more, a death would begin with them anew
_SUSPECT_BATCHES = 16
#: shadows of a partition that are fetched and not yet asked about
_SHADOWS = 256

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
        fetch_records=_within_reach(step, stream.fetch_records),
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
    pending = max(stream.fetch_records, 4 * step.batch_records)
    return WindowPolicy(
        records=_within_reach(step, stream.window_records),
        bytes=stream.window_bytes,
        pending=_within_reach(step, pending),
        max_tries=stream.max_tries,
        ordering=stream.ordering,
        ahead=_ahead(settings) if step.agent == "remote" else 0,
    )


def _within_reach(step: Step, records: int) -> int:
    """Shadows wait in Kafka: so many of a partition are all that is held of them here."""
    return min(records, _SHADOWS) if step.agent == "shadow" else records


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
    key = word.encode()
    draw, raised = Draw(audit.share, key, settings.name, audit.shadow_share), None
    if audit.alarm_share:
        raised = Draw(audit.alarm_share, key, settings.name, max(audit.alarm_share, audit.shadow_share))
    return partial(Auditing, draw, key, settings.name, reads_requests=step.agent == "local", raised=raised)


# the agents


def make_agents(
    configuration: Configuration,
    flow: Collection[Step],
    on_hang: Callable[[], None],
    encode: EncodeResult = encode_result,
) -> dict[StepName, Agent]:
    """The agents of these steps, as `make_agent` makes them. That of shadows asks by the gate of the remote one."""
    made: dict[StepName, Agent] = {}
    for step in flow:
        if step.agent == "shadow" or step.agent == "bulk":  # mypy does not see it in a tuple
            continue
        made[step.agent] = make_agent(configuration, step.agent, on_hang, encode)
    remote = made.get("remote")
    if isinstance(remote, RemoteAgent) and any(step.agent == "shadow" for step in flow):
        made["shadow"] = _shadow_agent(configuration, remote.remote)
    return made


def make_agent(
    configuration: Configuration,
    name: AgentName,
    on_hang: Callable[[], None],
    encode: EncodeResult = encode_result,
) -> Agent:
    """The agent of a step. `local` loads the user's model: raises `ConfigurationError` where that fails.

    `on_hang` is called where that model does not answer in time: its thread cannot be ended alone.
    """
    settings, terms = configuration.settings, configuration.terms
    tracing = make_tracing(settings.name, _endpoint(settings.remote))
    if name == "local":
        local = make_local(settings, terms, on_hang, encode=encode)
        return _fitting(LocalAgent(local, settings.local.warm_up, tracing), terms)
    if name == "remote":
        remote = make_remote(settings, terms, tracing, encode=encode)
        gate = remote.gate
        return RemoteAgent(remote, tracing, _budget_log(configuration, settings.name, gate.funds, gate.funds_changed))
    return RemoteSupervisorAgent(_remote_supervisor(terms, encode), tracing)


def _fitting(agent: LocalAgent, terms: Terms) -> LocalAgent:
    """The same. Raises `ConfigurationError` where the thresholds were made for another model."""
    if faults := agent.objections(terms):
        raise ConfigurationError(faults)
    return agent


def make_local(
    settings: Settings,
    terms: Terms,
    on_hang: Callable[[], None],
    *,
    detailed: bool = False,
    encode: EncodeResult = encode_result,
) -> Local:
    """The user's model, loaded, and what judges it. `detailed`: answers come with their `Details`."""
    local = settings.local
    model: Model | Server
    if local.protocol:
        model = make_server(local, detailed=detailed or terms.learned is not None)
    else:
        model = load_model(_model_policy(local, detailed=detailed))
    return Local(
        model,
        terms.local,
        request_format(settings),
        batch_timeout_s=local.predict_timeout_s,
        appetite=Appetite(AppetitePolicy(local.batch_size, local.batch_ms / 1000)),
        thresholds_version=terms.version,
        learned=terms.learned,
        on_hang=on_hang,
        encode=encode,
    )


def make_server(local: LocalSettings, *, detailed: bool) -> Server:
    """What asks the server that is the local model. Reads its key."""
    asked = local.as_remote()
    named = local.model or local.protocol
    policy = ServerPolicy(
        local.url,
        f"{named}@{local.version}" if local.version else named,
        inputs=local.call_inputs,
        in_flight=local.in_flight,
        timeout_s=local.timeout_s,
        output=local.output,
        labels=local.labels,
        detailed=detailed,
        headers=local.headers,
    )
    return Server(make_transport(asked, "local"), make_protocol(asked, detailed=detailed), policy)


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
        local.features,
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
    encode: EncodeResult = encode_result,
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
            gate=_gate(settings, terms, clock, funds or _funds(settings, budgets(settings)[0])),
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
        encode=encode,
        batches=Deferral(remote.batch_beyond_s) if remote.batches else None,
    )


def _shadow_agent(configuration: Configuration, remote: Remote) -> ShadowAgent:
    settings, gate = configuration.settings, remote.gate
    funds = _funds(settings, budgets(settings)[1])
    lane = Lane(gate, gate.breaker.policy, funds)
    judge = _remote_supervisor(configuration.terms)
    shadow = Shadow(remote.beside(lane), judge, lane, settings.name, settings.audit.shadow_within_hours)
    # a name of its own, which no pipeline can have: what is granted for shadows pays for nothing else
    name = f"{settings.name}/shadow"
    return ShadowAgent(shadow, _budget_log(configuration, name, funds, lane.funds_changed))


def _remote_supervisor(terms: Terms, encode: EncodeResult = encode_result) -> RemoteSupervisor:
    return RemoteSupervisor(
        terms.remote,
        thresholds_version=terms.version,
        joint=terms.joint,
        arbitration=terms.arbitration,
        encode=encode,
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


def make_transport(remote: RemoteSettings, table: str = "remote") -> Transport:
    """What carries calls to the remote, with the key where there is one, which is read now. `table`: that says so."""
    key = one_word(remote, "api_key")
    # no bound of its own: `in_flight` bounds the calls, and can change while it runs
    most = remote.max_response_bytes
    transport = transport_to(remote, remote.url, table, connections=0, max_response_bytes=most)
    if remote.credentials:
        return Signed(transport, own_callable(remote.credentials, "[remote] credentials"), remote.credentials)
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
            remote.price_per_million_cached_tokens,
            remote.price_per_million_cache_write_tokens,
        ),
        most_answer_tokens=remote.most_answer_tokens,
        headers=remote.headers,
        pipeline=pipeline,
    )


def _gate(settings: Settings, terms: Terms, clock: Callable[[], float], funds: Funds | None) -> Gate:
    remote = settings.remote
    return Gate(terms.limits, breaker_policy(remote), waits=remote.while_open == "wait", funds=funds, clock=clock)


def breaker_policy(remote: RemoteSettings) -> BreakerPolicy:
    """When the remote is not asked any more, for a while."""
    return BreakerPolicy(remote.breaker_failures, remote.breaker_cool_down_s, remote.terminal_cool_down_s)


def _reuse(remote: RemoteSettings, client: RemoteClient) -> Reuse | None:
    """Answers that are kept, where they are."""
    if not remote.cache_records:
        return None
    policy = CachePolicy(remote.cache_records, remote.cache_bytes, remote.cache_hours * 3600.0)
    return Reuse(AnswerCache(policy), client.protocol)


def budgets(settings: Settings) -> tuple[Amount, Amount]:
    """What calls that somebody waits for may cost in a period, and what shadows may beside."""
    budget, audit = settings.budget, settings.audit
    whole = Amount(round(budget.money * NANO), budget.calls)
    if not audit.shadow_share:
        return whole, NOTHING
    apart = Amount(int(whole.money * audit.budget_share), int(whole.calls * audit.budget_share))
    return whole.minus(apart), apart


def _funds(settings: Settings, limit: Amount) -> Funds | None:
    """What may be spent, and how much of it is this process's; None where nothing limits it."""
    budget = settings.budget
    if not budget.limited:
        return None
    purse = Purse(BudgetPolicy(limit, budget.per, budget.lease_share), f"{socket.gethostname()}:{os.getpid()}")
    return Funds(purse, waits=budget.when_spent == "wait")


def _budget_log(
    configuration: Configuration, name: str, funds: Funds | None, on_read: Callable[[], None]
) -> BudgetTopic | None:
    """The log of a purse, each told of the other; `name`: whose records it writes and reads there."""
    if funds is None:
        return None
    topic = configuration.settings.topics.budget
    log = BudgetTopic(configuration.connection, topic, name, funds.purse, on_read, now=funds.now)
    funds.on_need = log.need
    return log
