"""Batches whose answers are under way, beside each other, with a bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ..schemas.records import Incoming, Outgoing
from .batches import Batch

log = logging.getLogger(__name__)

Answering = Callable[[Sequence[Incoming]], Awaitable[list[Outgoing]]]


class InFlight:
    """Runs `answer` for up to `limit` batches at a time.

    A batch handed to `submit` is owned from that moment. There is one door out, the task's done callback:
    it gives back the slot, and resolves the batch or gives it back. Not a `finally` in the task, which a task
    that is cancelled before its first step never reaches.
    """

    def __init__(self, answer: Answering, limit: int) -> None:
        self._answer = answer
        self._limit = limit
        self._slots = asyncio.Semaphore(limit)
        self._tasks: set[asyncio.Task[list[Outgoing]]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return f"<InFlight {len(self)} of {self._limit}{', closing' if self._closing else ''}>"

    async def submit(self, batch: Batch) -> None:
        """Wait for a free slot, then start. Cancelled while waiting, or closed, it releases the batch."""
        try:
            await self._slots.acquire()
        except BaseException:
            batch.release()
            raise
        if self._closing:
            self._slots.release()
            batch.release()
            return
        self._start(batch)

    async def close(self, deadline_s: float) -> None:
        """Take no more, let what is under way end for `deadline_s` seconds, release the rest."""
        self._closing = True
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=deadline_s)
        if not late:
            return
        log.warning("gave up calls under way", extra={"action": "in_flight_abandoned", "batches": len(late)})
        for task in late:
            task.cancel()
        await asyncio.wait(late)

    def _start(self, batch: Batch) -> None:
        task = asyncio.ensure_future(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, batch))

    async def _run(self, batch: Batch) -> list[Outgoing]:
        return await self._answer(batch.records)

    def _end(self, batch: Batch, task: asyncio.Task[list[Outgoing]]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if task.cancelled():
            batch.release()
            return
        try:
            with batch:
                batch.resolve(task.result())
        except Exception:  # a callback has nobody to raise to; the batch counts the failed try
            log.exception("a batch failed", extra={"action": "batch_failed"})
