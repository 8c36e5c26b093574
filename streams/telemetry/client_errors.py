"""What the Kafka client says of a connection that is gone: held, and told as a number beside our own line.

The client says it of every request of every partition: dozens of lines a second, in its own words. Our connections
tell in two lines that a broker is away and that it is back (`broker_away`, `broker_back`). What the client says in
between is a number in the second. Where no broker turns out to be away, the first of its lines is written after a
while, with the number of the others.
No I/O and no clock: callers pass `now`, in seconds of a monotonic clock.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Line = TypeVar("Line")

#: seconds until what was held is written where no broker is away
_HELD_S = 2.0
#: seconds without another failed try after which a broker no longer counts as away: its address may be another now
_FORGOTTEN_S = 60.0
#: the texts, before their arguments are filled in; `tests/contract/test_client.py` looks for each in the client
TEXTS = frozenset(
    {
        "Unable connect to node with id %s: %s",
        'Unable connect to "%s:%s": %s',
        "Unable to update metadata from %s",
        "Unable to request metadata from node with id %s: %r",
        'Unable to request metadata from "%s:%s": %s',
        "Failed fetch messages from %s: %s",
        "Failed fetch offsets from %s: %s",
        "Error sending %s to node %s [%s] -- marking coordinator dead",
        "Marking the coordinator dead (node %s)for group %s.",
        "Group Coordinator Request failed: %s",
        "FindCoordinator Request failed: %s",
        "Heartbeat send request failed: %s. Will retry.",
        "Heartbeat failed for group %s: coordinator (node %s) is either not started or not valid",
        "Heartbeat session expired - marking coordinator dead",
        "LeaveGroup request failed: %s",
        "Cannot send %r to %s: %r",
        "Could not send %r: %r",
        "Got error produce response: %s",
    }
)


class ClientErrors(Generic[Line]):
    """Holds the client's lines, and knows which brokers are away."""

    def __init__(self) -> None:
        self._away: dict[str, float] = {}  # by broker: the last failed try
        self._line: Line | None = None  # the first of those held
        self._since = 0.0
        self._count = 0

    def held(self, line: Line, now: float) -> None:
        """The client has said one of `TEXTS`."""
        if self._line is None:
            self._line, self._since = line, now
        self._count += 1

    def away(self, broker: str, now: float) -> None:
        """A try to connect has failed."""
        self._away[broker] = now

    def back(self, broker: str) -> int:
        """A broker is back. Returns how many lines of the client this accounts for."""
        self._away.pop(broker, None)
        _, count = self._taken()
        return count

    def over(self, now: float) -> tuple[Line, int] | None:
        """The first of the lines that no broker accounts for, and how many others there are."""
        self._away = {broker: at for broker, at in self._away.items() if now - at < _FORGOTTEN_S}
        return None if self._away or now - self._since < _HELD_S else self.left()

    def left(self) -> tuple[Line, int] | None:
        """What is held, whatever accounts for it: the log ends."""
        line, count = self._taken()
        return None if line is None else (line, count - 1)

    def _taken(self) -> tuple[Line | None, int]:
        line, count = self._line, self._count
        self._line, self._count = None, 0
        return line, count
