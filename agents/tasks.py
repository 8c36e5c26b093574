"""Tasks: none of ours ends without somebody hearing of it.

    begin          a task whose failure is told to who began it, or to the log
    end            cancels tasks, and waits until they have ended
    Rests          how long what has failed rests before it begins again
    persistently   for ever: what fails is told to the log, and begins again

`tests/packaging/test_tasks.py` finds tasks that were begun otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

#: seconds until what has failed begins again
AGAIN_S = 1.0
#: seconds of work after which a failure has nothing to do with the one before
WORKED_S = 5.0
#: seconds after which a task that is cancelled, and has not ended, has missed it: it puts away its clients in less
MISSED_S = 15.0


def begin(
    body: Coroutine[Any, Any, T], name: str, failed: Callable[[BaseException], object] | None = None
) -> asyncio.Task[T]:
    """Run it beside us. `failed` hears what it raises, and must act on it; without one, the log hears it."""
    task = asyncio.create_task(body, name=name)
    task.add_done_callback(partial(_ended, failed))
    return task


def _ended(failed: Callable[[BaseException], object] | None, task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is None:
        return
    if failed is not None:
        failed(error)
        return
    facts = {"action": "task_failed", "task": task.get_name()}
    log.error("%s has failed, and has ended: %r", task.get_name(), error, exc_info=error, extra=facts)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them, and wait until all have ended. One that misses it, in some library, is cancelled again."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=MISSED_S)
        for task in left:
            facts = {"action": "task_cancelled_again", "task": task.get_name()}
            log.warning("%s has not ended after %g s: it is cancelled again", task.get_name(), MISSED_S, extra=facts)


class Rests:
    """How long what has failed rests before it begins again: doubled each time, unless it had worked for a while."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s
        self._began = 0.0

    def begins(self) -> None:
        """It begins to work."""
        self._began = asyncio.get_running_loop().time()

    async def rest(self) -> None:
        """It has failed: wait until it may begin again."""
        await asyncio.sleep(self.after(asyncio.get_running_loop().time() - self._began))

    def after(self, worked_s: float) -> float:
        """Seconds until it begins again that has worked for so long."""
        rest_s = self._first_s if worked_s >= WORKED_S else self._next_s
        self._next_s = min(2 * rest_s, self._most_s)
        return rest_s


async def persistently(body: Callable[[], Awaitable[object]], name: str, again_s: float = AGAIN_S) -> None:
    """Run it again and again. What it raises, of whatever kind, ends one run and not the task."""
    while True:
        try:
            await body()
        except Exception:
            facts = {"action": "task_restarted", "task": name}
            log.exception("%s has failed, and begins again in %g s", name, again_s, extra=facts)
        await asyncio.sleep(again_s)
