"""Fetching: what the consumer is told, and what becomes of what it returns.

A partition that is full is paused, and resumed when it is half empty: the backlog stays in Kafka. So it is with all of
them while the agent is not hungry.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from ..kafka.consumer import (
    ASK_AGAIN_S,
    DOUBTED_S,
    Dealing,
    Doubts,
    check_client,
    leave_group,
    refresh_metadata,
    wait_at_broker,
)
from ..kafka.decompressing import BatchTooLarge
from ..kafka.errors import Lost
from ..kafka.records import read_any_header
from .clients import FETCH_WAIT_MS
from .partition import Partition
from .policy import PlanePolicy
from .ports import AgentPort, Clients
from .standing import Counters, End, name_of
from .state import State
from .witness import worked_before

log = logging.getLogger(__name__)

#: share of a bound at which a paused partition is resumed
_RESUME_SHARE = 0.5
#: milliseconds that a fetch may wait at the broker while a partition is paused: one that is resumed meanwhile is not in
#: that fetch, and the client sends no second one
_HASTY_MS = 20
#: states in which nothing is fetched for a partition, and soon may be: a released one may come back to this member
_SOON_FETCHED = (State.ACQUIRING, State.PAUSED, State.RELEASING)


class Fetching:
    """The consumer of a plane, from its start to its end."""

    def __init__(
        self,
        policy: PlanePolicy,
        clients: Clients,
        partitions: Mapping[TopicPartition, Partition],
        agent: AgentPort,
        counters: Counters,
    ) -> None:
        """`partitions`: those owned, as they are at any time."""
        self._policy = policy
        self._clients = clients
        self._consumer: Any = None  # AIOKafkaConsumer, which has no types; None until it has started
        self._partitions = partitions
        self._agent = agent
        self._counters = counters
        self._holding = False  # the agent is not hungry
        self._told = False  # likewise, as the log has it
        self._relieving = False  # a partition is not fetched for that is to be soon
        self._doubts = Doubts()
        self._counted = 0  # partitions of the topic, as the client said last

    async def start(self, listener: ConsumerRebalanceListener, dealing: Dealing) -> None:
        """Join the group; `listener` hears of rebalances, `dealing` gives partitions out. Raises `KafkaError`."""
        consumer = self._clients.make_consumer(dealing)
        await consumer.start()
        self._consumer = consumer  # only now may it be asked where partitions end
        consumer.subscribe([self._policy.topic], listener=listener)

    async def stop(self) -> None:
        """Leave the group."""
        await self._consumer.stop()

    async def say_goodbye(self, patience_s: float) -> None:
        """Tell the group that we leave where the client, which is stopping, waits for a rebalance before it does."""
        with suppress(KafkaError, OSError, TimeoutError):  # then the group notices that no heartbeats come
            async with asyncio.timeout(patience_s):
                await leave_group(self._consumer)

    # where to fetch from

    def prepare(self, tp: TopicPartition) -> None:
        """One that is assigned and not acquired: nothing is fetched, and the client looks for no position itself."""
        self._consumer.pause(tp)
        self._consumer.seek(tp, 0)

    def acquired(self, tp: TopicPartition) -> None:
        """Fetch from where the partition begins, unless the agent is not hungry."""
        partition = self._partitions.get(tp)
        if partition is None or partition.position is None:
            return
        self._consumer.seek(tp, partition.position)
        if self._holding:
            self._pause(partition)
        else:
            self._resume(partition)

    def unwanted(self, tp: TopicPartition) -> None:
        """Fetch no more of it."""
        with suppress(KafkaError):  # taken away this very moment
            self._consumer.pause(tp)

    async def worked_before(self, reachable: Sequence[TopicPartition]) -> bool:
        """Outcomes of this agent are in one of these partitions, or were. Raises `Lost`."""
        return await worked_before(
            await self._clients.coordinator.bounds(reachable), self._clients.make_reader, self._agent
        )

    async def topic_is_there(self) -> bool:
        """Whether the broker has the topic. It is asked where the client knows no partition of it. Raises `Lost`."""
        topic = self._policy.topic
        if self._consumer is None:
            raise Lost("the consumer has not been started")
        if self._consumer.partitions_for_topic(topic):
            return True
        try:
            return topic in await self._consumer.topics()
        except KafkaError as error:
            raise Lost(f"the broker does not tell which topics it has: {error!r}") from error

    async def ends(self) -> dict[TopicPartition, End]:
        """Where the owned partitions end, as the broker says now; partition 0 where none is owned. Raises `Lost`."""
        if self._consumer is None:
            raise Lost("the consumer has not been started")
        places = list(self._partitions) or [TopicPartition(self._policy.topic, 0)]
        try:
            readable: dict[TopicPartition, int] = await self._consumer.end_offsets(places)
            high = await self._clients.high_watermarks(places)
        except KafkaError as error:
            raise Lost(f"the broker does not tell where {self._policy.topic} ends: {error!r}") from error
        return {tp: End(readable[tp], max(readable[tp], high[tp])) for tp in places}

    async def unread_before(self, places: Mapping[TopicPartition, int], moment_ms: int) -> set[TopicPartition]:
        """Those whose first record from the offset on was written before the moment. Raises `Lost`."""
        try:
            found = await self._consumer.offsets_for_times(dict.fromkeys(places, moment_ms))
        except KafkaError as error:
            raise Lost(f"the broker does not tell how old records are: {error!r}") from error
        return {tp for tp, later in found.items() if later is None or later.offset > places[tp]}

    def partitions_in_all(self) -> int:
        """Partitions of the topic, as far as is known now; 0 where nothing is. Some may be added, and a moment in
        which the client knows none changes nothing.
        """
        self._counted = len(self._consumer.partitions_for_topic(self._policy.topic) or ()) or self._counted
        if not self._counted:
            return 0
        highest: int = max((tp.partition for tp in self._partitions), default=-1)
        return max(self._counted, highest + 1)

    def count_anew(self) -> None:
        """Ask the broker how many there are: a rebalance may be about partitions that were added."""
        refresh_metadata(self._consumer)

    # fetching

    def check(self) -> None:
        """Raises `KafkaError` where the client itself has ended: a new process mends that, waiting does not."""
        check_client(self._consumer)

    async def fetch(self, timeout_ms: int) -> bool:
        """One fetch, into the windows. False where it told of a fault that is dealt with. Raises `KafkaError`."""
        try:
            fetched = await self._consumer.getmany(timeout_ms=timeout_ms)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            self._misplaced(error)
            self.rewind()
            return False
        except BatchTooLarge as error:
            self._unreadable_batch(error)
            return False
        except UnicodeDecodeError:
            read_any_header()
            self.rewind()
            return False
        for tp, records in fetched.items():
            self._arrived(tp, records)
        await self._advance()
        return True

    def _arrived(self, tp: TopicPartition, records: list[Any]) -> None:
        partition = self._partitions.get(tp)
        if partition is not None and partition.state is State.RUNNING:
            readable = self._readable(partition, records)
            self._counters.fetched += len(readable)
            partition.add(readable)

    def _readable(self, partition: Partition, records: list[Any]) -> list[Any]:
        """The records up to the first that only another worker can read: there the partition stops, loudly."""
        unreadable = self._agent.unreadable
        if unreadable is None:
            return records
        for index, record in enumerate(records):
            reason = unreadable(record)
            if reason is not None:
                partition.stop(f"offset {record.offset}: {reason}")
                return records[:index]
        return records

    def _unreadable_batch(self, error: BatchTooLarge) -> None:
        """It hides which records it holds: they cannot fall back one by one."""
        partition = None if error.place is None else self._partitions.get(error.place)
        if partition is not None and partition.taking:
            partition.stop(f"offset {partition.position} or one soon after: {error}; raise it, or delete that record")
        self.rewind()

    def rewind(self) -> None:
        """Fetch again from where the windows end: a fetch that raised may have dropped another partition's records."""
        for tp, partition in self._partitions.items():
            if partition.taking:
                with suppress(KafkaError):  # taken away this very moment
                    self._consumer.seek(tp, partition.position)

    async def _advance(self) -> None:
        """Positions move without records, too: over transaction markers and what was aborted."""
        for tp, partition in list(self._partitions.items()):
            if partition.state is State.RUNNING:
                advance = partition.advance  # of this window: there may be another when the position comes
                with suppress(KafkaError):  # taken away this very moment
                    advance(await self._consumer.position(tp))

    def _misplaced(self, error: KafkaError) -> None:
        """A committed offset that the topic does not have any more stops that partition, loudly."""
        place = error.args[0] if error.args else None
        for tp in list(place) if isinstance(place, dict) else [place]:
            partition = self._partitions.get(tp)
            if partition is None or not partition.taking:
                continue
            if isinstance(error, OffsetOutOfRangeError) and self._doubted(tp):
                self.unwanted(tp)
                asyncio.get_running_loop().call_later(ASK_AGAIN_S, self._ask_again, tp)
            else:
                partition.stop(
                    f"the topic has no record at the committed offset ({error!r}): records were deleted before they "
                    "were read, or the topic was made anew; reset the group's offsets to go on"
                )

    def _doubted(self, tp: TopicPartition) -> bool:
        """A leader that has just begun to lead may not know yet what it has: it is believed when it repeats itself."""
        if self._doubts.first(tp, asyncio.get_running_loop().time()):
            text = "%s: its leader says that it has no record at the committed offset; it is asked again for %g s"
            log.warning(text, name_of(tp), DOUBTED_S, extra={"action": "offset_doubted"})
        return self._doubts.doubted(tp)

    def _ask_again(self, tp: TopicPartition) -> None:
        partition = self._partitions.get(tp)
        if partition is None or not partition.taking:
            return
        with suppress(KafkaError):  # taken away this very moment
            self._consumer.seek(tp, partition.position)
            if partition.state is State.RUNNING:
                self._consumer.resume(tp)

    # backpressure

    def govern(self) -> None:
        """Pause what is full, or everything while the agent is not hungry; resume what is half empty."""
        holding = not self._agent.hungry
        self._holding = holding
        told = holding or (self._told and self._agent.probing)
        if told != self._told:
            self._tell(told)
        for partition in self._partitions.values():
            if partition.state is State.RUNNING and (holding or partition.full()):
                self._pause(partition)
        self._relieve()

    def relieve(self) -> None:
        """Something became of records: what is half empty by now need not wait for the next fetch."""
        if self._relieving:
            self._relieve()

    def _relieve(self) -> None:
        if self._holding:
            self._relieving = False
            return
        partitions = self._partitions.values()
        for partition in partitions:
            if partition.state is State.PAUSED and not partition.full(_RESUME_SHARE):
                self._resume(partition)
        self._relieving = any(partition.state in _SOON_FETCHED for partition in partitions)
        wait_at_broker(self._consumer, _HASTY_MS if self._relieving else FETCH_WAIT_MS)

    def _tell(self, holding: bool) -> None:  # noqa: FBT001  # a state, and the only argument
        self._told = holding
        text = "%s takes nothing for now: partitions are paused" if holding else "%s takes records again"
        unfinished = sum(partition.unfinished for partition in self._partitions.values())
        facts = {"action": "partitions_paused" if holding else "partitions_resumed", "unfinished": unfinished}
        log.info(text, self._policy.name, extra=facts)

    def _pause(self, partition: Partition) -> None:
        self._consumer.pause(partition.tp)
        partition.pause()

    def _resume(self, partition: Partition) -> None:
        self._consumer.resume(partition.tp)
        partition.resume()
