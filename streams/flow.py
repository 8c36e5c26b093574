"""Who reads what and writes what: the one place to see how records go from topic to topic.

    requests ─▶ local ─┬─▶ results       what the local supervisor trusts
                       └─▶ doubtful ─▶ remote ─▶ answers ─▶ remote_supervisor ─▶ results
    what cannot be answered, at any of the three ─▶ fallback
    trusted, and drawn for the remote, too: shadows ─▶ shadow ─▶ audits
    doubtful, and can wait: batched ─▶ bulk ─▶ answers, when the provider has answered a batch of them

    requests           the user's events
    doubtful, answers  internal: what waits for the remote, and what it said and nobody has judged yet
    results, fallback  every request ends as one record in one of them
    budget             internal, where money or calls are limited: written and read by every remote agent
    audits             where there is an audit: a drawn request and how it ended, written with its outcome
    shadows            internal, where trusted answers are audited by the remote: written with its outcome
    batched            internal, where the remote is asked in batches: what waits for one, or for its answers
    batches            internal, likewise: the log of the batches, each partition of the same one of `batched`
    labels             where there is an audit: what people say is right; no worker writes it
    thresholds         where versions of the thresholds are followed: read by who judges, written by who chooses
    trust              where there is an audit: whether the promise is still true; one worker of the fleet writes it

Names of topics, groups and their configuration are made here, of the settings, for whoever needs them: the worker, the
commands over topics, what a broker must allow, and the AsyncAPI document.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from ..schemas.avro import head_of, is_avro
from ..schemas.codec import (
    decode_facts,
    decode_result,
    facts_of,
    foreign_version,
    request_ms,
    source_of,
)
from ..schemas.errors import InvalidRequest, Reason
from ..schemas.records import VERSION, Facts, Incoming, Result, Route, Source

if TYPE_CHECKING:
    from .settings.tables import Settings  # the command line imports this file, and `--help` needs no settings

AgentName = Literal["local", "remote", "remote_supervisor"]
#: in the order records meet them
AGENTS: tuple[AgentName, ...] = get_args(AgentName)
#: nobody chooses the last two: they run beside the remote agent. `shadow` asks the remote when that leaves room, `bulk`
#: asks it in batches
StepName = Literal[AgentName, "shadow", "bulk"]

#: answers judged at once; judging is arithmetic
_JUDGED_AT_ONCE = 1000
_MS_PER_HOUR = 3_600_000
#: of a topic: whether its records bear the time at which they were written
APPEND_TIME = "message.timestamp.type"
#: hours for which the budget's topic is kept: more than a month, the longest period
_BUDGET_HOURS = 40 * 24
#: the remote's answers to trusted inputs that are fetched at once: the backlog stays in Kafka
_SHADOWS_AT_ONCE = 32
_AFTER_SHADOWS: tuple[StepName, ...] = ("shadow",)
_AFTER_BATCHES: tuple[StepName, ...] = ("bulk", "remote_supervisor")


# the steps


@dataclass(frozen=True, slots=True)
class Step:
    """One agent's place in the flow."""

    agent: StepName
    topic: str  #: read by it
    routes: tuple[Route, ...]  #: written by it
    batch_records: int  #: most records it gets at once
    batch_wait_s: float  #: seconds a record waits for others
    runs_user_code: bool  #: its inputs could kill the process
    facts: Callable[[Incoming], Facts]  #: what is known about a record of its topic
    unreadable: Callable[[Incoming], str | None] | None  #: why only another worker can read it; None where we can
    wrote: Callable[[Incoming], bool]  #: whether an outcome is of this agent, or of who comes after it


def steps(settings: Settings, agents: Collection[AgentName] = AGENTS) -> dict[StepName, Step]:
    """The flow, in its order, as far as a worker with these agents runs it."""
    audit = settings.audit
    made = (_local(settings), _remote(settings), _remote_supervisor(settings))
    flow: dict[StepName, Step] = {
        step.agent: _audited(step, shadows=bool(audit.shadow_share)) if audit.on else step
        for step in made
        if step.agent in agents
    }
    return flow | ({"shadow": _shadow(settings)} if audit.shadow_share and "remote" in agents else {})


def batch_step(settings: Settings, agents: Collection[AgentName] = AGENTS) -> Step | None:
    """The place in the flow of who asks in batches, where a worker with these agents does; no data plane runs it."""
    if not settings.remote.batches or "remote" not in agents:
        return None
    made = Step(
        agent="bulk",
        topic=settings.topics.batched,
        routes=(*_asked(settings), "batched"),
        batch_records=settings.batch.records,
        batch_wait_s=settings.batch.age_s,
        runs_user_code=False,
        facts=facts_of,
        unreadable=_of_another_version,
        wrote=_wrote(settings, _AFTER_BATCHES),
    )
    return _audited(made, shadows=False) if settings.audit.on else made


def _asked(settings: Settings) -> tuple[Route, ...]:
    """Where inputs go that the remote was asked about, or could not be."""
    return ("answers", "fallback", "results") if accepts_local(settings) else ("answers", "fallback")


def _audited(step: Step, *, shadows: bool) -> Step:
    """The same, where requests that end here may be audited. `shadows`: those trusted first by the remote, too."""
    further: tuple[Route, ...] = ("audits", "shadows") if shadows and step.agent == "local" else ("audits",)
    return replace(step, routes=(*step.routes, *further))


def _local(settings: Settings) -> Step:
    return Step(
        agent="local",
        topic=settings.topics.requests,
        routes=("results", "doubtful", "fallback"),
        batch_records=settings.local.batch_size,
        batch_wait_s=settings.local.batch_wait_ms / 1000,
        runs_user_code=not settings.local.protocol,
        facts=request_facts,
        unreadable=None,  # a header of ours on a request is from another life
        wrote=_wrote(settings, AGENTS),
    )


def _remote(settings: Settings) -> Step:
    return Step(
        agent="remote",
        topic=settings.topics.doubtful,
        routes=(*_asked(settings), *(("batched",) if settings.remote.batches else ())),
        batch_records=settings.remote.batch_size,
        batch_wait_s=settings.remote.batch_wait_ms / 1000,
        runs_user_code=False,
        facts=facts_of,
        unreadable=_of_another_version,
        wrote=_wrote(settings, AGENTS[1:]),
    )


def _remote_supervisor(settings: Settings) -> Step:
    return Step(
        agent="remote_supervisor",
        topic=settings.topics.answers,
        routes=("results", "fallback"),
        batch_records=_JUDGED_AT_ONCE,
        batch_wait_s=0.0,
        runs_user_code=False,
        facts=facts_of,
        unreadable=_of_another_version,
        wrote=_wrote(settings, AGENTS[2:]),
    )


def _shadow(settings: Settings) -> Step:
    return Step(
        agent="shadow",
        topic=settings.topics.shadows,
        routes=("audits",),
        batch_records=min(settings.remote.batch_size, _SHADOWS_AT_ONCE),
        batch_wait_s=settings.remote.batch_wait_ms / 1000,
        runs_user_code=False,
        facts=facts_of,
        unreadable=_of_another_version,
        wrote=_wrote(settings, _AFTER_SHADOWS),
    )


def _wrote(settings: Settings, agents: Collection[StepName]) -> Callable[[Incoming], bool]:
    """Whether one of these agents wrote an outcome, of a request of this pipeline's own."""
    topics = settings.topics

    def wrote(record: Incoming) -> bool:
        try:
            source, writer = (_of_result if record.topic == topics.results else _of_facts)(record)
        except (msgspec.DecodeError, InvalidRequest):
            return False  # somebody else's record
        forwarders = {topics.doubtful: "local", topics.answers: "remote", topics.batched: "remote"}
        forwarder = forwarders.get(record.topic, writer)
        return source.topic == topics.requests and forwarder in agents

    return wrote


def _of_result(record: Incoming) -> tuple[Source, str]:
    value = record.value or b""
    source, asked = head_of(value) if is_avro(value) else _head(decode_result(value))
    return source, "remote_supervisor" if asked else "local"


def _head(result: Result) -> tuple[Source, bool]:
    return result.source, result.answered_by == "remote" or result.remote is not None


def _of_facts(record: Incoming) -> tuple[Source, str]:
    facts = decode_facts(record)
    return facts.source, facts.agent


def accepts_local(settings: Settings) -> frozenset[Reason]:
    """For which reasons the local answer is taken without trust, where no call was made."""
    switched_on = {
        "remote_error": settings.remote.while_open == "accept_local",
        "budget": settings.budget.limited and settings.budget.when_spent == "accept_local",
    }
    return frozenset(get_args(Reason)) & {reason for reason, on in switched_on.items() if on}


def parse_agents(text: str) -> tuple[tuple[AgentName, ...], list[str]]:
    """The agents named in `text`, in the order records meet them, and what is wrong with it."""
    named = [name.strip().replace("-", "_") for name in text.split(",") if name.strip()]
    unknown = [name for name in named if name not in AGENTS]
    faults = []
    if unknown or not named:
        got = f" (got {', '.join(map(repr, unknown))})" if unknown else ""
        faults.append(f"--agents: must be some of {', '.join(AGENTS)}{got}")
    return tuple(name for name in AGENTS if name in named), faults


# what they read


def request_facts(record: Incoming) -> Facts:
    """Of a request nothing is known but where it came from and when; facts on it are from another life."""
    return Facts(source_of(record), requested_ms=request_ms(record))


def _of_another_version(record: Incoming) -> str | None:
    version = foreign_version(record)
    if version is None:
        return None
    return (
        f"the record is of version {version}, and this worker reads {VERSION} and its neighbours; nothing is lost: it "
        "waits for a worker that reads it. Workers are upgraded one record version at a time (docs/interfaces.md)"
    )


# groups and topics


def group_of(settings: Settings, agent: StepName) -> str:
    """The consumer group of an agent; its transactional ids begin with it."""
    return f"{settings.name}-{agent.replace('_', '-')}"


def read_by(settings: Settings, step: Step) -> list[str]:
    """The topics that a worker cannot do without reading."""
    log = [settings.topics.batches] if step.agent == "bulk" else []
    return [step.topic, *log, *([settings.topics.thresholds] if judges(settings, step.agent) else [])]


def auditor_group(settings: Settings) -> str:
    """The consumer group of the auditor, which is its transactional id as well."""
    return f"{settings.name}-auditor"


def single_partition(settings: Settings) -> frozenset[str]:
    """The topics that have one partition, for their order."""
    topics = settings.topics
    return frozenset((topics.budget, topics.labels, topics.trust, topics.thresholds))


def topics_of(settings: Settings, step: Step) -> list[str]:
    """The topics a step reads and writes."""
    budget = [settings.topics.budget] if step.agent == "remote" and settings.budget.limited else []
    log = [settings.topics.batches] if step.agent == "bulk" else []
    return [*read_by(settings, step), *budget, *log, *(settings.topics.name_of(route) for route in step.routes)]


def judges(settings: Settings, agent: StepName) -> bool:
    """This agent judges by thresholds, whose versions are followed."""
    return settings.follows and agent not in ("remote", "bulk")


def topic_configs(settings: Settings) -> dict[str, dict[str, str]]:
    """How each topic is configured, by its name, as the broker spells it."""
    topics = settings.topics
    shared = {
        "min.insync.replicas": str(topics.min_insync_replicas),
        "retention.ms": str(round(topics.retention_hours * _MS_PER_HOUR)),
        "max.message.bytes": str(topics.max_message_bytes),
    }
    # their records are kept for as long as they wait there, however old their request is: its time is in the facts
    waiting = shared | {APPEND_TIME: "LogAppendTime"}
    # nothing here is the latest value of a key: a compacted internal topic would drop records not yet read
    internal = waiting | {"cleanup.policy": "delete"}
    configs = {
        topics.requests: shared,
        topics.doubtful: internal,
        topics.answers: internal,
        topics.results: shared,
        topics.fallback: waiting,
    }
    if settings.audit.on:
        kept = {"retention.ms": str(round(settings.audit.retention_hours * _MS_PER_HOUR))}
        configs |= dict.fromkeys((topics.audits, topics.labels, topics.trust), internal | kept)
    if settings.audit.shadow_share:
        configs[topics.shadows] = internal
    if settings.remote.batches:
        configs |= dict.fromkeys((topics.batched, topics.batches), internal)
    if settings.follows:
        # keys are versions, each written once: compaction keeps all of them, and none is ever too old
        configs[topics.thresholds] = waiting | {"cleanup.policy": "compact", "retention.ms": "-1"}
    if settings.budget.limited:
        # its own time is, besides, a witness of which period it is
        configs[topics.budget] = internal | {"retention.ms": str(_BUDGET_HOURS * _MS_PER_HOUR)}
    return configs
