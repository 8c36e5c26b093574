"""Batches whose answers are under way, beside each other, with a bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ..schemas.records import Outgoing
from .batches import Batch
from .tasks import end

log = logging.getLogger(__name__)


class InFlight:
    """Runs `answer` for up to `limit` batches at a time.

    A batch handed to `submit` is owned from that moment. There is one door out, the task's done callback:
    it gives back the place, and resolves the batch or gives it back. Not a `finally` in the task, which a task
    that is cancelled before its first step never reaches.
    """

    def __init__(self, answer: Callable[[Batch], Coroutine[Any, Any, list[Outgoing]]], limit: int) -> None:
        self._answer = answer
        self._limit = limit
        self._room = asyncio.Event()  # set when there may be room again
        self._tasks: dict[Batch, asyncio.Task[list[Outgoing]]] = {}
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return f"<InFlight {len(self)} of {self._limit}{', closing' if self._closing else ''}>"

    async def submit(self, batch: Batch) -> None:
        """Wait for room, then start. Cancelled while waiting, closed, or not wanted any more, it releases the batch."""
        try:
            while len(self._tasks) >= self._limit and batch.wanted and not self._closing:
                self._room.clear()
                await self._room.wait()
        except BaseException:
            batch.release()
            raise
        if self._closing or not batch.wanted:
            batch.release()
            return
        self._start(batch)

    def resize(self, limit: int) -> None:
        """Another bound. What is under way beyond it ends as it would have."""
        self._limit = limit
        self._room.set()

    def drop_unwanted(self) -> None:
        """Cancel what nobody waits for any more: a call for a former owner would be paid for nothing."""
        self._room.set()
        unwanted = [task for batch, task in self._tasks.items() if not batch.wanted]
        if not unwanted:
            return
        log.warning("cancelled calls of a former owner", extra={"action": "calls_cancelled", "batches": len(unwanted)})
        for task in unwanted:
            task.cancel()

    async def close(self, deadline_s: float) -> None:
        """Take no more, let what is under way end for `deadline_s` seconds, release the rest."""
        self._closing = True
        self._room.set()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks.values(), timeout=deadline_s)
        if not late:
            return
        log.warning("gave up calls under way", extra={"action": "in_flight_abandoned", "batches": len(late)})
        await end(late)

    def _start(self, batch: Batch) -> None:
        task = asyncio.create_task(self._answer(batch))
        self._tasks[batch] = task
        task.add_done_callback(partial(self._end, batch))

    def _end(self, batch: Batch, task: asyncio.Task[list[Outgoing]]) -> None:
        del self._tasks[batch]
        self._room.set()
        if task.cancelled():
            batch.release()
            return
        try:
            with batch:
                batch.resolve(task.result())
        except Exception:  # a callback has nobody to raise to; the batch counts the failed try
            log.exception("a batch failed", extra={"action": "batch_failed"})
