"""How often a client asks who leads what: it backs off while the answer does not help.

While a partition has no leader, the client asks again as soon as it is answered, about a thousand times a second. So
each question waits: the first few go out at once, the next ones after longer and longer rests, as those of Kafka's own
clients do. Where a process has very many clients, the longest rest is longer, so that all of them together ask at most
`_A_SECOND` times a second.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.client import AIOKafkaClient

if TYPE_CHECKING:
    from aiokafka.cluster import ClusterMetadata

#: questions that go out at once: a client that starts learns of several topics
_FREE = 4
#: seconds of the first rest, doubled with each question; and of the longest
_REST_S, _LONGEST_S = 0.1, 1.0
#: seconds without a question after which the next ones go out at once again
_CALM_S = 5.0
#: questions a second of all clients of a process that ask for ever
_A_SECOND = 25.0


@dataclass(slots=True)
class Pace:
    """The questions of one client. Times are of a monotonic clock."""

    asked: int = 0  #: questions since the last calm
    _last: float = float("-inf")

    def rest_s(self, now: float, clients: int) -> float:
        """How long the next question waits, in a process with so many clients."""
        if now - self._last > max(_CALM_S, 2 * _longest_s(clients)):
            self.asked = 0
        if self.asked < _FREE:
            return 0.0
        rest = min(_REST_S * 2.0 ** min(self.asked - _FREE, 16), _longest_s(clients))
        return max(0.0, self._last + rest - now)

    def asks(self, now: float) -> None:
        """A question goes out."""
        self.asked += 1
        self._last = now


def _longest_s(clients: int) -> float:
    return max(_LONGEST_S, clients / _A_SECOND)


_ask = AIOKafkaClient._metadata_update  # noqa: SLF001  # the client has no option for how often it asks
_paces: weakref.WeakKeyDictionary[AIOKafkaClient, Pace] = weakref.WeakKeyDictionary()


async def _paced(client: AIOKafkaClient, known: ClusterMetadata, topics: Collection[str]) -> Any:  # noqa: ANN401  # as the client's
    pace = _paces.setdefault(client, Pace())
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(pace.rest_s(clock(), len(_paces)))
    pace.asks(clock())
    return await _ask(client, known, topics)


def pace_metadata() -> None:
    """From now on, every client of this process backs off."""
    AIOKafkaClient._metadata_update = _paced  # noqa: SLF001  # as above
