"""The records of `audits` and `labels`, read by offsets: as far as somebody says, or as far as there are any."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from ...schemas.closings import Taken
from ..kafka.client import client_of, is_gone, partitions_for
from ..kafka.consumer import check_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..kafka.connection import Connection

#: milliseconds that one look waits for records
_LOOK_MS = 500
#: bytes fetched of one partition at once
_FETCH_BYTES = 1024 * 1024


class Feed:
    """Committed records, none twice, in the order of their partition."""

    def __init__(self, connection: Connection, audits: str, labels: str) -> None:
        self._audits = audits
        self._labels = TopicPartition(labels, 0)
        self._consumer: Any = AIOKafkaConsumer(  # aiokafka has no types
            **connection.options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        self._waiting: dict[TopicPartition, deque[Any]] = {}
        self._taken: dict[TopicPartition, int] = {}  # what was given out, up to here

    def __repr__(self) -> str:
        return f"<Feed of {self._audits} and {self._labels.topic}, {self.waiting} records wait>"

    async def start(self) -> None:
        """Read both from where they begin. Raises `KafkaError`."""
        await self._consumer.start()
        numbers = await partitions_for(client_of(self._consumer), self._audits)
        places = [*(TopicPartition(self._audits, number) for number in sorted(numbers)), self._labels]
        self._consumer.assign(places)
        await self.seek(await self.begins())

    async def close(self) -> None:
        """Close the connections."""
        await self._consumer.stop()

    @property
    def places(self) -> list[TopicPartition]:
        """All partitions that are read."""
        return sorted(self._consumer.assignment())

    async def grown(self) -> bool:
        """`audits` has more partitions than are read."""
        numbers = await partitions_for(client_of(self._consumer), self._audits)
        return len(numbers) >= len(self.places)

    @property
    def gone(self) -> list[str]:
        """Topics that are not there any more: a client reads on for ever, and nothing comes."""
        client = client_of(self._consumer)
        return [topic for topic in (self._audits, self._labels.topic) if is_gone(client, topic)]

    async def unread(self) -> int:
        """Partitions of `labels` that nobody reads: it needs one, for the order of its records."""
        return len(await partitions_for(client_of(self._consumer), self._labels.topic)) - 1

    async def begins(self) -> Taken:
        """Where both begin."""
        return self._as_taken(await self._consumer.beginning_offsets(self.places))

    async def ends(self) -> Taken:
        """Where both end, as far as it is committed."""
        return self._as_taken(await self._consumer.end_offsets(self.places))

    async def seek(self, to: Taken) -> None:
        """Go on from there. A partition that it does not name is read from its beginning."""
        begins = self._offsets(await self.begins())
        self._taken = begins | self._offsets(to)
        self._waiting = {place: deque() for place in self._taken}
        for place, offset in self._taken.items():
            self._consumer.seek(place, max(offset, begins[place]))

    # as far as there are any

    @property
    def waiting(self) -> int:
        """Records that are read and not given out."""
        return sum(map(len, self._waiting.values()))

    @property
    def waiting_labels(self) -> int:
        """Of these, records of `labels`."""
        return len(self._waiting.get(self._labels, ()))

    async def look(self, places: Sequence[TopicPartition] = (), wait_ms: int = _LOOK_MS) -> None:
        """Read what is there, of these partitions or of all."""
        check_client(self._consumer)
        for place, records in (await self._consumer.getmany(*places, timeout_ms=wait_ms)).items():
            self._waiting[place].extend(records)

    async def lagging(self, ends: Taken) -> list[TopicPartition]:
        """Partitions that are not read up to there."""
        goals = self._offsets(ends)
        return [place for place, goal in goals.items() if await self._consumer.position(place) < goal]

    async def take(self) -> tuple[list[Any], list[Any], Taken]:
        """All records that wait, those of `audits` first; and where what was given out ends."""
        positions = {place: await self._consumer.position(place) for place in self.places}
        audits, labels = self._give(positions)
        return audits, labels, self.taken

    def newest_ms(self, place: TopicPartition) -> int | None:
        """The broker's time of the last record that waits of a partition."""
        waiting = self._waiting[place]
        return waiting[-1].timestamp if waiting else None

    # as far as somebody says

    async def take_to(self, goal: Taken) -> tuple[list[Any], list[Any]]:
        """All records before there; the topics must reach so far."""
        while lagging := await self.lagging(goal):
            await self.look(lagging)
        return self._give(self._offsets(goal))

    @property
    def taken(self) -> Taken:
        """Where what was given out ends."""
        return self._as_taken(self._taken)

    def _give(self, ends: dict[TopicPartition, int]) -> tuple[list[Any], list[Any]]:
        audits: list[Any] = []
        labels: list[Any] = []
        for place in sorted(ends):
            waiting, given = self._waiting[place], labels if place == self._labels else audits
            while waiting and waiting[0].offset < ends[place]:
                given.append(waiting.popleft())
            self._taken[place] = max(self._taken[place], ends[place])
        return audits, labels

    def _offsets(self, taken: Taken) -> dict[TopicPartition, int]:
        audits = {TopicPartition(self._audits, int(number)): offset for number, offset in taken.audits.items()}
        return {**audits, self._labels: taken.labels}

    def _as_taken(self, offsets: dict[TopicPartition, int]) -> Taken:
        audits = {str(place.partition): offset for place, offset in sorted(offsets.items()) if place != self._labels}
        return Taken(audits, offsets[self._labels])
