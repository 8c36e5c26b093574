"""What a recording can cost at most, and the purse that holds it to that: the worker's own, without a fleet."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from ...agents.remote.spending.budget import BudgetPolicy
from ...agents.remote.spending.funds import Funds
from ...agents.remote.spending.purse import Purse
from ...schemas.budget import NANO, Amount

#: of what all calls can cost, what more is allowed for those that fail, may be billed, and are made again
_AGAIN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Bound:
    """What the calls that are left can cost."""

    inputs: int = 0  #: that they ask about
    unaskable: int = 0  #: inputs that cannot be asked
    money: int = 0  #: nano-units of all calls, each made once
    dearest: int = 0  #: nano-units of one

    def with_call(self, money: int) -> Bound:
        """And one call more."""
        return replace(self, inputs=self.inputs + 1, money=self.money + money, dearest=max(self.dearest, money))

    def unasked(self) -> Bound:
        """And one input more that cannot be asked."""
        return replace(self, unaskable=self.unaskable + 1)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be spent: nano-units of money. No call is made that could exceed the limit."""

    bound: Bound
    limit: int
    every_try: float  #: money that pays for the whole recording, even if each call that is left takes all its tries

    @property
    def bound_money(self) -> float:
        return self.bound.money / NANO

    @property
    def limit_money(self) -> float:
        return self.limit / NANO


@dataclass(frozen=True, slots=True)
class Calling:
    """How calls are made."""

    unit: int  #: inputs of one, at most
    tries: int


def allowed(bound: Bound, calling: Calling, most_cost: float | None, spent: float) -> Allowance:
    """`most_cost`: that the whole recording may cost, of which `spent` is gone. Without it some calls may be billed
    twice: a tenth of all, and all tries of two calls at least, for a call that fails in vain is tried that often.
    """
    every_try = spent + bound.money * calling.tries / NANO
    if most_cost is not None:
        return Allowance(bound, max(0, math.floor(round((most_cost - spent) * NANO, 3))), every_try)
    again = max(math.ceil(bound.money * _AGAIN_SHARE), 2 * calling.tries * calling.unit * bound.dearest)
    return Allowance(bound, bound.money + again, every_try)


def funds(allowance: Allowance) -> Funds | None:
    """The purse that pays for the calls, with all of the limit in it; None where calls cost nothing.

    Calls for which it does not suffice are sent away. Its time stands still, so that no other period begins.
    """
    if not allowance.bound.money:
        return None
    now = time.time()
    purse = Purse(BudgetPolicy(Amount(allowance.limit), "month", lease_share=1.0, idle_s=math.inf))
    purse.known = True
    if (entry := purse.ask(now)) is not None:
        purse.read(entry, now, now)
    return Funds(purse, waits=False, now=lambda: now)
