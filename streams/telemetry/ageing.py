"""How near what waits in a topic is to the end of the topic's retention: what waits longer is deleted unread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..plane.standing import Standing
from .held_back import Place

#: milliseconds before its end at which a person is told; half of the retention where that is shorter
_NEAR_MS = 86_400_000


class Nearing(NamedTuple):
    """A partition whose oldest waiting record will soon be deleted."""

    topic: str
    partition: int
    left_s: float  #: seconds until it may be


@dataclass(frozen=True, slots=True)
class Ageing:
    """The retention of one topic, and what waits in it."""

    kept_ms: int | None = None  #: for how long it keeps records; None for ever
    unread_ms: Mapping[Place, int] = field(
        default_factory=dict
    )  #: no later was the first record written, not fetched yet

    def left_s(self, standing: Standing, now_ms: float) -> float | None:
        """Seconds until the oldest waiting record of a partition may be deleted; None where none will be."""
        stored_ms = standing.stored_ms
        if stored_ms is None:
            stored_ms = self.unread_ms.get((standing.topic, standing.partition))
        if stored_ms is None or self.kept_ms is None:
            return None
        return max(0.0, (stored_ms + self.kept_ms - now_ms) / 1000.0)

    def near_ms(self, now_ms: float) -> int | None:
        """What was written before this moment is near the end; None where nothing ever is."""
        if self.kept_ms is None:
            return None
        moment_ms = round(now_ms) - self.kept_ms + self._margin_ms(self.kept_ms)
        return moment_ms if moment_ms > 0 else None  # before 1970 nothing was written, and brokers refuse the question

    def nearing(self, standings: Iterable[Standing], now_ms: float) -> list[Nearing]:
        """The partitions whose oldest waiting record is near the end."""
        if self.kept_ms is None:
            return []
        margin_s = self._margin_ms(self.kept_ms) / 1000.0
        lefts = [(standing, self.left_s(standing, now_ms)) for standing in standings]
        return [Nearing(one.topic, one.partition, left) for one, left in lefts if left is not None and left <= margin_s]

    @staticmethod
    def _margin_ms(kept_ms: int) -> int:
        return min(_NEAR_MS, kept_ms // 2)
