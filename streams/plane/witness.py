"""Who worked here before, where no committed offset tells: outcomes outlive the offsets of a group that was stopped.

An output partition bears witness that this agent worked

- where one of its last records is an outcome of this agent: other agents and other pipelines write there, too;
- where it holds no record any more, and retention has deleted some: whoever wrote them is long gone.

A partition that holds nothing but the markers of transactions says nothing: who takes over writes them, too. Nor does
one that the broker does not let us read: its records cannot be told from such markers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from ...schemas.records import Incoming
from ..kafka.errors import Lost
from ..kafka.requests import Bounds

log = logging.getLogger(__name__)

#: offsets at the end of a partition that are looked at
_LOOKED_AT = 1000
#: seconds for one look
_LOOK_S = 10.0
#: milliseconds that a fetch waits for records: of markers, which may be all that is there, it tells nobody
_POLL_MS = 20


class Author(Protocol):
    """Knows which outcomes are its own."""

    def wrote(self, record: Incoming) -> bool:
        """This record is an outcome of this agent, or of who comes after it."""


async def worked_before(
    reachable: Mapping[TopicPartition, Bounds], make_reader: Callable[[], Any], author: Author
) -> bool:
    """Whether outcomes in these partitions tell that this agent worked. Raises `Lost`."""
    if any(0 < begin == end for begin, end in reachable.values()):
        return True
    ranges = {tp: (max(begin, end - _LOOKED_AT), end) for tp, (begin, end) in reachable.items() if end}
    try:
        async with asyncio.timeout(_LOOK_S):
            for topic in sorted({tp.topic for tp in ranges}):
                places = {tp: bounds for tp, bounds in ranges.items() if tp.topic == topic}
                if await _tells(topic, make_reader(), places, author.wrote):
                    return True
            return False
    except (KafkaError, TimeoutError) as error:
        raise Lost(f"the broker does not tell which outcomes there are: {error!r}") from error


async def _tells(
    topic: str,
    reader: Any,  # noqa: ANN401  # AIOKafkaConsumer, which has no types
    ranges: dict[TopicPartition, tuple[int, int]],
    wrote: Callable[[Incoming], bool],
) -> bool:
    try:
        return await _any(reader, ranges, wrote)
    except TopicAuthorizationFailedError:
        text = "%s may not be read: whether its outcomes are older than the group's offsets is not known"
        log.info(text, topic, extra={"action": "outcomes_unreadable"})
        return False


async def _any(
    reader: Any,  # noqa: ANN401  # as above
    ranges: dict[TopicPartition, tuple[int, int]],
    wrote: Callable[[Incoming], bool],
) -> bool:
    """Whether a record in these ranges of offsets is one that the agent wrote."""
    try:
        await reader.start()
        reader.assign(list(ranges))
        for tp, (begin, _) in ranges.items():
            reader.seek(tp, begin)
        while [tp for tp, (_, end) in ranges.items() if await reader.position(tp) < end]:
            for records in (await reader.getmany(timeout_ms=_POLL_MS)).values():
                if any(wrote(record) for record in records):
                    return True
        return False
    finally:
        await reader.stop()
