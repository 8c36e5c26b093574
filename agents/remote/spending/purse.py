"""What one worker may spend now: its part of the fleet's budget. No I/O, no clock of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from ....schemas.budget import NANO, NOTHING, Amount, BudgetEntry
from .budget import BudgetPolicy, Ledger, within

#: share of the lease below which more is asked for, so that calls need not wait for the log
_LOW = 0.5
#: seconds that a clock may be put back without another period beginning
_BACK_S = 60.0
#: seconds by which the log's time may be ahead before the worker's clock is doubted
_APART_S = 60.0
#: what every period begins and ends with: an hour of UTC
_HOUR_S = 3600.0


Means = Literal["yes", "soon", "spent", "never"]


@dataclass(frozen=True, slots=True)
class Reserved:
    """The most a call can cost, set aside before it is sent."""

    period: str
    amount: Amount
    turn: int = 0  #: of the purse's periods, for the same one may begin again where a clock is put right


def _new_id() -> str:
    return uuid4().hex


class Purse:
    """Reserves before a call, settles after it, and knows what to ask the fleet's log for.

    `now` is seconds since epoch, for periods are those of the calendar. What is `held` was granted and is not set
    aside for a call: it is one lease (or the dearest call) at most, and all that a crash forfeits. Calls under way when
    a worker dies count as spent.

    A clock that is wrong gets nothing from the log, and is followed back when it is put right: `apart_s` tells.
    """

    def __init__(self, policy: BudgetPolicy, worker: str = "", *, new_id: Callable[[], str] = _new_id) -> None:
        self.policy = policy
        self.ledger = Ledger()
        self.known = False  #: the log is read up to its end
        self.held = NOTHING
        self.refused = 0  #: leases in a row that the log granted nothing of, for its time lay in another period
        self.apart_s = 0.0  #: seconds by which the log's time was ahead of ours when they last disagreed, or met
        self._reserved = NOTHING  # in this period, for calls under way
        self._charged = NOTHING  # in this period, of this worker's calls
        self._leases: dict[str, Amount] = {}  # granted to us in this period, less what we gave back
        self._period = ""
        self._hour, self._in_hour = math.nan, ""  # that was looked up last, since epoch, and the period that it is in
        self._turns = 0
        self._latest = 0.0  # the latest moment of this period
        self._asked: BudgetEntry | None = None
        self._short: Amount | None = None  # the cost that could not be covered, until it can be
        self._dearest = NOTHING
        self._called_at = 0.0
        self._worker = worker
        self._new_id = new_id

    def __repr__(self) -> str:
        return f"<Purse {self._period} holds {self.held} of {self.policy.limit}>"

    @property
    def period(self) -> str:
        """The name of the period that it is in."""
        return self._period

    def afford(self, cost: Amount, now: float) -> Means:
        """Whether a call may go: yes; not before the log has granted more; not in this period; or in none, for a whole
        budget would not pay for it.
        """
        self._turn(now)
        cost = self.policy.counted(cost)
        if not self.policy.limit.covers(cost):
            return "never"
        self._dearest = self._dearest.at_least(cost)
        if self.held.covers(cost):
            self._short = None
            return "yes"
        self._short = cost
        if self._asked is None and self.known and not self.held.plus(self._left).covers(cost):
            return "spent"
        return "soon"

    def spent(self, now: float) -> bool:
        """The last call could not be covered, and still cannot."""
        return self._short is not None and self.afford(self._short, now) == "spent"

    def reserve(self, cost: Amount, now: float) -> Reserved:
        """Set the most a call can cost aside. Only after `afford` said yes."""
        cost = self.policy.counted(cost)
        self.held = self.held.minus(cost)
        self._reserved = self._reserved.plus(cost)
        self._called_at = now
        return Reserved(self._period, cost, self._turns)

    def settle(self, reserved: Reserved, used: Amount, now: float) -> None:
        """The call has cost so much: the rest can be spent again, within its period."""
        self._turn(now)
        if reserved.turn == self._turns:
            self._reserved = self._reserved.minus(reserved.amount)
            self._charged = self._charged.plus(self.policy.counted(used))
            self.held = self.held.plus(reserved.amount.minus(self.policy.counted(used)))

    def ask(self, now: float) -> BudgetEntry | None:
        """What to write into the log now: the same until it is read there; None for nothing."""
        self._turn(now)
        if self._asked is None and self.known and self._wants_more(now):
            out = self.held.plus(self._reserved)
            wanted = self._lease.minus(out).at_least((self._short or NOTHING).minus(self.held)).at_least(NOTHING)
            amount = wanted.at_most(self._left)
            if amount != NOTHING:
                self._asked = BudgetEntry(
                    "lease", self._new_id(), self._period, amount, self.policy.limit, self._worker
                )
        return self._asked

    def _wants_more(self, now: float) -> bool:
        lease = self._lease
        low = Amount(int(lease.money * _LOW), int(lease.calls * _LOW))
        return self._short is not None or not (self._idle(now) or self.held.covers(low))

    def _idle(self, now: float) -> bool:
        """Nobody has called for long, and nobody waits to."""
        return now - self._called_at >= self.policy.idle_s and self._short is None

    def read(self, entry: BudgetEntry, logged_s: float, now: float) -> None:
        """The next record of the log, whoever wrote it, and the log's time of it, seconds since epoch."""
        self._turn(now)
        granted = self.ledger.apply(entry, logged_s)
        self.ledger.forget_before(self.policy.period(min(now, max(0.0, logged_s))))
        if logged_s - now > _APART_S:
            self.apart_s = logged_s - now  # whatever has been written has been: our clock is behind
        if self._asked is None or entry.id != self._asked.id or entry.kind != "lease":
            return
        self._asked = None
        self.apart_s = logged_s - now
        self.refused = 0 if within(entry.period, logged_s) else self.refused + 1
        if granted is not None and entry.period == self._period:
            self._leases[entry.id] = granted
            self.held = self.held.plus(granted)

    def give_back(self, now: float, *, all_of_it: bool = False) -> list[BudgetEntry]:
        """What to write into the log: what is held beyond a lease, or all where it is not used.

        It is not held any more, written or not. Ask for it after calls have ended, and from time to time.
        """
        self._turn(now)
        coming = self._asked.amount if self._asked is not None else NOTHING
        held = self.held.at_least(NOTHING)  # less, where a remote has told more than its bound
        surplus = held.plus(coming).minus(self._lease).at_most(held).at_least(NOTHING)
        rest = held if all_of_it or self._idle(now) else surplus
        self.held = self.held.minus(rest)
        entries = []
        for lease in reversed(list(self._leases)):
            back = self._leases[lease].at_most(rest)
            if back != NOTHING:
                self._leases[lease] = self._leases[lease].minus(back)
                rest = rest.minus(back)
                entries.append(self._return(lease, back))
        return entries

    def _return(self, lease: str, amount: Amount) -> BudgetEntry:
        return BudgetEntry("return", lease, self._period, amount, worker=self._worker, return_id=self._new_id())

    @property
    def _lease(self) -> Amount:
        """As much as the policy says, or one call where that costs more."""
        return self.policy.lease.at_least(self._dearest)

    @property
    def _left(self) -> Amount:
        return self.policy.limit.minus(self.ledger.taken(self._period)).at_least(NOTHING)

    def _turn(self, now: float) -> None:
        """Another period: what was held for the last one is gone, and all is to be had anew."""
        period, latest = self._period_at(now), self._latest
        self._called_at = min(self._called_at, now)
        self._latest = max(now, latest)
        if period == self._period or (period < self._period and now > latest - _BACK_S):
            return
        self._period, self.held, self._reserved, self._charged = period, NOTHING, NOTHING, NOTHING
        self._turns, self._latest = self._turns + 1, now
        self._asked, self._short = None, None
        self._leases.clear()

    def _period_at(self, now: float) -> str:
        """Its name, looked up once an hour: no period begins or ends in one, and every call asks."""
        hour = now // _HOUR_S
        if hour != self._hour:
            self._hour, self._in_hour = hour, self.policy.period(hour * _HOUR_S)
        return self._in_hour

    def statistics(self) -> dict[str, Any]:
        """A snapshot, money in the currency of the settings: the budget and what the fleet has leased of it, and what
        this worker was charged. A budget of 0 is no limit.
        """
        limit, leased = self.policy.limit, self.ledger.taken(self._period)
        return {
            "period": self._period,
            "spent": self._short is not None and not self.held.plus(self._left).covers(self._short),
            "money": {
                "budget": limit.money / NANO,
                "leased": leased.money / NANO,
                "charged": self._charged.money / NANO,
            },
            "calls": {"budget": limit.calls, "leased": leased.calls, "charged": self._charged.calls},
            "clock_apart_s": self.apart_s,
        }
