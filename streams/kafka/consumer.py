"""What a consumer has no call for: how its next fetch waits, whether it still fetches, metadata, leaving at once, and
which leaders to believe.

And how its group gives partitions out: as the client does by itself, and words of former owners with them. Some only
want to hear which partitions are theirs: `member_of`, `part_from`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .connection import Connection

#: seconds for which a leader may say that it has no record at an offset before that is believed: one of a cluster in
#: which two nodes had died and copies were made anew was seen to say so of records that it had a moment later
DOUBTED_S = 10.0
#: seconds until it is asked again
ASK_AGAIN_S = 0.5
#: before the words in what members send each other beside the protocol: what begins otherwise is not ours
_OURS = b"bisupervised 1 "
#: bytes that one member says or is told: the broker keeps those of all members in one record, of a megabyte at most
_MOST_BYTES = 4096
#: seconds that parting from a group may take
_FAREWELL_S = 5.0


class Doubts:
    """What leaders said that they do not have: one that has just begun to lead may not know yet what it has."""

    def __init__(self) -> None:
        self._denied: dict[TopicPartition, tuple[float, float]] = {}  # when it said so first, and last

    def first(self, tp: TopicPartition, now: float) -> bool:
        """The leader of this partition says so, `now` on any monotonic clock: for the first time in a while."""
        first, last = self._denied.get(tp, (now, now))
        self._denied[tp] = (now if now - last > DOUBTED_S else first, now)
        return self._denied[tp][0] == now

    def doubted(self, tp: TopicPartition) -> bool:
        """It has not repeated itself for long enough to be believed."""
        first, last = self._denied.get(tp, (0.0, 0.0))
        return last - first < DOUBTED_S


class Dealing(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """Gives partitions out as the client's own assignor of this name does, so that a group may hold both.

    A member that joins says what its former partitions' next owners are to hear. Whoever leads the group passes it on.
    A leader or a member of a version without words ignores them: it does not read what stands beside the protocol.
    """

    def __init__(
        self,
        says: Callable[[], Mapping[TopicPartition, object]],
        hears: Callable[[Mapping[TopicPartition, object]], None],
    ) -> None:
        """`says` is asked at each join; `hears` is told before the partitions that it speaks of are assigned."""
        self._says = says
        self._hears = hears

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member says as it joins."""
        return ConsumerProtocolMemberMetadata(self.version, list(topics), _written(self._says()))

    def assign(
        self,
        cluster: Any,  # noqa: ANN401  # as above
        members: Mapping[str, ConsumerProtocolMemberMetadata],
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """What each member gets, and what was said of it."""
        said: dict[TopicPartition, list[object]] = {}
        for member in members.values():
            for place, words in _read(member.user_data).items():
                said.setdefault(place, []).extend(words)
        return {name: _told(dealt, said) for name, dealt in super().assign(cluster, members).items()}

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """What was said of the partitions that this member gets."""
        self._hears(_read(assignment.user_data))


def _told(
    dealt: ConsumerProtocolMemberAssignment, said: Mapping[TopicPartition, list[object]]
) -> ConsumerProtocolMemberAssignment:
    words = {place: said[place] for place in dealt.partitions() if place in said}
    return ConsumerProtocolMemberAssignment(dealt.version, dealt.assignment, _written(words))


def _written(words: Mapping[TopicPartition, object]) -> bytes:
    """Nothing, where there is nothing to say. What does not fit is not said."""
    told = [msgspec.json.encode((place.topic, place.partition, said)) for place, said in words.items()]
    ends = accumulate((len(entry) + 1 for entry in told), initial=len(_OURS) + 1)
    fitting = [entry for entry, end in zip(told, islice(ends, 1, None), strict=True) if end <= _MOST_BYTES]
    return _OURS + b"[" + b",".join(fitting) + b"]" if fitting else b""


def _read(told: bytes | None) -> dict[TopicPartition, list[object]]:
    """The other way round. What cannot be read was said by nobody."""
    if not told or not told.startswith(_OURS):
        return {}
    try:
        found = msgspec.json.decode(told[len(_OURS) :], type=list[tuple[str, int, list[object]]])
    except msgspec.MsgspecError:
        return {}
    return {TopicPartition(topic, number): words for topic, number, words in found}


def wait_at_broker(consumer: AIOKafkaConsumer, milliseconds: int) -> None:
    """From its next fetch on, a broker that has no records answers after so long; one under way is not changed."""
    consumer._fetcher._fetch_max_wait_ms = milliseconds  # noqa: SLF001  # an option of its making only


def refresh_metadata(consumer: AIOKafkaConsumer) -> None:
    """Have it ask soon how many partitions its topics have: of itself it asks every five minutes."""
    consumer._client.force_metadata_update()  # noqa: SLF001  # nothing public asks


def check_client(consumer: AIOKafkaConsumer) -> None:
    """Raises `KafkaError` where a task has ended that fetching needs: the client itself says that nothing comes."""
    for task in (consumer._fetcher.error_future, consumer._client._sync_task):  # noqa: SLF001  # nothing public tells
        if task.done():
            raise KafkaError("the client has stopped fetching") from (None if task.cancelled() else task.exception())


async def leave_group(consumer: AIOKafkaConsumer) -> None:
    """Tell the group that this member leaves, whatever the client waits for there. Raises `KafkaError`.

    A client that stops during a rebalance says it only when all others have joined. A broker answers one request of a
    connection after the other, so it is said over another one: the group then waits for this member no more.
    """
    ours = consumer._coordinator  # noqa: SLF001  # nothing public tells who we are in the group
    if ours is not None and ours.coordinator_id is not None and ours.member_id:
        request = LeaveGroupRequest(ours.group_id, ours.member_id)
        await consumer._client.send(ours.coordinator_id, request, group=ConnectionGroup.DEFAULT)  # noqa: SLF001  # as above


def heartbeat_s(session_timeout_s: float) -> float:
    """Seconds between two heartbeats: so long it may take until a member hears of a rebalance."""
    return min(session_timeout_s / 3, 1.0)


def member_of(connection: Connection, group: str, session_timeout_s: float) -> AIOKafkaConsumer:
    """A member of this group that reads nothing and commits nothing, not started. It is to pause what it is given."""
    return AIOKafkaConsumer(
        **connection.options(),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="latest",
        session_timeout_ms=int(session_timeout_s * 1000),
        heartbeat_interval_ms=int(heartbeat_s(session_timeout_s) * 1000),
    )


async def part_from(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and close the connections, for whom it is thrown away: a broken one may raise anything here."""
    with suppress(Exception):
        async with asyncio.timeout(_FAREWELL_S):
            await leave_group(consumer)
            await consumer.stop()
