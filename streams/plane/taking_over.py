"""Taking a partition over: fence the former owner, read what it committed, and believe it only where it can be true.

The order matters. A producer that is opened fences whoever had the partition; what is read before that may still
change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiokafka import TopicPartition

from ...schemas.errors import BiSupervisedError
from ..kafka.errors import Lost, Unsettled
from .sending.coordinator import Coordination
from .sending.outbox import Outbox
from .window.marks import Progress

#: what a person does about an offset that a transaction holds for ever
_END_IT = (
    "find it with `kafka-transactions.sh find-hanging` and end it with `kafka-transactions.sh abort`: then the offset "
    "before it counts again, and outcomes since then may come twice"
)


class PartitionStopped(BiSupervisedError):
    """This partition cannot go on without a person. The others go on."""


@dataclass(slots=True)
class TakingOver:
    """What one owner of a partition knows of its committed progress, and so may believe."""

    tp: TopicPartition
    outbox: Outbox
    coordinator: Coordination
    first_offset: Callable[[TopicPartition], Awaitable[int]]  #: where a group begins that has never committed
    clock: Callable[[], float]
    missing_s: float  #: seconds for which a committed offset may be missing before the partition is stopped
    recoveries: int = 0  #: times a lost producer was opened again
    _own_commit: int | None = None  # the last offset that this owner committed
    _missing_since: float | None = None

    async def begin(self) -> Progress:
        """Become the owner. Returns where to begin, with the id of the topic as it is now.

        Raises `Lost`, `MarksError` and `PartitionStopped`.
        """
        await self.outbox.open()
        topic_id = await self.coordinator.topic_id(self.tp.topic)
        stored = await self.stored() or Progress(await self.first_offset(self.tp))
        if stored.topic_id and topic_id and stored.topic_id != topic_id:
            raise PartitionStopped(
                f"the committed offset {stored.offset} belongs to another topic of the name {self.tp.topic!r}, "
                "which was deleted; reset the group's offsets to begin with this one"
            )
        return Progress(stored.offset, stored.done, stored.phase, topic_id)

    async def again(self) -> Progress | None:
        """Open the lost producer again. Returns what is committed. Raises as `begin`."""
        await self.outbox.open()
        return await self.stored()

    def committed(self, offset: int) -> None:
        """This owner committed so far: the broker cannot know less."""
        self._own_commit = offset

    async def stored(self) -> Progress | None:
        """What is committed; None for a group that never committed.

        After a broker's crash under load, a coordinator was seen (Kafka 4.4.0) to say for a while that nothing is
        committed. Where somebody owned the partition before, or this owner committed more, that is not believed. Nor
        is an offset that an open transaction may still change. It is asked for again; after `missing_s` the partition
        stops.
        """
        try:
            stored = await self.coordinator.progress(self.tp)
        except Unsettled as error:
            raise self._not_believed(str(error), _END_IT) from error
        fault = self._disbelief(stored)
        if fault is not None:
            raise self._not_believed(fault, "reset the group's offsets to say where to begin")
        self._missing_since = None
        return stored

    def _not_believed(self, fault: str, advice: str) -> Lost | PartitionStopped:
        """To be asked again, or no more."""
        now = self.clock()
        self._missing_since = self._missing_since or now
        if now - self._missing_since > self.missing_s:
            return PartitionStopped(f"{fault}; {advice}")
        return Lost(fault)

    def _disbelief(self, stored: Progress | None) -> str | None:
        """Why what the broker says is committed cannot be all of it; None when it can."""
        if stored is None and (self._own_commit is not None or self.outbox.used_before):
            return "no offset is committed, though this partition was owned before"
        if stored is not None and self._own_commit is not None and stored.offset < self._own_commit:
            return f"offset {stored.offset} is committed, though {self._own_commit} was before"
        return None
