"""An event loop on which time passes only while nothing else can happen: an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

#: real seconds in which a thread may end that is all that is waited for
_THREAD_S = 10.0


class _Selector:
    """Looks at the sockets, and lets the clock jump by what the loop would have waited."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._selector = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> Any:
        patience_s = self._loop.patience_s
        if timeout is None and patience_s:  # only something real can come: another thread, which may have to wait
            patience_s = max(patience_s, _THREAD_S)
        events = self._selector.select(patience_s if timeout is None else min(patience_s, timeout))
        if not events:
            if timeout is None:
                raise RuntimeError("deadlock: nothing is scheduled, nothing will ever happen")
            self._loop.now += timeout
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` starts at 1000 and jumps from one timer to the next.

    `patience_s`: real seconds in which a byte on a socket may come before it jumps; 0 where nothing real is waited for.
    """

    def __init__(self, patience_s: float = 0.0) -> None:
        self.now = 1000.0
        self.patience_s = patience_s
        super().__init__(_Selector(self))  # type: ignore[arg-type]  # a selector by its verbs

    def time(self) -> float:
        return self.now


P = ParamSpec("P")


def on_virtual_time(scenario: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop of its own, whose time is virtual."""

    @wraps(scenario)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(scenario(*args, **kwargs))

    return test
