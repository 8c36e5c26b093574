"""Ctrl-C and SIGTERM in commands: what runs ends in order, and whatever it started is ended, too.

    interrupted_by   a block that signals interrupt
    interruptible    a command that starts processes: all of them end with it
    run_coroutine    a command on an event loop: signals cancel it, so that clients leave the broker in order

All of them end as KeyboardInterrupt, which the command line turns into its exit code.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """These raise KeyboardInterrupt inside the block, and are ignored after it while things are put away."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        for signum in signals:
            signal.signal(signum, interrupt)
        yield
    finally:
        for signum in signals:
            signal.signal(signum, signal.SIG_IGN)


def interruptible(story: Callable[[ExitStack], int], interrupted: Callable[[], object]) -> int:
    """Run the story, with a stack for what it starts, which is ended on every way out.

    From a signal on, signals are ignored until that is done; `interrupted` may say so. Afterwards they mean what they
    meant before: a process that was left deaf would start deaf children.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as started:
            try:
                with interrupted_by(*before):
                    return story(started)
            except KeyboardInterrupt:
                interrupted()
                raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it; Ctrl-C and SIGTERM cancel it, so that clients leave in order, and end as KeyboardInterrupt.

    The handlers that are in place outside raise where they happen to strike, which inside an event loop may
    be the middle of a protocol: what leaves the broker then waits until its answers time out.
    """
    try:
        return asyncio.run(_cancelled_by_signals(coroutine))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _cancelled_by_signals(coroutine: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, lambda: task is not None and task.cancel())
    try:
        return await coroutine
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
