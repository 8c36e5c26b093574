"""Writing a version into the topic: read all of it, choose, write, and read back whether it took effect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from ...agents.terms import Ladder
from ...schemas.errors import BiSupervisedError
from ...schemas.versions import ThresholdsEntry, decode_version, encode_version
from ..kafka.errors import BrokerUnreachable, denial
from ..settings.broker import connection
from ..settings.tables import Settings
from ..topics.reading import partitions_of, read_to_the_end, reader
from .fold import Standing, fold

log = logging.getLogger(__name__)

#: seconds until what was written must be readable: an auditor's transaction may be open before it
_READ_BACK_S = 60.0


class Outrun(BiSupervisedError):
    """The entry is void: somebody else was quicker. The message says who, and what is in force."""


async def read_versions(settings: Settings) -> list[ThresholdsEntry]:
    """All entries, in the topic's order. What is none is passed over. Raises `BrokerUnreachable`, `TopicMissing`."""
    places = await partitions_of(settings, settings.topics.thresholds)
    async with reader(settings, places[:1]) as consumer:
        return await _read(consumer, places[0])


async def append(
    settings: Settings, ladder: Ladder, choose: Callable[[Standing], ThresholdsEntry]
) -> tuple[ThresholdsEntry, Standing]:
    """Write what is chosen after what is in force. Returns it, and what the topic says then.

    Raises `Outrun` where another entry was quicker, `BrokerUnreachable`, `NotAllowed` and `TopicMissing`.
    """
    place = (await partitions_of(settings, settings.topics.thresholds))[0]
    async with reader(settings, [place]) as consumer:
        entry = choose(fold(await _read(consumer, place), settings.name, ladder))
        await _write(settings, place, entry)
        standing = await _read_back(consumer, place, settings, ladder, entry)
    if entry not in standing.chain:
        raise Outrun(_outrun(standing))
    return entry, standing


async def _read(consumer: AIOKafkaConsumer, place: TopicPartition) -> list[ThresholdsEntry]:
    found: list[ThresholdsEntry] = []

    def take(record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        try:
            found.append(decode_version(record.value or b""))
        except msgspec.DecodeError as error:
            log.warning("offset %d is passed over: %s", record.offset, error, extra={"action": "version_unreadable"})

    await read_to_the_end(consumer, [place], {place.topic: take})
    return found


async def _write(settings: Settings, place: TopicPartition, entry: ThresholdsEntry) -> None:
    """Once: were it not known whether it is there, a second one under the same name could stand behind another."""
    timeout_ms = round(settings.kafka.request_timeout_s * 1000)
    options = connection(settings.kafka).options()
    producer = AIOKafkaProducer(**options, enable_idempotence=True, acks="all", request_timeout_ms=timeout_ms)
    try:
        async with asyncio.timeout(settings.stream.watchdog_s), producer:
            await producer.send_and_wait(
                place.topic, encode_version(entry), entry.version.encode(), partition=place.partition
            )
    except (KafkaError, OSError, TimeoutError) as error:
        if denied := denial(error, writes=place.topic):
            raise denied from error
        raise BrokerUnreachable(
            f"it is not known whether version {entry.version} was written: {error!r}; `bisupervised audit history` says"
        ) from error


async def _read_back(
    consumer: AIOKafkaConsumer, place: TopicPartition, settings: Settings, ladder: Ladder, entry: ThresholdsEntry
) -> Standing:
    try:
        async with asyncio.timeout(_READ_BACK_S):
            while True:
                standing = fold(await _read(consumer, place), settings.name, ladder)
                if entry in [one for one, _ in standing.fates]:
                    return standing
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise BrokerUnreachable(
            f"version {entry.version} was written and cannot be read yet: somebody has a transaction open on "
            f"{place.topic}; `bisupervised audit history` says whether it took effect"
        ) from error


def _outrun(standing: Standing) -> str:
    entry = standing.entry
    who = f"{entry.by} was quicker ({entry.reason}, rung {entry.rung})" if entry else "somebody was quicker"
    return (
        f"nothing was changed: {who}; version {standing.version} is in force. Look at it, and say it again if need be"
    )
