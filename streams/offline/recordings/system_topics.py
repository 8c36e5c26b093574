"""Reading `results`, `answers` and `fallback` of a running system to where they end now: committed records only.

The records of one input share the source of its request, by which callers join them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiokafka import TopicPartition

from ....schemas.codec import decode_facts, decode_result
from ....schemas.errors import InvalidRequest
from ....schemas.records import Facts, Result
from ...console.output import progress_bar, progress_console
from ...console.signals import run_coroutine
from ...events.results import ResultsAsJson
from ...settings.tables import Settings
from ...topics.admin import admin_of, count_partitions
from ...topics.reading import TopicMissing, read_to_the_end, reader

#: by topic: what takes a record of it; aiokafka has no types
Takers = Mapping[str, Callable[[Any], None]]


def read_with_progress(settings: Settings, takers: Takers) -> None:
    """Read the topics, with a progress bar. Raises as `read_topics` does."""
    with progress_bar(progress_console()) as bar:
        reading = bar.add_task("offsets", total=None)
        run_coroutine(read_topics(settings, takers, lambda n, of: bar.update(reading, completed=n, total=of)))


async def read_topics(
    settings: Settings, takers: Takers, progress: Callable[[int, int], object] = lambda *_: None
) -> None:
    """Give every record of these topics to its taker. `progress` is called with the offsets done and all offsets.

    Raises `BrokerUnreachable`, `TopicMissing`, and `BiSupervisedError` where the schema registry is away.
    """
    async with admin_of(settings) as admin:
        partitions = await count_partitions(admin, takers)
    missing = sorted(takers.keys() - partitions.keys())
    if missing:
        raise TopicMissing(f"there is no topic {', '.join(missing)}: is this the configuration of the system?")
    places = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    async with reader(settings, places) as consumer:
        await read_to_the_end(consumer, places, takers, progress, ResultsAsJson(settings).of)


def result_in(record: Any) -> Result | None:  # noqa: ANN401  # aiokafka has no types
    """The result in a record of `results`; None where the record is not of this system."""
    try:
        return decode_result(record.value or b"")
    except msgspec.DecodeError:
        return None


def facts_in(record: Any) -> Facts | None:  # noqa: ANN401  # aiokafka has no types
    """The facts in a record of `answers` or `fallback`; None where the record is not of this system."""
    try:
        return decode_facts(record)
    except InvalidRequest:
        return None
