"""What batches may spend: each has a lease of its own in the fleet's log. No I/O, no clock of its own.

A batch is money under way for hours, and another worker may settle it. So its lease is not the worker's: its id follows
from the batch, any worker finds it in the log again, and whoever settles gives the rest back under the batch's own
name. Both stand there once, however often they are written.

    granted whole ─▶ spent by the batch ─▶ the rest is given back
    granted in part ─▶ given back at once, and asked for again when there is more
"""

from __future__ import annotations

from dataclasses import dataclass

from ....schemas.budget import NOTHING, Amount, BudgetEntry
from .budget import BudgetPolicy, Ledger, within
from .purse import Means

#: how often one batch asks anew in one period, at most: each time somebody else was quicker
_MOST_ASKED = 1000


@dataclass(frozen=True, slots=True)
class Advance:
    """Money that the log grants to a batch."""

    id: str  #: of the lease
    period: str
    amount: Amount


@dataclass(slots=True)
class _Wanted:
    amount: Amount
    entry: BudgetEntry | None = None  # asked for, and not read back


class Advances:
    """Leases of batches: what to write into the log for them, and what it has granted. `now` is seconds since epoch."""

    def __init__(self, policy: BudgetPolicy, worker: str = "") -> None:
        self.policy = policy
        self.ledger = Ledger()
        self.known = False  #: the log is read up to its end
        self.refused = 0  #: leases in a row that the log granted nothing of, for its time lay in another period
        self.apart_s = 0.0  #: seconds by which the log's time was ahead of ours when they last disagreed, or met
        self.period = ""  #: the name of the period that it is in
        self._worker = worker
        self._wanted: dict[str, _Wanted] = {}
        self._returns: dict[str, BudgetEntry] = {}  # by their own id, not read back yet

    def __repr__(self) -> str:
        return f"<Advances {self.period} {len(self._wanted)} wanted>"

    # what a batch asks

    def want(self, name: str, cost: Amount, now: float) -> Advance | Means:
        """The advance for a batch of this name; else whether there will be one: `soon`, `spent` for this period, or
        `never`, for a whole budget would not pay for it. Ask again when the log was read.
        """
        self._turn(now)
        cost = self.policy.counted(cost)
        if not self.policy.limit.covers(cost):
            return "never"
        if not self.known:
            return "soon"
        if (found := self._found(name, cost)) is not None:
            self._wanted.pop(name, None)
            return found
        wanted = self._wanted.setdefault(name, _Wanted(cost))
        wanted.amount = cost
        if wanted.entry is None and not self._left.covers(cost):
            return "spent"
        return "soon"

    def _found(self, name: str, cost: Amount) -> Advance | None:
        """A lease of the present period that the log granted whole, and that was not given back."""
        for number in range(self._asked_before(name)):
            lease = _lease_id(name, number)
            if self.ledger.held(self.period, lease) == cost and not self._given_back(lease):
                return Advance(lease, self.period, cost)
        return None

    def _given_back(self, lease: str) -> bool:
        return lease in self._returns or self.ledger.returned(self.period, lease)

    def _asked_before(self, name: str) -> int:
        numbers = range(_MOST_ASKED)
        return next((n for n in numbers if self.ledger.held(self.period, _lease_id(name, n)) is None), _MOST_ASKED)

    def drop(self, name: str) -> None:
        """Nobody wants it any more."""
        self._wanted.pop(name, None)

    def settle(self, advance: Advance, used: Amount) -> None:
        """The batch has used so much. What is left of the advance goes back, once, within its period."""
        back = advance.amount.minus(self.policy.counted(used)).at_least(NOTHING)
        if advance.period == self.period and back != NOTHING:
            self._give_back(advance.id, back)

    def settled(self, advance: Advance) -> bool:
        """Nothing is to be written about it any more."""
        return advance.id not in self._returns

    def _give_back(self, lease: str, amount: Amount) -> None:
        self._returns[lease] = BudgetEntry("return", lease, self.period, amount, worker=self._worker, return_id=lease)

    # what the log asks

    def ask(self, now: float) -> BudgetEntry | None:
        """What to write into the log now; the same until it is read there; None for nothing."""
        self._turn(now)
        for entry in self._returns.values():
            return entry
        if not self.known:
            return None
        for name, wanted in self._wanted.items():
            if wanted.entry is None and self._found(name, wanted.amount) is None and self._left.covers(wanted.amount):
                lease = _lease_id(name, self._asked_before(name))
                limit = self.policy.limit
                wanted.entry = BudgetEntry("lease", lease, self.period, wanted.amount, limit, self._worker)
            if wanted.entry is not None:
                return wanted.entry
        return None

    def read(self, entry: BudgetEntry, logged_s: float, now: float) -> None:
        """The next record of the log, whoever wrote it, and the log's time of it, seconds since epoch."""
        self._turn(now)
        granted = self.ledger.apply(entry, logged_s)
        self.ledger.forget_before(self.policy.period(min(now, max(0.0, logged_s))))
        if entry.kind == "return":
            self._returns.pop(entry.return_id, None)
            return
        for wanted in self._wanted.values():
            if wanted.entry is not None and wanted.entry.id == entry.id:
                self._heard(wanted, entry, granted, logged_s, now)

    def _heard(self, wanted: _Wanted, entry: BudgetEntry, granted: Amount | None, logged_s: float, now: float) -> None:
        wanted.entry = None
        self.apart_s = logged_s - now
        self.refused = 0 if within(entry.period, logged_s) else self.refused + 1
        if granted is not None and NOTHING != granted != entry.amount and entry.period == self.period:
            self._give_back(entry.id, granted)  # somebody else was quicker: a part of a batch cannot be asked

    def give_back(self, now: float, *, all_of_it: bool = False) -> list[BudgetEntry]:  # as a purse has it
        """Nothing is held here: what batches hold is theirs."""
        self._turn(now)
        return []

    @property
    def _left(self) -> Amount:
        return self.policy.limit.minus(self.ledger.taken(self.period)).at_least(NOTHING)

    def _turn(self, now: float) -> None:
        """Another period: what was asked for and given back in the last one is of no use to anybody."""
        period = self.policy.period(now)
        if period == self.period:
            return
        self.period = period
        self._returns.clear()
        for wanted in self._wanted.values():
            wanted.entry = None


def _lease_id(name: str, number: int) -> str:
    """A batch may ask again where it got a part only: a lease stands in the log once."""
    return f"{name}#{number}"
