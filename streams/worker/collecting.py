"""Cyclic garbage is collected on the event loop's thread only, by a timer, as it is needed.

Python collects wherever an allocation passes a count: in the inference thread, too. There it would run finalizers of
sockets and connections that belong to the loop, whose methods no other thread may call. So automatic collection is off
while a worker runs. It costs less besides: see docs/performance-notes.md.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: seconds between two looks: what becomes garbage in that time is small beside the windows
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class CollectPolicy:
    """When each generation is collected. The counts are those of `gc.get_count`."""

    young: int = 10_000  #: objects made and not freed since the last look at the youngest
    middle: int = 10  #: collections of the youngest generation since the last one of the middle
    old: int = 10  #: collections of the middle generation since the last one of all
    share: float = 0.02  #: most of the time that goes into collections of all, which hold up the loop longest


class CollectRule:
    """Says which generation is due. Times are of a monotonic clock."""

    def __init__(self, policy: CollectPolicy) -> None:
        self._policy = policy
        self._full_again = float("-inf")

    def due(self, counts: Sequence[int], now: float) -> int | None:
        """The oldest generation that is to be collected now; None for none."""
        policy = self._policy
        young, middle, old = counts
        if old > policy.old and now >= self._full_again:
            return 2
        if middle > policy.middle:
            return 1
        return 0 if young > policy.young else None

    def collected_all(self, began: float, ended: float) -> None:
        """A collection of all took so long: the next one waits in proportion."""
        self._full_again = ended + (ended - began) / self._policy.share


async def collect_by_need(
    rule: CollectRule, clock: Callable[[], float] = time.perf_counter, look_s: float = _LOOK_S
) -> None:
    """Run until cancelled: as long as it does, nobody else in the process collects."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        while True:
            await asyncio.sleep(look_s)
            _look(rule, clock)
    finally:
        if was_on:
            gc.enable()


def _look(rule: CollectRule, clock: Callable[[], float]) -> None:
    began = clock()
    gc.disable()  # a model may have switched it on
    generation = rule.due(gc.get_count(), began)
    if generation is not None:
        gc.collect(generation)
    if generation == 2:
        rule.collected_all(began, clock())
