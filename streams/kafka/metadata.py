"""How often a client asks who leads what, and what it keeps of the answer. It backs off while the answer does not help.

While a partition has no leader, the client asks again as soon as it is answered, about a thousand times a second. So
each question waits: the first one goes out at once, the next ones after longer and longer rests, as those of Kafka's
own clients do. These others share their pace with all clients of the process: when a node goes away, each of them wants
to know more than once. A question that is about another topic, too, repeats none, and is a first one.

Each client keeps what it was told of every partition of its topics. A worker has a client for each partition that it
owns, so what all of them keep would grow with the square of the partitions: what is the same, they keep together.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata

T = TypeVar("T")

#: seconds of the first rest, doubled with each question; and of the longest
_REST_S, _LONGEST_S = 0.1, 1.0
#: seconds without a question after which the next one goes out at once again
_CALM_S = 5.0
#: questions a second of all clients of a process, beside the first ones of each
_A_SECOND = 25.0


@dataclass(slots=True)
class Pace:
    """The questions of one client. Times are of a monotonic clock."""

    asked: int = 0  #: questions since the last calm, or the last new topic
    _last: float = float("-inf")
    _topics: set[str] = field(default_factory=set)  # that it has asked about, ever

    def rest_s(self, now: float, topics: Collection[str] = ()) -> float:
        """How long the next question, about these topics, waits at least."""
        if now - self._last > _CALM_S or not self._topics.issuperset(topics):
            self.asked = 0
        if not self.asked:
            return 0.0
        return max(0.0, self._last + min(_REST_S * 2.0 ** min(self.asked - 1, 16), _LONGEST_S) - now)

    def asks(self, now: float, topics: Collection[str] = ()) -> None:
        """A question goes out."""
        self.asked += 1
        self._last = now
        self._topics.update(topics)


@dataclass(slots=True)
class Turns:
    """The pace that the clients of a process share."""

    _next: float = float("-inf")

    def take_s(self, now: float) -> float:
        """How long the next question waits, of whoever it is."""
        turn = max(now, self._next)
        self._next = turn + 1.0 / _A_SECOND
        return turn - now


_ask = AIOKafkaClient._metadata_update  # noqa: SLF001  # the client has no option for how often it asks
_paces: weakref.WeakKeyDictionary[AIOKafkaClient, Pace] = weakref.WeakKeyDictionary()


_turns = Turns()


async def _paced(client: AIOKafkaClient, known: ClusterMetadata, topics: Collection[str]) -> Any:  # noqa: ANN401  # as the client's
    pace = _paces.setdefault(client, Pace())
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(pace.rest_s(clock(), topics))
    if pace.asked:
        await asyncio.sleep(_turns.take_s(clock()))
    pace.asks(clock(), topics)
    return await _ask(client, known, topics)


def pace_metadata() -> None:
    """From now on, every client of this process backs off."""
    AIOKafkaClient._metadata_update = _paced  # noqa: SLF001  # as above


_take_in = ClusterMetadata.update_metadata
_told: dict[object, object] = {}  # by topic, or by broker and the topics asked about: what a client was told last


def _taken_in(known: ClusterMetadata, metadata: Any) -> None:  # noqa: ANN401  # as above
    _take_in(known, metadata)
    topics = known._partitions  # noqa: SLF001  # as above; the client makes these anew each time, and changes none
    brokers = known._broker_partitions.items()  # noqa: SLF001  # as above
    known._broker_partitions = defaultdict(set, {node: _same((node, *topics), places) for node, places in brokers})  # noqa: SLF001  # as above
    known._partitions = {topic: _same(topic, partitions) for topic, partitions in topics.items()}  # noqa: SLF001  # as above


def _same(about: object, told: T) -> T:
    """What another client was told, where it is the same."""
    if _told.get(about) != told:
        _told[about] = told
    return _told[about]  # type: ignore[return-value]  # equal to what was given


def share_metadata() -> None:
    """From now on, clients of this process keep once what they are told alike."""
    ClusterMetadata.update_metadata = _taken_in
