"""What `check --connect` asks the broker: who is there, whether transactions work, what the topics are like."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ..console.output import counted
from ..flow import group_of
from ..kafka.asking import TOO_OLD, capabilities, who_answers
from ..kafka.client import client_of
from ..kafka.errors import BrokerUnreachable
from ..settings.fit import PERIOD_HOURS
from ..settings.fit_batch import KEPT_HOURS
from ..topics.admin import admin_client, configured
from ..topics.creating import create_command
from ..topics.keeping import read_keeping, untimely
from .findings import Finding, fault, note, ok

if TYPE_CHECKING:
    from ..kafka.connection import Connection
    from ..settings.file import Configuration
    from ..settings.tables import Settings

#: internal topics whose records are read once
_UNREAD = ("doubtful", "answers", "shadows", "batched", "batches")
_ROLES = ("requests", "doubtful", "answers", "results", "fallback")
_MS_PER_HOUR = 3_600_000


async def look_at_broker(configuration: Configuration) -> AsyncIterator[Finding]:
    """Whether one answers, what it speaks, and whether it lets us use transactions."""
    settings = configuration.settings
    try:
        async with admin_client(configuration.connection, settings.kafka.request_timeout_s) as admin:
            there, away = await who_answers(client_of(admin))
            able = await capabilities(client_of(admin))
    except BrokerUnreachable as error:
        yield fault("broker", str(error))
        return
    yield ok("broker", f"{len(there)} of {counted(len(there) + len(away), 'broker')} answered: {', '.join(there)}")
    if away:
        yield note("broker", f"no answer from {', '.join(away)}: partitions wait whose only replica is there")
    exactly_once = settings.stream.delivery == "exactly_once"
    if able.exactly_once:
        yield ok("broker", "speaks the protocol of Kafka 2.5 or later")
    elif exactly_once:
        yield fault("broker", TOO_OLD)
        return
    else:
        yield note("broker", 'is older than Kafka 2.5, which is enough for delivery = "at_least_once"')
    if exactly_once and not able.tells_endings:
        text = "is older than Kafka 3.0 and does not say how a transaction ended: where it crashes at the moment of a"
        yield note("broker", f"{text} commit, an answer may come twice or wait for the next one of its partition")
    if exactly_once:
        yield await _transactions(settings, configuration.connection)


async def _transactions(settings: Settings, connection: Connection) -> Finding:
    """Begin one as a worker does, and leave nothing behind but an id that the broker forgets by itself."""
    producer = AIOKafkaProducer(
        **connection.options(),
        # one that a broker with ACLs allows, for it begins as the worker's do; no partition has this one
        transactional_id=f"{group_of(settings, 'local')}:{settings.topics.requests}:check-{uuid.uuid4().hex[:8]}",
        transaction_timeout_ms=round(settings.stream.transaction_timeout_s * 1000),
        request_timeout_ms=round(settings.kafka.request_timeout_s * 1000),
    )
    try:
        async with asyncio.timeout(settings.kafka.request_timeout_s):
            await producer.start()
            await producer.begin_transaction()
            await producer.abort_transaction()
    except (KafkaError, OSError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        return fault("broker", f'transactions do not work: {why}; [stream] delivery = "at_least_once" needs none')
    finally:
        await producer.stop()
    return ok("broker", "transactions work")


@dataclass(frozen=True, slots=True)
class _Topic:
    """What the broker says of one."""

    role: str
    name: str
    partitions: int
    replicas: int  #: of the partition that has fewest
    configs: Mapping[str, str]

    def number(self, config: str, default: int) -> int:
        return int(self.configs.get(config, default))


async def look_at_topics(configuration: Configuration) -> AsyncIterator[Finding]:
    """Whether all are there, and fit each other and the settings."""
    settings = configuration.settings
    roles = roles_of(settings)
    names = {role: getattr(settings.topics, role) for role in roles}
    try:
        async with admin_client(configuration.connection, settings.kafka.request_timeout_s) as admin:
            topics = await _describe(admin, names)
    except BrokerUnreachable:
        yield fault("topics", "could not be looked at: no broker answers")
        return
    for role in (role for role in roles if role not in topics):
        yield fault("topics", f"{names[role]}: is missing; make it: {create_command(settings)}")
    for topic in topics.values():
        notes = _notes(topic, topics, settings) if topic.role in _ROLES else ()
        found = [*_faults(topic, settings), *notes]
        for finding in found:
            yield finding
        if not found:
            yield ok("topics", f"{topic.name}: {counted(topic.partitions, 'partition')}")
    if "doubtful" in topics:
        for finding in _fewer_calls(topics["doubtful"], settings):
            yield finding


def roles_of(settings: Settings) -> tuple[str, ...]:
    """The topics that these settings need, by what they are for."""
    budget = ("budget",) if settings.budget.limited else ()
    audit = ("audits", "labels", "trust") if settings.audit.on else ()
    shadows = ("shadows",) if settings.audit.shadow_share else ()
    batches = ("batched", "batches") if settings.remote.batches else ()
    versions = ("thresholds",) if settings.follows else ()
    return (*_ROLES, *budget, *audit, *shadows, *batches, *versions)


async def _describe(admin: Any, names: Mapping[str, str]) -> dict[str, _Topic]:  # noqa: ANN401  # aiokafka has no types
    there = set(await admin.list_topics())  # first: asking about a missing topic may make it
    roles = {name: role for role, name in names.items() if name in there}
    described = await admin.describe_topics(list(roles)) if roles else []
    configs = {name: await configured(admin, name) for name in roles}
    found = {}
    for topic in described:
        name, partitions = topic["topic"], topic["partitions"]
        replicas = min((len(partition["replicas"]) for partition in partitions), default=0)
        found[roles[name]] = _Topic(roles[name], name, len(partitions), replicas, configs[name])
    return {role: found[role] for role in names if role in found}


def _faults(topic: _Topic, settings: Settings) -> Iterator[Finding]:
    insync = topic.number("min.insync.replicas", 1)
    if topic.replicas < insync:
        text = f"{topic.name}: {counted(topic.replicas, 'replica')}, and min.insync.replicas = {insync}: "
        yield fault("topics", text + "nothing can be written to it")
    if topic.role in _UNREAD and "compact" in topic.configs.get("cleanup.policy", ""):
        text = f"{topic.name}: cleanup.policy = compact would drop records that are not yet read; "
        yield fault("topics", text + "set it to delete")
    if topic.role in ("results", "fallback") and "compact" in topic.configs.get("cleanup.policy", ""):
        text = f"{topic.name}: cleanup.policy = compact refuses records without a key, and keeps only the last record "
        yield fault("topics", text + "of each key; set it to delete")
    if name_it := untimely(settings, {topic.name: read_keeping(topic.configs)}).get(topic.name):
        yield note("topics", name_it)
    if topic.role == "doubtful":
        yield from _waiting(topic, settings)
    if topic.role == "budget":
        yield from _forgetting(topic, settings)
    if topic.role == "shadows":
        yield from _unasked(topic, settings)
    if topic.role in ("batched", "batches"):
        yield from _unanswered(topic, settings)
    if topic.role in ("audits", "labels", "trust"):
        yield from _unaudited(topic, settings)
    if topic.role == "thresholds":
        yield from _unversioned(topic)
    largest = topic.number("max.message.bytes", settings.topics.max_message_bytes)
    if largest > settings.stream.window_bytes:
        text = f"{topic.name}: max.message.bytes = {largest} is more than [stream] window_bytes = "
        yield fault("topics", f"{text}{settings.stream.window_bytes}")


def _waiting(topic: _Topic, settings: Settings) -> Iterator[Finding]:
    """What waits for the remote, or for the budget's next period, must not be deleted meanwhile."""
    kept_ms, budget = topic.number("retention.ms", -1), settings.budget
    if kept_ms < 0:
        return
    hours = kept_ms / _MS_PER_HOUR
    raises = f"raise its retention.ms (kafka-configs.sh --alter --entity-type topics --entity-name {topic.name})"
    if budget.limited and budget.when_spent == "wait" and hours <= PERIOD_HOURS[budget.per]:
        text = f"{topic.name}: keeps records for {hours:g} hours, and a spent budget makes them wait for up to "
        yield fault(
            "topics", f"{text}{PERIOD_HOURS[budget.per]} (a {budget.per}): {raises}, or take another when_spent"
        )
    waits_s = max(settings.remote.terminal_cool_down_s, settings.remote.deadline_s)
    if settings.remote.while_open == "wait" and hours * 3600 <= waits_s:
        text = f"{topic.name}: keeps records for {hours:g} hours, and a remote that is down is asked again after "
        yield fault("topics", f"{text}{waits_s:g} s: {raises}")


def _forgetting(topic: _Topic, settings: Settings) -> Iterator[Finding]:
    """What is spent must be known until its period ends."""
    if "compact" in topic.configs.get("cleanup.policy", ""):
        yield fault("topics", f"{topic.name}: cleanup.policy = compact would forget what is spent; set it to delete")
    kept_ms = topic.number("retention.ms", -1)
    if 0 <= kept_ms < PERIOD_HOURS[settings.budget.per] * _MS_PER_HOUR:
        text = f"{topic.name}: keeps records for {kept_ms / _MS_PER_HOUR:g} hours, less than a {settings.budget.per}: "
        yield fault("topics", text + "what is spent would be forgotten")


def _unasked(topic: _Topic, settings: Settings) -> Iterator[Finding]:
    """A shadow must be there until its time is over: what is deleted before has no record in `audits`."""
    kept_ms, waits = topic.number("retention.ms", -1), settings.audit.shadow_within_hours
    if 0 <= kept_ms <= round(waits * _MS_PER_HOUR):
        text = f"{topic.name}: keeps records for {kept_ms / _MS_PER_HOUR:g} hours, and the remote is asked about them "
        yield fault("topics", f"{text}within {waits:g}, says [audit] shadow_within_hours: lower that, or keep longer")


def _unanswered(topic: _Topic, settings: Settings) -> Iterator[Finding]:
    """What is in a batch is read again when it ends, and its log until then."""
    kept_ms = topic.number("retention.ms", -1)
    if 0 <= kept_ms <= KEPT_HOURS * _MS_PER_HOUR:
        text = (
            f"{topic.name}: keeps records for {kept_ms / _MS_PER_HOUR:g} hours, and a batch needs them for more than "
        )
        yield fault("topics", f"{text}{KEPT_HOURS}: raise its retention.ms")
    partitions = settings.topics.partitions
    if topic.role == "batches" and topic.partitions < partitions:
        text = f"{topic.name}: {counted(topic.partitions, 'partition')}, and each of {partitions} of "
        yield fault("topics", f"{text}{settings.topics.batched} needs the one of its number: add some")


def _unaudited(topic: _Topic, settings: Settings) -> Iterator[Finding]:
    """An audit counts what its topics hold."""
    if "compact" in topic.configs.get("cleanup.policy", ""):
        text = f"{topic.name}: cleanup.policy = compact would drop what an audit counts; set it to delete"
        yield fault("topics", text)
    kept_ms, wanted = topic.number("retention.ms", -1), settings.audit.retention_hours
    if 0 <= kept_ms < round(wanted * _MS_PER_HOUR):
        text = f"{topic.name}: keeps records for {kept_ms / _MS_PER_HOUR:g} hours, [audit] retention_hours says "
        yield note("topics", f"{text}{wanted:g}: what is older is not in the report")
    if topic.role != "audits" and topic.partitions != 1:
        text = f"{topic.name}: {counted(topic.partitions, 'partition')}, and it needs one, for the order of its records"
        yield fault("topics", text)


def _unversioned(topic: _Topic) -> Iterator[Finding]:
    """What is in force follows from the whole of this topic."""
    if topic.partitions != 1:
        text = f"{topic.name}: {counted(topic.partitions, 'partition')}, and versions need one, for their order"
        yield fault("topics", text)
    policy, kept_ms = topic.configs.get("cleanup.policy", "delete"), topic.number("retention.ms", -1)
    if "delete" in policy and kept_ms >= 0:
        text = f"{topic.name}: forgets records after {kept_ms / _MS_PER_HOUR:g} hours, and with them which version is "
        yield fault("topics", text + "in force; set its cleanup.policy to compact")


def _notes(topic: _Topic, topics: Mapping[str, _Topic], settings: Settings) -> Iterator[Finding]:
    wanted = settings.topics
    first = topics.get("requests", topic)
    if topic.partitions != first.partitions:
        text = f"{topic.name}: {counted(topic.partitions, 'partition')}, and {first.name} has {first.partitions}: "
        yield note("topics", text + "records change partitions by the hash of their key")
    elif topic.partitions != wanted.partitions:
        text = f"{topic.name}: {counted(topic.partitions, 'partition')}, [topics] partitions says {wanted.partitions}"
        yield note("topics", text)
    kept_ms, wanted_ms = topic.number("retention.ms", -1), round(wanted.retention_hours * _MS_PER_HOUR)
    if 0 <= kept_ms < wanted_ms:
        text = f"{topic.name}: keeps records for {kept_ms / _MS_PER_HOUR:g} hours, [topics] retention_hours says "
        yield note("topics", f"{text}{wanted.retention_hours:g}: what is not read by then is lost")
    accepts, takes = (t.number("max.message.bytes", wanted.max_message_bytes) for t in (topic, first))
    if accepts < takes:
        text = f"{topic.name}: max.message.bytes = {accepts}, and {first.name} takes {takes}: "
        yield note("topics", text + "larger records will fall back as too_large")
    if topic.replicas < wanted.replication_factor:
        text = f"{topic.name}: {counted(topic.replicas, 'replica')}, [topics] replication_factor says "
        yield note("topics", f"{text}{wanted.replication_factor}")


def _fewer_calls(doubtful: _Topic, settings: Settings) -> Iterator[Finding]:
    """A worker has its partitions' share of each limit, and needs at least one call of it."""
    remote = settings.remote
    for key, limit in (("in_flight", remote.in_flight), ("requests_per_minute", remote.requests_per_minute)):
        if 0 < limit < doubtful.partitions:
            text = f"{doubtful.name}: {counted(doubtful.partitions, 'partition')}, and [remote] {key} is only {limit:g}"
            yield fault("topics", text + ": it must be at least as many")
