"""When the next transaction may begin. No I/O, no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

#: seconds over which the load is taken at least: a few outcomes at once are none yet
_BURST_S = 0.05
#: weight of the newest in what a send is thought to take
_NEWEST = 0.1


@dataclass(frozen=True, slots=True)
class PacingPolicy:
    """How far apart transactions are."""

    commit_interval_s: float  #: seconds between two transactions under full load
    loaded_per_s: float = 1_000.0  #: outcomes a second that mean full load; with fewer the interval is shorter
    unhurried_s: float = 0.0  #: seconds between two transactions at least, load or not

    @property
    def longest_s(self) -> float:
        """Seconds that may pass between two transactions while there is something to send."""
        return max(self.commit_interval_s, self.unhurried_s)


class Pacing:
    """The pace of one partition's transactions.

    The more outcomes leave in a second, the longer until the next transaction, for each transaction costs as much as a
    hundred records. The load counts squared: with little of it, nobody else needs the time. After each transaction
    comes a pause as long as transactions take: those of several partitions wait for each other at the broker, and back
    to back all of them take longer.
    """

    def __init__(self, policy: PacingPolicy, now: float) -> None:
        self._policy = policy
        self._began_at = now
        self._took_s = 0.0  # what a send takes, of late
        self._per_s = 0.0  # outcomes, of late
        self._counted_from = now
        self._outcomes = 0

    def begins(self, outcomes: int, now: float) -> None:
        """A transaction with so many outcomes begins."""
        self._began_at = now
        self._outcomes += outcomes
        if now - self._counted_from >= _BURST_S:
            self._per_s = self._outcomes / (now - self._counted_from)
            self._counted_from, self._outcomes = now, 0

    def went_through(self, now: float) -> None:
        """The one that began last did."""
        self._took_s += _NEWEST * (now - self._began_at - self._took_s)

    def rest_s(self, now: float) -> float:
        """Seconds until the next one may begin; 0 or less where it may."""
        most_s = self._policy.commit_interval_s
        load = min(1.0, self._per_s / self._policy.loaded_per_s)
        interval_s = max(self._policy.unhurried_s, load**2 * most_s, min(2 * self._took_s, most_s))
        return self._began_at + interval_s - now
