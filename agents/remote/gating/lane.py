"""Calls that nobody waits for, beside those at the gate: they go only where they are in nobody's way.

One begins when nobody has waited at the gate for a moment, the remote is well, enough is left over of the limits, and
its money covers it. It takes nothing of a limit that a call at the gate would need next. It leaves a place free for
whoever comes next, wherever there are two. Where its place is needed all the same, it gives way: its task is cancelled,
and may enter again. It says nothing to the breaker of the others, and has its own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from ....schemas.budget import NOTHING, Amount
from ....schemas.errors import BudgetSpent, RateLimited, RemoteFailure
from ..limiting.breaker import Breaker, BreakerPolicy
from ..limiting.limits import Limits
from ..limiting.suspects import Verdict
from ..protocol import Usage
from ..retry import tells_of_remote
from ..spending.funds import Funds
from ..spending.purse import Reserved
from .permit import Permit
from .turn import Turn, wait_in

#: of the calls that may be under way at once, so many are these at most; one may always be
_SHARE = 0.25
#: seconds for which nobody must have waited: who comes to a free place from further up needs a moment
_QUIET_S = 0.1
#: seconds; a timer may go off a hair early, and then must not be set for no time at all
_SHORTEST_S = 1e-4


class Host(Protocol):
    """What the lane asks of the gate that it lies beside."""

    limits: Limits
    busy_at: float
    on_pumped: Callable[[], None]
    on_crowded: Callable[[int], None]

    @property
    def idle(self) -> bool:
        """Nobody waits for a place, and the remote is well."""
        ...

    @property
    def under_way(self) -> int:
        """Calls that somebody waits for."""
        ...

    def heard(self, headers: Mapping[str, str]) -> None: ...
    def takes_beside(self, calls: int) -> None: ...


class Lane:
    """Where these calls wait. To their permits it is the gate."""

    #: the time of a call's tries stands still while it waits here
    stops_clock = True
    #: for the remote, however long it is down
    waits = True

    def __init__(
        self,
        host: Host,
        breaker: BreakerPolicy | None = None,
        funds: Funds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`funds`: what pays for these calls alone; where it is spent they are sent away."""
        self.breaker = Breaker(breaker or BreakerPolicy())
        self.knows = False
        self.leaving = False  #: whoever would wait is cancelled instead
        self.gave_way = 0  #: calls that gave way
        self._host = host
        self._funds = funds
        self._clock = clock
        self._queue: deque[Turn] = deque()
        self._out: dict[Permit, asyncio.Task[Any] | None] = {}  # the oldest first
        self._given_way: set[Permit] = set()  # of these: cancelled, and not gone yet
        self._timer: asyncio.TimerHandle | None = None
        host.on_pumped = self._pump
        host.on_crowded = self._give_way

    def __repr__(self) -> str:
        return f"<Lane waiting={len(self._queue)} out={len(self._out)}>"

    # asked by who makes the calls, as of a gate

    async def enter(self, guess: int, cost: Amount = NOTHING) -> Permit:
        """Wait until a call of so many tokens, by a guess, that costs so much at most, is in nobody's way.

        Raises `BudgetSpent`, and `CancelledError` where partitions go.
        """
        if self.leaving:
            raise asyncio.CancelledError
        return await wait_in(self._queue, Turn(guess, cost), self._pump)

    def at_once(self, guess: int, cost: Amount = NOTHING) -> Permit | None:
        """None: all of these `enter`."""
        return None

    async def hold(self, permit: Permit, times: int, *, itself: bool = False, answered: bool = False) -> Verdict:
        """What is refused ends: nobody waits to learn who is to blame."""
        return "unknown"

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nobody's place is taken here."""
        yield

    def close(self) -> None:
        """Nobody enters any more."""
        self.leave_waiting()
        self._stop_timer()

    # told when partitions go and come

    def leave_waiting(self) -> None:
        """Until `stay`, whoever waits, or would, is cancelled. Nothing of it was begun."""
        self.leaving = True
        for turn in self._queue:
            turn.permit.cancel()
        self._queue.clear()

    def stay(self) -> None:
        """Calls may wait again."""
        self.leaving = False

    # told by permits

    def heard(self, headers: Mapping[str, str]) -> None:
        """A response says something about the limits, which are everybody's."""
        self._host.heard(headers)

    def used(self, permit: Permit, usage: Usage) -> None:
        """A call was billed for so many tokens."""
        tokens = usage.prompt_tokens + usage.completion_tokens
        self._host.limits.estimate.learn(permit.guess, tokens)
        self._host.limits.settle_beside(permit.tokens, tokens, self._clock())

    def settle(self, reserved: Reserved, used: Amount) -> None:
        """What a call has cost."""
        if self._funds is not None:
            self._funds.purse.settle(reserved, used, self._funds.now())
            self._funds.on_need()

    def leave(self, permit: Permit, error: BaseException | None) -> None:
        """A call has ended. A refusal may be its input's own, and says nothing of the remote."""
        now = self._clock()
        self._out.pop(permit, None)
        self._given_way.discard(permit)
        if isinstance(error, RemoteFailure) and error.retry_after_s is not None:
            self._host.limits.hold(error.retry_after_s, now)
        if error is None:
            self.breaker.succeeded(permit.ticket)
        elif isinstance(error, RateLimited):
            self._host.limits.limited(now)
            self.breaker.limited(permit.ticket, now)
        elif isinstance(error, RemoteFailure) and not tells_of_remote(error):
            self.breaker.failed(permit.ticket, now)
        else:
            self.breaker.abandoned(permit.ticket)
        permit.well, permit.opened, permit.stopped = self.breaker.well, self.breaker.opened, self.breaker.stopped
        self._host.takes_beside(len(self._out))

    # told by the gate

    def _give_way(self, waiting: int) -> None:
        """So many calls at the gate wait for a place: the youngest here make room."""
        staying = [permit for permit in self._out if permit not in self._given_way]
        for permit in staying[::-1][: max(0, waiting - len(self._given_way))]:
            task = self._out[permit]
            if task is not None:
                self._given_way.add(permit)
                self.gave_way += 1
                task.cancel()

    def funds_changed(self) -> None:
        """The log has said something."""
        self._pump()

    def _pump(self) -> None:
        """Let go whoever may, and set the timer for the next."""
        self._stop_timer()
        while self._queue:
            now, turn = self._clock(), self._queue[0]
            means = self._means(turn.cost)
            if turn.permit.done() or means in ("never", "spent"):
                self._queue.popleft()
                _send_away(turn, "the budget's share of shadows is spent; no call was made")
                continue
            if means != "yes" or not self._has_room:
                return
            tokens = self._host.limits.estimate.of(turn.guess)
            quiet_s = self._host.busy_at + _QUIET_S - now
            wait_s = max(quiet_s, self.breaker.wait_s(now), self._host.limits.beside_wait_s(tokens, now))
            if wait_s > 0:
                self._pump_in(wait_s)
                return
            self._queue.popleft()
            self._let_in(turn, tokens, now)

    @property
    def _has_room(self) -> bool:
        """Nobody waits, and whoever comes next finds a place, where there are two."""
        most, out = self._host.limits.in_flight, len(self._out)
        if not self._host.idle or out >= max(min(1, most), int(most * _SHARE)):
            return False
        return self._host.under_way + out + min(1, most - 1) < most

    def _let_in(self, turn: Turn, tokens: float, now: float) -> None:
        self._host.limits.take_beside(tokens, now)
        funds = self._funds
        reserved = None if funds is None else funds.purse.reserve(turn.cost, funds.now())
        permit = Permit(self, self.breaker.begin(now), turn.guess, tokens, reserved)
        self._out[permit] = turn.task
        self._host.takes_beside(len(self._out))
        turn.permit.set_result(permit)

    def _means(self, cost: Amount) -> str:
        if self._funds is None:
            return "yes"
        means = self._funds.purse.afford(cost, self._funds.now())
        if means == "soon":
            self._funds.on_need()
        return means

    def _pump_in(self, wait_s: float) -> None:
        if not math.isinf(wait_s):  # else an outcome or a share comes first
            self._timer = asyncio.get_running_loop().call_later(max(wait_s, _SHORTEST_S), self._pump)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def statistics(self) -> dict[str, Any]:
        """A snapshot; `budget` only where there is one."""
        told = {"waiting": len(self._queue), "under_way": len(self._out), "gave_way": self.gave_way}
        return told if self._funds is None else told | {"budget": self._funds.purse.statistics()}


def _send_away(turn: Turn, why: str) -> None:
    if not turn.permit.done():
        turn.permit.set_exception(BudgetSpent(why))
