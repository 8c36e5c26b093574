"""Tasks: none of ours ends without somebody hearing of it.

    begin          a task whose failure is told to who began it, or to the log
    persistently   for ever: what fails is told to the log, and begins again

`tests/packaging/test_tasks.py` finds tasks that were begun otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

#: seconds until what has failed begins again
AGAIN_S = 1.0


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


async def persistently(body: Callable[[], Awaitable[object]], name: str, again_s: float = AGAIN_S) -> None:
    """Run it again and again. What it raises, of whatever kind, ends one run and not the task."""
    while True:
        try:
            await body()
        except Exception:
            facts = {"action": "task_restarted", "task": name}
            log.exception("%s has failed, and begins again in %g s", name, again_s, extra=facts)
        await asyncio.sleep(again_s)
