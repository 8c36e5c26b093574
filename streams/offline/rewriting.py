"""Rewriting a topic of the system into others, exactly once: each record gets one outcome, even if the run is killed.

A run has a consumer group of its own, named after what it does. As in the stream, outcomes and progress are committed
in one transaction for each partition. The run stops where the topic ended when it began. The same command goes on
from what is committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ...schemas.errors import BiSupervisedError, ConfigurationError
from ...schemas.records import Incoming, Outgoing, Route
from ..kafka.errors import Lost, OutboxError, RecordsRefused
from ..kafka.sender import OutboxPolicy, until_answered
from ..plane.sending.coordinator import Coordinator
from ..plane.sending.outbox import ExactlyOnce
from ..plane.sending.routing import Router
from ..plane.window.marks import Progress
from ..settings.broker import connection, outbox_policy
from ..settings.tables import Settings
from ..topics.admin import admin_of, count_partitions, message_bytes
from ..topics.keeping import keeping

#: milliseconds one fetch may wait
_POLL_MS = 200


class RewritingError(BiSupervisedError):
    """The run failed. The message says whether the same command can go on from there."""


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """Where the outcomes go."""

    results: str
    fallback: str

    @property
    def topics(self) -> dict[Route, str]:
        """The topics by route."""
        return {"results": self.results, "fallback": self.fallback}


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What a run does. A run with an equal one continues it."""

    settings: Settings
    source: str  #: topic to read
    name: str  #: names what is done to each record, with a digest of everything that it depends on
    outputs: OutputTopics

    @property
    def group(self) -> str:
        """The consumer group that keeps the progress."""
        parts = " ".join((self.name, self.source, self.outputs.results, self.outputs.fallback))
        return f"{self.settings.name}-{self.name}-{blake2b(parts.encode(), digest_size=6).hexdigest()}"


async def rewrite(run: Rewriting, decide: Callable[[Incoming], Outgoing]) -> dict[str, int]:
    """Send the outcome that `decide` makes of each record. Returns the number of records by topic.

    Raises `ConfigurationError` for missing topics, `BrokerUnreachable`, and `RewritingError`.
    """
    router, partitions = await _prepared(run)
    policy = outbox_policy(run.settings, connection(run.settings.kafka), run.group)
    coordinator = Coordinator(policy.connection, policy.group)
    consumer = AIOKafkaConsumer(
        **policy.connection.options(),
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        max_poll_records=run.settings.stream.fetch_records,
    )
    written: Counter[str] = Counter(dict.fromkeys(run.outputs.topics.values(), 0))
    try:
        async with consumer:
            for partition in range(partitions):
                place = _Place(run, policy, TopicPartition(run.source, partition), consumer, coordinator)
                await place.rewrite(router, decide, written)
    except OutboxError as error:
        raise RewritingError(f"{error}; the same command goes on from there") from error
    except KafkaError as error:
        raise RewritingError(f"{run.source} cannot be read: {error!r}; the same command goes on from there") from error
    finally:
        await coordinator.close()
    return dict(written)


async def _prepared(run: Rewriting) -> tuple[Router, int]:
    """The router of the outcomes, and the number of partitions to read."""
    wanted = [run.source, *run.outputs.topics.values()]
    async with admin_of(run.settings) as admin:
        partitions = await count_partitions(admin, wanted)
        missing = [topic for topic in wanted if topic not in partitions]
        if missing:
            raise ConfigurationError([f"{topic}: the broker has no such topic; make it first" for topic in missing])
        limits = {route: await message_bytes(admin, topic) for route, topic in run.outputs.topics.items()}
        kept = await keeping(admin, run.settings, [run.outputs.results])
    # a fallback record waits for whoever handles it, and gets the time of now
    own_ms = {run.outputs.results: kept[run.outputs.results].own_ms, run.outputs.fallback: 0}
    return Router(run.outputs.topics, run.source, limits, own_ms), partitions[run.source]


@dataclass(frozen=True, slots=True)
class _Place:
    """One partition, from the end of the last run to where the topic ends now."""

    run: Rewriting
    policy: OutboxPolicy
    tp: TopicPartition
    consumer: Any  # AIOKafkaConsumer, which has no types
    coordinator: Coordinator

    async def rewrite(self, router: Router, decide: Callable[[Incoming], Outgoing], written: Counter[str]) -> None:
        self.consumer.assign([self.tp])
        end = (await self.consumer.end_offsets([self.tp]))[self.tp]
        outbox = ExactlyOnce(self.policy, self.tp, router, self.coordinator)
        try:
            begins = await self._opened(outbox)
            self.consumer.seek(self.tp, begins.offset)
            while await self.consumer.position(self.tp) < end:
                fetched = await self.consumer.getmany(self.tp, timeout_ms=_POLL_MS)
                records = [record for record in fetched.get(self.tp, ()) if record.offset < end]
                outcomes = [decide(record) for record in records]
                if outcomes:
                    await self._send(outbox, outcomes, Progress(records[-1].offset + 1, topic_id=begins.topic_id))
                    written.update(router.topics[outcome.to] for outcome in outcomes)
        finally:
            await outbox.close()

    async def _opened(self, outbox: ExactlyOnce) -> Progress:
        """Open the outbox. Returns where to begin. A broker that has just started may need some tries."""

        async def begun() -> Progress:
            await outbox.open()  # before progress is read: from here on another run of the name sends nothing
            return await self._start(outbox)

        start = await until_answered(begun, self.policy.watchdog_s)
        if not outbox.first:
            return start
        # a run that dies in its first transaction can be told from one that has committed
        await outbox.send([], start)
        return await until_answered(begun, self.policy.watchdog_s)

    async def _start(self, outbox: ExactlyOnce) -> Progress:
        """Raises `Lost` where the broker does not know what a run before this one has committed.

        A coordinator that has just started was seen to say for a while that nothing is.
        """
        stored, topic_id = await self.coordinator.progress(self.tp), await self.coordinator.topic_id(self.tp.topic)
        if stored is None and outbox.used_before:
            raise Lost(f"nothing is committed of {self.tp.topic}-{self.tp.partition}, though a run has committed there")
        first: int = (await self.consumer.beginning_offsets([self.tp]))[self.tp]
        if stored is None:
            return Progress(first, topic_id=topic_id)
        if stored.topic_id and topic_id and stored.topic_id != topic_id:
            raise RewritingError(f"{self.tp.topic} was made anew since the last run: delete the group {self.run.group}")
        if stored.offset < first:
            raise RewritingError(
                f"{self.tp.topic}-{self.tp.partition}: records from {stored.offset} to {first} were deleted before "
                f"this run came to them; delete the group {self.run.group} to begin anew"
            )
        return Progress(stored.offset, topic_id=topic_id)

    async def _send(self, outbox: ExactlyOnce, outcomes: Sequence[Outgoing], progress: Progress) -> None:
        try:
            await outbox.send(outcomes, progress)
        except RecordsRefused as error:
            raise RewritingError(
                f"{error}; give {' and '.join(self.run.outputs.topics.values())} the max.message.bytes of the system's "
                "topics, and the same command goes on from there"
            ) from error
