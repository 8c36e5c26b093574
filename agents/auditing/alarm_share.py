"""How many requests are audited: more of them for a while after an alarm, so that evidence comes sooner.

All requests are drawn with the same probability at any time, so the evidence stays unbiased: a request counts once,
whatever the share was when it came.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlarmShare:
    """The share of requests that is audited. Raises `ValueError` for shares or numbers that cannot be."""

    usual: float  #: of all requests, 0..1, above 0
    alarm: float  #: after an alarm; not below the usual one
    requests: int = 2_000  #: audited requests after an alarm until the share falls again
    budget: float = 5_000.0  #: audits that alarms may cost besides the usual ones; then the share falls at once

    def __post_init__(self) -> None:
        if not 0.0 < self.usual <= self.alarm <= 1.0:
            raise ValueError(f"shares are 0 < usual <= alarm <= 1, and not {self.usual:g} and {self.alarm:g}")
        if self.requests < 0 or self.budget < 0.0:
            raise ValueError("neither requests nor a budget are below 0")

    def at(self, since_alarm: int | None, spent: float) -> float:
        """The share now. `since_alarm`: audited requests since the last alarm; `spent`: of the budget."""
        if since_alarm is None or since_alarm >= self.requests or spent >= self.budget:
            return self.usual
        return self.alarm

    def cost(self, share: float) -> float:
        """What an audited request that was drawn with this share takes from the budget: 0..1 of an audit.

        Of those that a higher share draws, the usual one would have drawn some as well.
        """
        return 0.0 if share <= self.usual else 1.0 - self.usual / share
