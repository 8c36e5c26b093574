"""How often a batch is looked at, and how long what failed waits. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

#: by how much of its age a batch may be looked at late
_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class PacePolicy:
    """Seconds between two looks."""

    first_s: float = 10.0  #: at the beginning, and the least
    most_s: float = 300.0

    def poll_s(self, age_s: float) -> float:
        """Seconds until the next look at a batch of this age: a share of it, so that no answer waits much longer than
        it took.
        """
        return min(max(self.first_s, age_s * _SHARE), max(self.first_s, self.most_s))

    def again_s(self, failures: int, wish_s: float | None = None, random: float = 0.5) -> float:
        """Seconds until what has failed so often in a row is tried again: doubled each time, half to one and a half
        times that by `random` (0..1); the server's own wish where that is longer.
        """
        wait_s = min(self.first_s * 2.0 ** min(failures, 30), max(self.first_s, self.most_s)) * (0.5 + random)
        return max(wait_s, wish_s or 0.0)
