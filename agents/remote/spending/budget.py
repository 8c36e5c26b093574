"""The budget of a fleet: how much a period allows, and who of the fleet may spend it. No I/O, no clock of its own.

Workers write what they ask for into one log (a topic of one partition), and read it. Its order decides: every reader
applies the same rule to the same records, so all of them know what each was granted, without talking to each other.

    granted = min(asked, limit − granted before in this period + given back in it)
              nothing where the log's own time does not lie in the period

A worker spends only what it has read to be granted to it, so that everything is in the log *before* it is spent. What
a worker held when it died is gone for the period: at most one lease, for it asks only for what makes its lease full.

Time has two witnesses: the worker's clock says for which period it asks, and the log's time, which the broker writes to
each record, says whether that is the present one. So no clock opens a period alone, and all readers agree about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from ....schemas.budget import NOTHING, Amount, BudgetEntry

Per = Literal["hour", "day", "month"]
_FORMATS: dict[Per, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """How much, and in how large pieces."""

    limit: Amount  #: of a whole period; 0 stands for no limit
    per: Per = "day"  #: calendar periods, UTC
    lease_share: float = 0.01  #: of the limit, that a worker holds at most
    idle_s: float = 30.0  #: seconds without a call after which a worker gives back what it holds

    @property
    def lease(self) -> Amount:
        """What a worker holds at most, unless one call costs more. At least one call."""
        calls = int(self.limit.calls * self.lease_share) or min(1, self.limit.calls)
        return Amount(int(self.limit.money * self.lease_share), calls)

    def counted(self, cost: Amount) -> Amount:
        """The part of a cost that has a budget."""
        return Amount(cost.money if self.limit.money else 0, cost.calls if self.limit.calls else 0)

    def period(self, now_s: float) -> str:
        """The name of the period at this time, seconds since epoch."""
        return datetime.fromtimestamp(now_s, UTC).strftime(_FORMATS[self.per])

    def bounds_s(self, now_s: float) -> tuple[float, float]:
        """When the period at this time began and ends, seconds since epoch."""
        now = datetime.fromtimestamp(now_s, UTC).replace(minute=0, second=0, microsecond=0)
        if self.per == "hour":
            return now.timestamp(), (now + timedelta(hours=1)).timestamp()
        day = now.replace(hour=0)
        if self.per == "day":
            return day.timestamp(), (day + timedelta(days=1)).timestamp()
        first = day.replace(day=1)
        return first.timestamp(), (first + timedelta(days=32)).replace(day=1).timestamp()


def within(period: str, at_s: float) -> bool:
    """Whether a moment, seconds since epoch, lies in the period of this name. No moment lies in one that is none."""
    try:
        moment = datetime.fromtimestamp(at_s, UTC)
    except (ValueError, OverflowError, OSError):  # beyond the calendar: a clock that is not worth the name
        return False
    return period in [moment.strftime(written) for written in _FORMATS.values()]


class Ledger:
    """What the log says. Every reader that has applied the same records says the same."""

    def __init__(self) -> None:
        self._leases: dict[str, dict[str, Amount]] = {}  # period -> lease -> what of it was granted and not returned
        self._taken: dict[str, Amount] = {}  # period -> the sum of these
        self._returns: dict[str, set[str]] = {}  # period -> returns that were applied

    def __repr__(self) -> str:
        return f"<Ledger {self._taken}>"

    def apply(self, entry: BudgetEntry, logged_s: float) -> Amount | None:
        """The next record, and the log's time of it, seconds since epoch. Applied again, it changes nothing.

        Answers what a new lease was granted; None for all else.
        """
        leases = self._leases.setdefault(entry.period, {})
        taken = self._taken.get(entry.period, NOTHING)
        if entry.kind == "lease":
            if entry.id in leases:
                return None
            left = entry.limit.minus(taken) if within(entry.period, logged_s) else NOTHING
            granted = entry.amount.at_most(left).at_least(NOTHING)
            leases[entry.id] = granted
            self._taken[entry.period] = taken.plus(granted)
            return granted
        if not self._returned_before(entry):
            back = entry.amount.at_most(leases.get(entry.id, NOTHING)).at_least(NOTHING)
            leases[entry.id] = leases.get(entry.id, NOTHING).minus(back)
            self._taken[entry.period] = taken.minus(back)
        return None

    def _returned_before(self, entry: BudgetEntry) -> bool:
        returns = self._returns.setdefault(entry.period, set())
        known = entry.return_id in returns
        if entry.return_id:
            returns.add(entry.return_id)
        return known

    def held(self, period: str, lease: str) -> Amount | None:
        """What of a lease was granted and not given back; None where nobody asked for it in this period."""
        return self._leases.get(period, {}).get(lease)

    def returned(self, period: str, return_id: str) -> bool:
        """A return of this id was applied."""
        return return_id in self._returns.get(period, ())

    def taken(self, period: str) -> Amount:
        """Granted in this period, less what was given back."""
        return self._taken.get(period, NOTHING)

    def forget_before(self, period: str) -> None:
        """Periods that are over are of no use to anybody."""
        for old in [known for known in self._leases if known < period]:
            del self._leases[old]
            self._taken.pop(old, None)
            self._returns.pop(old, None)
