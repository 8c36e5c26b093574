"""Running a replay on the broker: a snapshot first, then step after step, each one transaction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from ...schemas.codec import facts_of
from ...schemas.records import Source
from ..kafka.consumer import Doubts
from ..settings.secret import secret
from ..settings.tables import Settings
from ..topics.admin import admin_of
from ..topics.keeping import keeping
from ..topics.reading import all_ended, partitions_of, read_at, reader, some_records
from .job import Job, Send
from .replay import (
    Counts,
    Mark,
    ReplayError,
    ReplayOptions,
    Taken,
    again,
    decode_mark,
    encode_mark,
    is_its_request,
    take,
)

#: records in one transaction, at most
_STEP_RECORDS = 500

Marks = dict[TopicPartition, tuple[int, Mark]]


@dataclass(slots=True)
class Replay:
    """How far a replay has come. `marks`: the offset of each partition and what is kept beside it."""

    name: str
    marks: Marks
    options: ReplayOptions
    targets: int  #: partitions of the topic it sends to
    resumed: bool  #: a former run of the name began it
    finished: bool = False  #: this run found nothing left to do
    audit_secret: bytes | None = field(default=None, repr=False)  #: that of `[audit]`; None for none
    oldest_ms: int = 0  #: what is older gets the time of now, milliseconds since epoch
    steps: int = field(default=0)  #: transactions of this run

    @property
    def counts(self) -> Counts:
        """Over all partitions."""
        total = Counts()
        for _, mark in self.marks.values():
            total = total.plus(mark.counts)
        return total

    @property
    def room(self) -> int | None:
        """Replays left of the limit; None without one."""
        return None if self.options.limit is None else max(0, self.options.limit - self.counts.replayed)

    @property
    def left(self) -> list[TopicPartition]:
        """Partitions with records of the snapshot still to come; none once the limit is reached."""
        return [] if self.room == 0 else [place for place, (at, mark) in self.marks.items() if at < mark.end]

    @property
    def size(self) -> int:
        """Offsets still to come."""
        return sum(mark.end - at for at, mark in self.marks.values())


def group_of_replay(settings: Settings, name: str) -> str:
    """The consumer group of a replay, and its transactional id."""
    return f"{settings.name}-replay-{name}"


async def run_replay(
    settings: Settings,
    name: str,
    options: ReplayOptions,
    *,
    dry_run: bool,
    watch: Callable[[Replay], object] = lambda _: None,
) -> Replay:
    """Finish the replay of this name, or begin it. A dry run reads and counts the same, and writes nothing.

    Raises `ReplayError` where the name belongs to another replay, `JobError`, `BrokerUnreachable`, `TopicMissing`.
    """
    places = await partitions_of(settings, settings.topics.fallback)
    targets = len(await partitions_of(settings, options.to))
    own_ms = await _own_ms(settings, options.to)
    job = Job(settings, group_of_replay(settings, name), places, options.to, own_ms)
    try:
        begin = _Beginning(settings, name, options, places, targets, await job.topic_id(settings.topics.fallback))
        replay = await begin.after(await job.committed())  # other options are refused before a run is ended
        if not (dry_run or await _finished(settings, replay)):
            replay = await begin.after(await job.open())  # a former run commits nothing from here on
            if not replay.resumed:
                await job.commit([], _offsets(replay.marks))
        if not replay.left:
            replay.finished = True
            return replay
        replay.oldest_ms = round(time.time() * 1000) - own_ms
        replay.audit_secret = _audit_secret(settings)
        async with reader(settings, ()) as originals, _snapshot_reader(settings, replay) as consumer:
            for place, (at, _) in replay.marks.items():
                consumer.seek(place, at)
            found = _Originals(originals, settings.topics.requests, await job.topic_id(settings.topics.requests))
            doubts = Doubts()
            while replay.left:
                watch(replay)
                await _step(replay, consumer, doubts, found, None if dry_run else job)
        watch(replay)
    finally:
        await job.close()
    return replay


def _audit_secret(settings: Settings) -> bytes | None:
    word = secret(settings.audit, "secret") if settings.audit.on else None
    return None if word is None else word.encode()


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Where a run of a name begins."""

    settings: Settings
    name: str
    options: ReplayOptions
    places: list[TopicPartition]  #: of the fallback topic
    targets: int  #: partitions of the topic it sends to
    topic_id: str  #: of the fallback topic

    async def after(self, committed: Mapping[TopicPartition, OffsetAndMetadata]) -> Replay:
        """Where a former run came to, or a fresh snapshot where nothing is committed. Raises `ReplayError`."""
        name, options = self.name, self.options
        if not committed:
            marks = await _snapshot(self.settings, self.places, self.topic_id, options)
            return Replay(name, marks, options, self.targets, resumed=False)
        marks = {tp: (at.offset, decode_mark(at.metadata, name)) for tp, at in committed.items()}
        return Replay(name, marks, checked(name, marks, self.topic_id, options), self.targets, resumed=True)


async def _finished(settings: Settings, replay: Replay) -> bool:
    """A former run came to its end, and all that it sent is seen."""
    return replay.resumed and not replay.left and await all_ended(settings, replay.options.to)


def _snapshot_reader(settings: Settings, replay: Replay) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    """It says so where records are gone, instead of passing over them."""
    most = min(_STEP_RECORDS, settings.stream.fetch_records)
    return reader(settings, list(replay.marks), auto_offset_reset="none", max_poll_records=most)


async def _own_ms(settings: Settings, topic: str) -> int:
    """Age up to which a request may bear its own time in this topic."""
    async with admin_of(settings) as admin:
        return (await keeping(admin, settings, [topic]))[topic].own_ms


def checked(name: str, marks: Marks, identity: str, options: ReplayOptions) -> ReplayOptions:
    """The options that the replay was begun with. Raises `ReplayError` where this is another one."""
    kept = next(iter(marks.values()))[1]
    if any(mark.topic_id != identity for _, mark in marks.values()):
        raise ReplayError(f"replay {name!r} was of a fallback topic that is no more: take another name")
    asked = msgspec.structs.replace(options, since_ms=kept.options.since_ms)  # '2h' was meant as of the first run
    if asked != kept.options:
        raise ReplayError(
            f"replay {name!r} was begun as {options_text(kept.options)}: "
            "finish it with the same options, or take another name"
        )
    return kept.options


def options_text(options: ReplayOptions) -> str:
    """The options of a replay, as they are typed."""
    words = [f"--reason {reason}" for reason in options.reasons]
    words += [f"--since {options.since}"] if options.since else []
    words += [f"--limit {options.limit}"] if options.limit is not None else []
    return " ".join([*words, f"--to {options.to}", f"--loops {options.loops}"])


async def _snapshot(settings: Settings, places: list[TopicPartition], identity: str, options: ReplayOptions) -> Marks:
    async with reader(settings, places) as consumer:
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    return {place: (begins[place], Mark(ends[place], identity, options)) for place in places}


def _offsets(marks: Marks) -> dict[TopicPartition, OffsetAndMetadata]:
    return {place: OffsetAndMetadata(at, encode_mark(mark)) for place, (at, mark) in marks.items()}


async def _step(
    replay: Replay, consumer: AIOKafkaConsumer, doubts: Doubts, originals: _Originals, job: Job | None
) -> None:
    """Read some records, send what is chosen, and commit how far that came."""
    left = replay.left
    fetched, deleted = await _fetched(replay, consumer, doubts)
    room, moved, sends = replay.room, {}, []
    for place in left:
        at, mark = replay.marks[place]
        position = await consumer.position(place)
        taken = take(fetched.get(place, ()), position, mark, room)
        ready, left_out = await _ready(taken, originals, replay)
        aged = sum(send.timestamp < replay.oldest_ms for send in ready)
        counts = taken.counts.plus(left_out).plus(Counts(deleted=deleted.get(place, 0), aged=aged))
        room = None if room is None else room - counts.replayed
        if taken.offset > at:
            moved[place] = (taken.offset, msgspec.structs.replace(mark, counts=mark.counts.plus(counts)))
            sends += [(place, send) for send in ready]
        if taken.offset < min(position, mark.end):  # the limit was reached on the way
            consumer.seek(place, taken.offset)
    if moved and job is not None:
        await _commit(job, moved, sends)
        replay.steps += 1
    replay.marks.update(moved)


async def _fetched(
    replay: Replay, consumer: AIOKafkaConsumer, doubts: Doubts
) -> tuple[dict[TopicPartition, Any], Counter[TopicPartition]]:
    """Some records; or how many offsets are gone, and the reader stands behind them."""
    deleted = Counter[TopicPartition]()
    try:
        return await some_records(consumer, {place: replay.marks[place][0] for place in replay.left}, doubts), deleted
    except OffsetOutOfRangeError:
        for place, begin in (await consumer.beginning_offsets(replay.left)).items():
            at, mark = replay.marks[place]
            if begin > at:
                consumer.seek(place, begin)
                deleted[place] = min(begin, mark.end) - at
        if not deleted:  # the topic ends before what was read: no retention does that
            raise
    return {}, deleted


async def _commit(job: Job, moved: Marks, sends: list[tuple[TopicPartition, Send]]) -> None:
    """In one transaction; records that the broker refuses for their size are left out, and counted."""
    while refused := await job.commit([send for _, send in sends], _offsets(moved)):
        for index in refused:
            place = sends[index][0]
            at, mark = moved[place]
            counts = mark.counts.plus(Counts(replayed=-1, refused=1))
            moved[place] = (at, msgspec.structs.replace(mark, counts=counts))
        sends[:] = [pair for index, pair in enumerate(sends) if index not in set(refused)]


async def _ready(taken: Taken, originals: _Originals, replay: Replay) -> tuple[list[Send], Counts]:
    """The chosen records as they are sent, and how many have no value any more, or another's."""
    ready: list[Send] = []
    left_out = Counts()
    for record in taken.chosen:
        original = await originals.of(record)
        if isinstance(original, Counts):
            left_out = left_out.plus(original)
        else:
            options, secret = replay.options, replay.audit_secret
            ready.append(again(record, original, options, replay.name, replay.targets, secret))
    return ready, left_out


#: what is counted instead of a replay: the value is gone, or another request lies in its place
_GONE, _ANOTHER = Counts(replayed=-1, gone=1), Counts(replayed=-1, another=1)


@dataclass(frozen=True, slots=True)
class _Originals:
    """The requests as they lie at their source, for fallback records that could not carry the value."""

    consumer: AIOKafkaConsumer
    requests: str  #: topic of requests
    topic_id: str  #: its id now; a topic that was made anew under the name has another
    doubts: Doubts = field(default_factory=Doubts)  #: about who leads its partitions

    async def of(self, record: Any) -> Any:  # noqa: ANN401  # aiokafka has no types
        """The record to replay: itself, or what lies at its source; where that is not to be had, the `Counts` of it."""
        facts = facts_of(record)
        if facts.value_omitted is None:
            return record
        source: Source = facts.source
        if source.topic != self.requests:  # a fallback record of somebody else's making may name any place
            return _GONE
        if facts.topic_id and self.topic_id and facts.topic_id != self.topic_id:
            return _ANOTHER
        place = TopicPartition(source.topic, source.partition)
        original = await read_at(self.consumer, place, source.offset, self.doubts)
        if original is None:
            return _GONE
        return original if is_its_request(original, record, self.topic_id) else _ANOTHER
