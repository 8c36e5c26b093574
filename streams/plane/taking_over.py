"""Taking a partition over: fence the former owner, read what it committed, and believe it only where it can be true.

The order matters. A producer that is opened fences whoever had the partition; what is read before that may still
change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import TopicPartition

from ...schemas.errors import BiSupervisedError
from ..kafka.errors import Lost, Unsettled
from ..kafka.requests import Bounds
from .sending.coordinator import Coordination
from .sending.outbox import Outbox
from .standing import name_of
from .window.marks import Progress

log = logging.getLogger(__name__)

#: what a person does about an offset that a transaction holds for ever
_END_IT = (
    "find it with `kafka-transactions.sh find-hanging` and end it with `kafka-transactions.sh abort`: then the offset "
    "before it counts again, and outcomes since then may come twice"
)
#: and about one that is not what it was
_RESET = "reset the group's offsets to say where to begin"
#: and about one that is not there
_SAY_WHERE = (
    "it has expired (offsets.retention.minutes at the broker) or was deleted. Reset the group's offsets to say where "
    "to go on; or start the worker with --begin-anew: then what the topic holds is answered, and paid, again"
)


class PartitionStopped(BiSupervisedError):
    """This partition cannot go on without a person. The others go on."""


class Begins(Protocol):
    """What a partition without a committed offset asks of its plane."""

    @property
    def skips_backlog(self) -> bool:
        """What was there when the group began is passed over."""

    async def worked_before(self, reachable: Sequence[TopicPartition]) -> bool:
        """Outcomes of this agent are in one of these partitions, or were. Raises `Lost`."""


@dataclass(slots=True)
class TakingOver:
    """What one owner of a partition knows of its committed progress, and so may believe."""

    tp: TopicPartition
    outbox: Outbox
    coordinator: Coordination
    begins: Begins  #: where a partition without a committed offset begins
    clock: Callable[[], float]
    missing_s: float  #: seconds for which a committed offset may be missing before the partition is stopped
    begin_anew: bool = False  #: after that it is not stopped but begins, as a person has said
    recoveries: int = 0  #: times a lost producer was opened again
    _own_commit: int | None = None  # the last offset that this owner committed
    _missing_since: float | None = None

    async def begin(self) -> Progress:
        """Become the owner. Returns where to begin, with the id of the topic as it is now.

        Raises `Lost`, `MarksError` and `PartitionStopped`.
        """
        await self.outbox.open()
        topic_id = await self.coordinator.topic_id(self.tp.topic)
        stored = await self.stored() or await self._beginning()
        if stored.topic_id and topic_id and stored.topic_id != topic_id:
            raise PartitionStopped(
                f"the committed offset {stored.offset} belongs to another topic of the name {self.tp.topic!r}, "
                "which was deleted; reset the group's offsets to begin with this one"
            )
        return Progress(stored.offset, stored.done, stored.phase, topic_id, stored.born)

    async def _beginning(self) -> Progress:
        """Where to begin without a committed offset. One that was added to its topic misses nothing.

        Others of the group may have begun a moment ago, in this worker or another: they say how many there were.
        """
        if not self.begins.skips_backlog:  # then all begin alike, and progress reads as it did before version 2
            return Progress((await self._bounds()).begin)
        siblings = await self.coordinator.siblings(self.tp.topic)
        if not siblings:
            there = len(await self.coordinator.partitions_for(self.tp.topic))
            return Progress((await self._bounds()).end, born=max(there, self.tp.partition + 1))
        born = min((each.born for each in siblings.values() if each.born), default=0)
        begin, end = await self._bounds()
        return Progress(begin if self.tp.partition >= born else end, born=born)

    async def _bounds(self) -> Bounds:
        return (await self.coordinator.bounds([self.tp]))[self.tp]

    async def again(self) -> Progress | None:
        """Open the lost producer again. Returns what is committed. Raises as `begin`.

        Only where the group's coordinator answers: who is cut off from it may have lost the partition, and would fence
        its next owner again and again.
        """
        await self.coordinator.siblings(self.tp.topic)
        await self.outbox.open()
        stored = await self.stored()
        if stored is not None:
            await self.outbox.confirm(stored)
        return stored

    def committed(self, offset: int) -> None:
        """This owner committed so far: the broker cannot know less."""
        self._own_commit = offset

    async def stored(self) -> Progress | None:
        """What is committed; None for a group that never committed.

        After a broker's crash under load, a coordinator was seen (Kafka 4.4.0) to say for a while that nothing is
        committed. Where somebody owned the partition before, or this owner committed more, that is not believed. Nor
        is an offset that an open transaction may still change. It is asked for again; after `missing_s` the partition
        stops. Offsets also expire, and the ids of transactions with them: then outcomes tell that somebody worked here.
        """
        try:
            stored = await self.coordinator.progress(self.tp)
        except Unsettled as error:
            raise self._not_believed(str(error), _END_IT) from error
        if fault := await self._missing() if stored is None else self._behind(stored):
            anew = stored is None and self.begin_anew and self._own_commit is None
            told = self._not_believed(fault, _RESET if stored else _SAY_WHERE)
            if isinstance(told, Lost) or not anew:
                raise told
            log.warning("%s: %s; it begins anew", name_of(self.tp), fault, extra={"action": "partition_begins_anew"})
        self._missing_since = None
        return stored

    def _not_believed(self, fault: str, advice: str) -> Lost | PartitionStopped:
        """To be asked again, or no more."""
        now = self.clock()
        self._missing_since = self._missing_since or now
        if now - self._missing_since > self.missing_s:
            return PartitionStopped(f"{fault}; {advice}")
        return Lost(f"{fault}; it is waited for, for {self.missing_s:.0f} s in all")

    async def _missing(self) -> str | None:
        """Why an offset should be committed, though none is; None where nobody was here before."""
        if self._own_commit is not None or self.outbox.used_before:
            return "no offset is committed, though this partition was owned before"
        # where others of the group have one, offsets have not expired
        if await self.coordinator.siblings(self.tp.topic) or not await self.begins.worked_before(self.outbox.reachable):
            return None
        return "no offset is committed for the group, though outcomes of its work are there"

    def _behind(self, stored: Progress) -> str | None:
        """Why what is committed cannot be all of it; None when it can."""
        if self._own_commit is not None and stored.offset < self._own_commit:
            return f"offset {stored.offset} is committed, though {self._own_commit} was before"
        return None
