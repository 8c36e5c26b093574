"""Where readers wait: records behind a transaction that somebody has open, which nobody sees until it ends.

Our own transactions end within moments. One that a foreign producer left open holds back all records behind it, of
everybody, until it ends or the broker aborts it for its age. No I/O and no clock: callers pass `now`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..plane.standing import End

Place = tuple[str, int]  # topic and partition

#: seconds after which it is said: by then a transaction of ours has ended, or its producer is dead
SAID_AFTER_S = 20.0


class Wait(NamedTuple):
    """Readers of one partition stand before an open transaction."""

    at: int  #: its first offset
    records: int  #: offsets from there to the end
    since: float  #: when that was first seen


class HeldBack:
    """Remembers since when readers wait, partition by partition."""

    def __init__(self) -> None:
        self.waits: dict[Place, Wait] = {}
        self._said: set[tuple[Place, int]] = set()

    def seen(self, ends: Mapping[Place, End], now: float) -> dict[Place, Wait]:
        """These are the ends now. Returns what is to be said, once for each such transaction."""
        self.waits = {
            place: Wait(end.readable, end.high - end.readable, self._since(place, end, now))
            for place, end in ends.items()
            if end.high > end.readable
        }
        lasting = {place: wait for place, wait in self.waits.items() if now - wait.since >= SAID_AFTER_S}
        fresh = {place: wait for place, wait in lasting.items() if (place, wait.at) not in self._said}
        self._said = {(place, wait.at) for place, wait in lasting.items()}
        return fresh

    def _since(self, place: Place, end: End, now: float) -> float:
        before = self.waits.get(place)
        return before.since if before is not None and before.at == end.readable else now
