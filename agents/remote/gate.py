"""The gate in front of the remote: limits and breaker decide, calls wait here for their turn.

One queue, first come first served. Its head goes as soon as both say so; nobody passes it, so that a large call is
not starved by small ones. Beside it wait the inputs that the remote refused, until it is known who is to blame: see
`hold`. What is decided is in `limiting/` and `spending/`; here is who waits, and for how long.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ...schemas.budget import NOTHING, Amount
from ...schemas.errors import BudgetSpent, RateLimited, RecordError, Rejected, RemoteFailure
from .gating.news import News
from .gating.permit import Permit
from .gating.turn import Turn, wait_in
from .limiting.breaker import Breaker, BreakerPolicy
from .limiting.limits import Limits, LimitsPolicy
from .limiting.suspects import Suspect, Suspects, Verdict
from .protocol import Usage
from .retry import CircuitOpen, Terminal, is_refusal, tells_of_remote
from .spending.funds import Funds
from .spending.purse import Means, Reserved

log = logging.getLogger(__name__)

#: seconds; a timer may go off a hair early, and then must not be set for no time at all
_SHORTEST_S = 1e-4
#: seconds; clocks are corrected now and then, so a far end of a period is looked at again
_LONGEST_S = 600.0
#: why all calls stop
_REFUSED, _USELESS = "the remote refuses all calls", "no answer of the remote can be used"
#: why a call is sent away that there is no money for
_NO_MEANS = {
    "never": "the call can cost more than the whole budget; it was not made",
    "spent": "the budget of this period is spent; no call was made",
}


def _tell_verdict(told: asyncio.Future[Verdict], verdict: Verdict | BaseException) -> None:
    if told.done():
        return
    if isinstance(verdict, asyncio.CancelledError):
        told.cancel()
    elif isinstance(verdict, BaseException):
        told.set_exception(verdict)
    else:
        told.set_result(verdict)


class Gate:
    """Lets calls through one by one. `waits`: while the circuit is open they wait; else they are sent away."""

    def __init__(
        self,
        limits: LimitsPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        *,
        waits: bool = True,
        funds: Funds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.funds = funds
        self._hopeless = ("never",) if funds is None or funds.waits else ("never", "spent")
        self.limits = Limits(limits or LimitsPolicy(), clock())
        self.breaker = Breaker(breaker or BreakerPolicy())
        self.waits = waits
        self.knows = False  #: an input that the remote answers when it is well: a probe can ask it
        self.on_held: Callable[[int], None] = lambda held: None  #: hears how many refused inputs wait for a verdict
        #: hears, each time it was seen whose turn it is, that calls may go which nobody waits for
        self.on_pumped: Callable[[], None] = lambda: None
        self.on_crowded: Callable[[int], None] = lambda waiting: None  #: hears how many wait while such calls are out
        policy = self.breaker.policy
        self._suspects = Suspects(policy.cool_down_s, policy.terminal_cool_down_s)
        self._aside = 0
        self._order = 0  # of the last call that has begun
        self._answered = 0  # likewise, of those that were answered
        self._under_way = 0
        self._beside = 0  # calls that nobody waits for
        self.busy_at = -math.inf  #: on the clock: when somebody last waited here, or every place was taken
        self._news = News(policy)
        self._clock = clock
        self._queue: deque[Turn] = deque()
        self._leaving = False
        self._spent = False  # as it was told last
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Gate waiting={len(self._queue)} {self.breaker!r} {self.limits!r}>"

    @property
    def admits(self) -> bool:
        """False while calls would only wait, for a remote that is down or for another period: take in nothing more."""
        if self.waits and not self.breaker.admits(self._clock()) and not self._wants_others:
            return False
        return self.funds is None or not self.funds.waits or not self.funds.purse.spent(self.funds.now())

    @property
    def stops_clock(self) -> bool:
        """The time of a call's tries stands still, for the remote is down and is waited for."""
        return self.waits and not self.breaker.closed

    @property
    def idle(self) -> bool:
        """Nobody waits here, unless it is for another period of the budget, and the remote is well."""
        waits = bool(self._queue) and not (self._spent and self.funds is not None and self.funds.waits)
        return not (waits or self.held or self._leaving) and self.breaker.closed

    @property
    def under_way(self) -> int:
        """Calls that somebody waits for."""
        return self._under_way

    @property
    def held(self) -> int:
        """Refused inputs that wait for a verdict, or for their retrial."""
        return len(self._suspects) + self._aside

    @property
    def _wants_others(self) -> bool:
        """Only what was refused is left to ask: another input could tell whether the remote or they are to blame."""
        return bool(self._suspects) and not self.knows and not self._queue

    def share(self, owned: int, partitions: int) -> None:
        """This worker owns so many partitions of so many, and may use as much of the limits."""
        self._leaving = False
        self.limits.share(owned, partitions, self._clock())
        self._pump()

    def change(self, policy: LimitsPolicy) -> None:
        """Other limits of the fleet."""
        self.limits.change(policy, self._clock())
        self._pump()

    def leave_waiting(self) -> None:
        """Partitions go: until the next `share`, whoever would wait is cancelled instead. Nothing of it was begun."""
        self._leaving = True
        self._send_suspects_away(asyncio.CancelledError())
        self._pump()

    async def enter(self, guess: int, cost: Amount = NOTHING) -> Permit:
        """Wait for the turn of a call that will take so many tokens, by a guess, and cost so much at most.

        Raises `CircuitOpen`, `BudgetSpent`, and `CancelledError` where the partitions go before it is its turn.
        """
        return self.at_once(guess, cost) or await wait_in(self._queue, Turn(guess, cost), self._pump)

    def at_once(self, guess: int, cost: Amount = NOTHING) -> Permit | None:
        """The permit of a call that need not wait, as most need not; None where it has to `enter`."""
        if self._queue or self._spent:
            return None
        now = self._clock()
        tokens = self.limits.estimate.of(guess)
        if self._wait_s(tokens, now) > 0 or not self._is_paid(cost):
            return None
        permit = self._begun(guess, cost, tokens, now)
        self._note_busy()
        self.on_pumped()
        return permit

    async def hold(self, permit: Permit, times: int, *, itself: bool = False, answered: bool = False) -> Verdict:
        """Wait for the verdict over an input that was refused, for the `times`th time, by the call of this permit.

        `itself`: where nobody else calls, it is asked once more before anything else is. `answered`: it was not
        refused, but its answer is of no use, and is paid for.

        Raises `CircuitOpen` where the remote is to blame and nobody waits for it, and `CancelledError` as `enter` does.
        """
        told: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._check_stay()
        if not self.knows and self.breaker.blames(permit.records):
            return "own"
        if not self.waits and not self.knows:
            return "unknown"
        well = permit.well and permit.opened == self.breaker.opened
        paid = answered and not permit.stopped and permit.opened == self.breaker.opened
        if permit.ended < self._answered:
            return "own" if well or paid else "again"
        suspect = Suspect(permit.ended, self._clock(), times, well, itself, paid, partial(_tell_verdict, told))
        self._suspects.add(suspect)
        self._tell_held()
        self._pump()
        try:
            return await told
        finally:
            self._suspects.remove(suspect)
            self._tell_held()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Who waits here for a retrial takes no place from others."""
        self._aside += 1
        self._tell_held()
        try:
            yield
        finally:
            self._aside -= 1
            self._tell_held()

    def _check_stay(self) -> None:
        if self._leaving:
            raise asyncio.CancelledError
        if not self.waits and not self.breaker.closed and self.breaker.stopped:
            raise self._closed()

    def _closed(self) -> CircuitOpen:
        return CircuitOpen(f"{self._news.down or 'the remote is down'}; no call was made")

    def _send_suspects_away(self, error: BaseException) -> None:
        for suspect in self._suspects.clear():
            suspect.tell(error)
        self._tell_held()

    def _tell_held(self) -> None:
        self.on_held(self.held)

    def takes_beside(self, calls: int) -> None:
        """So many calls are under way now that nobody waits for: they take places, too."""
        freed, self._beside = calls < self._beside, calls
        if freed:
            self._pump()

    def _pump(self) -> None:
        """Let go whose turn it is, and set the timer for the next."""
        if self._queue or self._suspects:
            self._pump_queue()
        self._note_busy()
        if self._queue and self._beside and math.isinf(self._room_s()):
            self.on_crowded(len(self._queue))
        self.on_pumped()

    def _note_busy(self) -> None:
        """Where all places are taken, others wait further up."""
        if self._queue or self._under_way >= self.limits.in_flight:
            self.busy_at = self._clock()

    def _pump_queue(self) -> None:
        while self._queue:
            now, turn = self._clock(), self._queue[0]
            if not self.waits and not self.breaker.admits(now):
                self._send_away(self._closed())
                continue
            means = self._means(turn.cost)
            if means in self._hopeless:
                self._send_away(BudgetSpent(_NO_MEANS[means]))
                continue
            if means != "yes" and not self._leaving:
                return
            tokens = self.limits.estimate.of(turn.guess)
            wait_s = self._wait_s(tokens, now)
            if wait_s > 0 and not self._leaving:
                self._pump_in(wait_s)
                return
            self._queue.popleft()
            if wait_s > 0 or means != "yes":
                turn.permit.cancel()
            elif not turn.permit.done():  # else cancelled, and not yet withdrawn
                turn.permit.set_result(self._begun(turn.guess, turn.cost, tokens, now))
        self._tend(self._clock())

    def _wait_s(self, tokens: float, now: float) -> float:
        """Seconds until a call of so many tokens may begin, where it has the money."""
        return max(self.breaker.wait_s(now), self.limits.wait_s(tokens, now), self._room_s())

    def _room_s(self) -> float:
        """No more calls are under way at once than may be; one of them ends first."""
        return math.inf if self._under_way + self._beside >= max(1, self.limits.in_flight) else 0.0

    def _tend(self, now: float) -> None:
        """Nobody waits for a turn. Where no call is under way either, one of those who were refused asks."""
        while self._suspects and not self._under_way:
            due_at = self._tended_at(now)
            if due_at > now:
                self._news.held(len(self._suspects), due_at - now, now)
                self._pump_in(due_at - now)
                return
            first = self._suspects.first(known=self.knows)
            verdict = self._verdict_when_idle(first, now)
            self._suspects.remove(first)
            first.tell(verdict)
            if verdict in ("again", "probe"):  # it makes a call
                return

    def _verdict_when_idle(self, suspect: Suspect, now: float) -> Verdict:
        closed = self.breaker.closed
        if closed and suspect.paid:
            return "own"
        if self.knows and not (closed and suspect.itself):
            self.breaker.check(now)
            return "probe"
        return "again" if self.waits or self.knows else "unknown"

    def _tended_at(self, now: float) -> float:
        """When one of those who were refused asks, where nobody else does."""
        if self.breaker.closed:
            return self._suspects.due_at(known=self.knows)
        return now + self.breaker.wait_s(now)

    def _send_away(self, error: RecordError) -> None:
        turn = self._queue.popleft()
        if not turn.permit.done():
            turn.permit.set_exception(error)

    def _is_paid(self, cost: Amount) -> bool:
        """There is money for a call, and nobody need be asked for more."""
        return self.funds is None or self.funds.purse.afford(cost, self.funds.now()) == "yes"

    def _means(self, cost: Amount) -> Means:
        """Whether there is money for a call. Where there is none yet, the log is asked; what it says pumps again."""
        if self.funds is None:
            return "yes"
        now = self.funds.now()
        means = self.funds.purse.afford(cost, now)
        self._tell_spent(means)
        if means == "soon":
            self.funds.on_need()
        elif means == "spent":
            until_s = self.funds.purse.policy.bounds_s(now)[1] - now
            self._pump_in(min(until_s, _LONGEST_S))
        return means

    def _tell_spent(self, means: Means) -> None:
        if means == "spent" and not self._spent:
            told = self.funds.purse.statistics() if self.funds is not None else {}
            log.warning("the budget of this period is spent", extra={"action": "budget_spent", "budget": told})
        elif means == "yes" and self._spent:
            log.info("there is a budget again", extra={"action": "budget_available"})
        self._spent = means == "spent" or (self._spent and means != "yes")

    def settle(self, reserved: Reserved, used: Amount) -> None:
        """What a call has cost: the rest may be spent again."""
        if self.funds is not None:
            self.funds.purse.settle(reserved, used, self.funds.now())
            self.funds.on_need()

    def funds_changed(self) -> None:
        """The log has said something: see whose turn it is."""
        self._pump()

    def _begun(self, guess: int, cost: Amount, tokens: float, now: float) -> Permit:
        """The permit of a call that begins now, which nothing keeps from it."""
        self.limits.take(tokens, now)
        probes = not self.breaker.closed
        if probes:
            log.info("one call probes the remote", extra={"action": "remote_probe"})
        reserved = self.funds.purse.reserve(cost, self.funds.now()) if self.funds is not None else None
        permit = Permit(self, self.breaker.begin(now), guess, tokens, reserved)
        self._order += 1
        self._under_way += 1
        permit.order, permit.probes = self._order, probes
        return permit

    def _pump_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not math.isinf(wait_s):  # else an outcome or a share comes first
            self._timer = asyncio.get_running_loop().call_later(max(wait_s, _SHORTEST_S), self._pump_now)

    def _pump_now(self) -> None:
        self._timer = None
        self._pump()

    def heard(self, headers: Mapping[str, str]) -> None:
        """Learn from a response's headers."""
        self.limits.learn(headers, self._clock())

    def used(self, permit: Permit, usage: Usage) -> None:
        """Settle what a call has reserved."""
        tokens = usage.prompt_tokens + usage.completion_tokens
        self.limits.estimate.learn(permit.guess, tokens)
        self.limits.settle(permit.tokens, tokens, self._clock())

    def leave(self, permit: Permit, error: BaseException | None) -> None:
        """The call has ended. A call that was cancelled says nothing."""
        now, was = self._clock(), self.breaker.state
        permit.ended = self._order
        self._note_busy()
        self._under_way -= 1
        if isinstance(error, RemoteFailure) and error.retry_after_s is not None:
            self.limits.hold(error.retry_after_s, now)
        self._weigh(permit, error, now)
        if isinstance(error, RecordError) or (error is None and not self._suspects):
            self._news.heard(error)
        if self.breaker.doubted and not self._under_way:
            self.breaker.decide(now, known=self.knows)
        permit.well, permit.opened, permit.stopped = self.breaker.well, self.breaker.opened, self.breaker.stopped
        if self.breaker.stopped:
            self._suspects.acquit()
        self._tell(was, permit, error, now)
        self._pump()

    def _weigh(self, permit: Permit, error: BaseException | None, now: float) -> None:
        """What the breaker hears. An answer of no use is worth as much as a refusal."""
        breaker, ticket = self.breaker, permit.ticket
        if error is None:
            breaker.succeeded(ticket)
            self._answered = max(permit.order, self._answered)
            self._suspects.answered(permit.order)
        elif tells_of_remote(error) and permit.asks_known:
            breaker.disproved(ticket, now)
        elif tells_of_remote(error):
            breaker.refused(ticket, now, permit.records, every=isinstance(error, Terminal))
        elif isinstance(error, RateLimited):
            self.limits.limited(now)
            breaker.limited(ticket, now, waits=self.waits)
        elif isinstance(error, RemoteFailure):
            breaker.failed(ticket, now)
        else:
            breaker.abandoned(ticket)

    def _tell(self, was: str, permit: Permit, error: BaseException | None, now: float) -> None:
        state = self.breaker.state
        if state == was:
            return
        if state == "stopped":
            useless = isinstance(error, Rejected) and not is_refusal(error)
            self._news.stopped(_USELESS if useless else _REFUSED, permit.asked)
            if not self.waits:
                self._send_suspects_away(self._closed())
        elif state == "open":
            self._news.opened(permit.asked, now)
        elif state == "closed":
            self._news.closed()

    def renewed(self) -> None:
        """What the remote refused us for may be mended: it is asked now, and not after its cool-down."""
        self.breaker.try_now(self._clock())
        self._pump()

    def _next_probe_s(self) -> float | None:
        """Seconds until a call may see how the remote is; None where all is well, or an outcome comes first."""
        now = self._clock()
        if self.breaker.closed and (not self._suspects or self._under_way or self._queue):
            return None
        wait_s = self._tended_at(now) - now
        return None if math.isinf(wait_s) else max(0.0, wait_s)

    def close(self) -> None:
        """Nobody enters any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def statistics(self) -> dict[str, Any]:
        """A snapshot, in the words of `__repr__`; `budget` only where there is one."""
        told = {
            "waiting": len(self._queue),
            "held": self.held,
            "said": self._news.said,
            "next_probe_s": self._next_probe_s(),
            "limits": self.limits.statistics(),
            "breaker": self.breaker.statistics(),
        }
        return told if self.funds is None else told | {"budget": self.funds.purse.statistics()}
