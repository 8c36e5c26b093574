"""How often a client asks who leads what: it backs off while the answer does not help.

While a partition has no leader, the client asks again as soon as it is answered, about a thousand times a second. So
each question waits: the first one goes out at once, the next ones after longer and longer rests, as those of Kafka's
own clients do. These others share their pace with all clients of the process: when a node goes away, each of them wants
to know more than once. A question that is about another topic, too, repeats none, and is a first one.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.client import AIOKafkaClient

if TYPE_CHECKING:
    from aiokafka.cluster import ClusterMetadata

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
