"""Whose transaction is next, among the partitions of a plane. It waits, and asks nobody.

Side by side, transactions share the event loop, and often the broker's processor, so each takes longer. One after the
other, the first are through sooner and the last no later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """One at a time, in the order of coming. Nobody waits longer than it wants to, whatever becomes of the others."""

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, patience_s: float) -> AsyncIterator[None]:
        """Begins when no other is under way, or after `patience_s`."""
        if self._under_way and patience_s > 0:
            await self._its_turn(patience_s)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if self._waiting and not self._under_way:
                self._waiting.popleft().set_result(None)

    async def _its_turn(self, patience_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=patience_s)
        finally:
            if not turn.done():
                self._waiting.remove(turn)
