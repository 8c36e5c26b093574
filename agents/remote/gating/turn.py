"""A call that waits for its permit, at the gate or in the lane beside it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from ....schemas.budget import Amount
from .permit import Permit


class Turn:
    """A call that waits, and the task that makes it."""

    __slots__ = ("cost", "guess", "permit", "task")

    def __init__(self, guess: int, cost: Amount) -> None:
        """It will take so many tokens, by a guess, and cost so much at most. An event loop must run."""
        self.guess = guess
        self.cost = cost
        self.permit: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[Any] | None = asyncio.current_task()


async def wait_in(queue: deque[Turn], turn: Turn, pump: Callable[[], None]) -> Permit:
    """Wait at the end of the queue until `pump` lets it go. Who is cancelled leaves no gap: others are looked at again.

    Raises what the turn is sent away with.
    """
    queue.append(turn)
    pump()
    try:
        return await turn.permit
    except asyncio.CancelledError:
        if turn in queue:
            queue.remove(turn)
            pump()
        elif turn.permit.done() and not turn.permit.cancelled() and turn.permit.exception() is None:
            turn.permit.result().give_back()  # it had its turn in the very moment in which it was cancelled
        raise
