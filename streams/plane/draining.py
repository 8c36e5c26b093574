"""How long work in flight may hold up a release. Decides without I/O, with time passed in."""

from __future__ import annotations


class Draining:
    """One drain for all releases that follow each other closely.

    A worker that leaves and the one that takes its place make two rebalances, and whoever waits for a partition waits
    for both. So the second drain gets what the first one left. After as many quiet seconds as a drain may take, there
    is a whole one again.
    """

    def __init__(self, drain_s: float) -> None:
        """`drain_s`: seconds of a whole drain."""
        self._drain_s = drain_s
        self._left_s = drain_s
        self._until = 0.0
        self._under_way = 0  # releases: a stop and a rebalance may be at it at once
        self._ended_at = -float("inf")

    def begin(self, now: float) -> float:
        """A release begins. Returns until when it waits for what is in flight."""
        if not self._under_way:
            if now - self._ended_at >= self._drain_s:
                self._left_s = self._drain_s
            self._until = now + self._left_s
        self._under_way += 1
        return self._until

    def end(self, now: float) -> None:
        """It has ended."""
        self._under_way -= 1
        if not self._under_way:
            self._ended_at = now
            self._left_s = max(0.0, self._until - now)
