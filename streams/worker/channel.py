"""The channel between the data plane and a Faust agent: one bounded queue, one subscriber, nothing ever cleared.

Faust's stock channel is not fit to carry batches (seen, 0.15.3): with no subscriber `put()` stores nothing,
resuming the flow control clears the queues, and an agent that is restarted may be woken by the stop of its
predecessor. Here every clone is the channel itself, so a restarted agent goes on where the last one ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import faust

from ..plane.window.batch import Batch


class _Queue(asyncio.Queue[Batch]):
    """One place, and a word when it has become free."""

    def __init__(self) -> None:
        super().__init__(maxsize=1)
        self.on_taken: Callable[[], None] = _nothing
        self._errors: deque[BaseException] = deque()  # Faust's stream looks here; nothing is ever thrown

    def _get(self) -> Batch:
        batch: Batch = super()._get()
        asyncio.get_running_loop().call_soon(self.on_taken)
        return batch


class BatchChannel(faust.Channel[Batch]):
    """Carries batches to one agent. `offer` never waits: a full channel says no, and that is the backpressure."""

    def __init__(self, app: faust.App) -> None:
        super().__init__(app, is_iterator=True, maxsize=1)
        self._batches = _Queue()

    @property
    def queue(self) -> Any:  # noqa: ANN401  # Faust wants its own class and needs only its verbs
        """The queue that Faust's stream reads."""
        return self._batches

    @property
    def on_taken(self) -> Callable[[], None]:
        """Called soon after the agent has taken a batch."""
        return self._batches.on_taken

    @on_taken.setter
    def on_taken(self, callback: Callable[[], None]) -> None:
        self._batches.on_taken = callback

    @property
    def full(self) -> bool:
        """True when `offer` would say no."""
        return self._batches.full()

    def offer(self, batch: Batch) -> bool:
        """Take the batch and answer True, or leave it and answer False."""
        if self._batches.full():
            return False
        self._batches.put_nowait(batch)
        return True

    def clone(self, *, is_iterator: bool | None = None, **kwargs: Any) -> BatchChannel:  # noqa: ANN401  # as Faust's
        """The channel itself: there is one subscriber, and its restart changes nothing."""
        return self

    def _throw(self, exc: BaseException) -> None:
        """Nothing: Faust throws here to wake an agent that stops, and would hit its successor. It is cancelled."""


def _nothing() -> None:
    return None
