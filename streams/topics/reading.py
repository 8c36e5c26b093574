"""Reading topics for people and tools: committed records only, no group, nothing left behind on the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from math import ceil
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from ...schemas.errors import BiSupervisedError
from ..kafka.consumer import ASK_AGAIN_S, Doubts
from ..kafka.decompressing import BatchTooLarge, bound_batches
from ..kafka.errors import BrokerUnreachable
from ..settings.broker import connection
from ..settings.tables import Settings
from .admin import admin_of, count_partitions
from .creating import create_command

#: bytes fetched of one partition at once
_FETCH_BYTES = 1024 * 1024


class TopicMissing(BiSupervisedError):
    """A topic is not there. The message names it."""


async def partitions_of(settings: Settings, topic: str) -> list[TopicPartition]:
    """The partitions of a topic. Raises `BrokerUnreachable` and `TopicMissing`."""
    async with admin_of(settings) as admin:
        counted = await count_partitions(admin, [topic])
    if topic not in counted:
        raise TopicMissing(f"there is no topic {topic}: `{create_command(settings)}` makes those of the configuration")
    return [TopicPartition(topic, number) for number in range(counted[topic])]


async def all_ended(settings: Settings, topic: str) -> bool:
    """Whether no record of a topic belongs to a transaction that has not ended: consumers see all of them."""
    places = await partitions_of(settings, topic)
    async with reader(settings, places) as seeing, reader(settings, places, isolation_level="read_uncommitted") as all_:
        return bool(await seeing.end_offsets(places) == await all_.end_offsets(places))


@asynccontextmanager
async def reader(
    settings: Settings, places: Collection[TopicPartition], **options: str | int
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of these partitions, at their beginning. `options` are aiokafka's. Raises `BrokerUnreachable`."""
    bound_batches(settings.stream.window_bytes)
    usual: dict[str, str | int] = {
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": _FETCH_BYTES,
    }
    consumer = AIOKafkaConsumer(**connection(settings.kafka).options(), **(usual | options), enable_auto_commit=False)
    try:
        await consumer.start()
        if places:
            consumer.assign(list(places))
        yield consumer
    except KafkaError as error:
        raise BrokerUnreachable(f"{settings.kafka.bootstrap_servers}: the broker was lost: {error!r}") from error
    finally:
        await consumer.stop()


async def read_all(settings: Settings, topic: str, take: Callable[[Any], object]) -> None:
    """Give every record that the topic holds now to `take`."""
    places = await partitions_of(settings, topic)
    async with reader(settings, places) as consumer:
        await read_to_the_end(consumer, places, {topic: take})


async def read_to_the_end(
    consumer: AIOKafkaConsumer,
    places: Sequence[TopicPartition],
    takes: Mapping[str, Callable[[Any], object]],
    tell: Callable[[int, int], object] = lambda *_: None,
    made: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]] | None = None,
    since_ms: float | None = None,
) -> None:
    """Give every record of these assigned places, from the beginning to where they end now, to what takes those of
    its topic. `tell` hears how many offsets of how many are done. `made` makes of some records what is to be taken.
    `since_ms`: older ones are left out, as far as the broker's index of times tells.
    """
    begins = await _begun(consumer, places, since_ms)
    ends = await consumer.end_offsets(places)
    total = sum(ends[place] - begins[place] for place in places)
    read = dict.fromkeys(places, -1)  # where a leader has no record for a moment, the client begins anew
    while left := sum([max(0, ends[place] - await consumer.position(place)) for place in places]):
        tell(total - left, total)
        for place, records in (await consumer.getmany(timeout_ms=200)).items():
            for record in records if made is None else await made(records):
                if read[place] < record.offset < ends[place]:
                    takes[place.topic](record)
                    read[place] = record.offset


async def _begun(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], since_ms: float | None
) -> dict[TopicPartition, int]:
    if since_ms is not None:
        return await seek_to_time(consumer, places, since_ms)
    await consumer.seek_to_beginning(*places)
    return dict(await consumer.beginning_offsets(places))


async def seek_to_time(
    consumer: AIOKafkaConsumer, places: Collection[TopicPartition], since_ms: float
) -> dict[TopicPartition, int]:
    """Go on, in each place, from the first record that is no older, or from the end. Returns from where."""
    ends = await consumer.end_offsets(places)  # first: what comes between the two questions is not passed over
    found = await consumer.offsets_for_times(dict.fromkeys(places, ceil(max(0.0, since_ms))))
    begins = {place: ends[place] if at is None else int(at.offset) for place, at in found.items()}
    for place, offset in begins.items():
        consumer.seek(place, offset)
    return begins


async def some_records(
    consumer: AIOKafkaConsumer, at: Mapping[TopicPartition, int], doubts: Doubts
) -> dict[TopicPartition, Any]:
    """Some records of these partitions, from where the consumer stands in each: `at`. It has `auto_offset_reset` none.

    A leader that says it has none there is asked again for a while, before that is believed. Raises
    `OffsetOutOfRangeError`, and stands where it stood.
    """
    try:
        return dict(await consumer.getmany(*at, timeout_ms=200))
    except OffsetOutOfRangeError as error:
        for tp, offset in at.items():  # a fetch that raised may have dropped another partition's records
            consumer.seek(tp, offset)
        if not _doubted(doubts, list(error.args[0])):
            raise
    await asyncio.sleep(ASK_AGAIN_S)
    return {}


def _doubted(doubts: Doubts, denied: Sequence[TopicPartition]) -> bool:
    now = asyncio.get_running_loop().time()
    for tp in denied:
        doubts.first(tp, now)
    return any(doubts.doubted(tp) for tp in denied)


async def read_at(
    consumer: AIOKafkaConsumer,
    place: TopicPartition,
    offset: int,
    doubts: Doubts | None = None,
) -> Any:  # noqa: ANN401  # aiokafka has no types
    """The one record at an offset; None where it is not there any more, or in a batch that unpacks to too much.

    A leader that says its partition ends before is asked again for a while. `doubts`: what is known of leaders from
    one record to the next.
    """
    doubts = Doubts() if doubts is None else doubts
    consumer.assign([place])
    while True:
        begin, end = (await consumer.beginning_offsets([place]))[place], (await consumer.end_offsets([place]))[place]
        if begin <= offset < end:
            break
        if offset < begin or not _doubted(doubts, [place]):
            return None
        await asyncio.sleep(ASK_AGAIN_S)
    consumer.seek(place, offset)
    while await consumer.position(place) <= offset:
        try:
            found = await consumer.getmany(place, timeout_ms=200, max_records=1)
        except BatchTooLarge:
            return None
        for records in found.values():
            return records[0] if records[0].offset == offset else None
    return None
