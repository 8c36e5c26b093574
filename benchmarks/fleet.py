"""Simulation of a fleet of workers that share a limit without communicating, in virtual time.

Each worker has its own `Limits`, which know only how many partitions the worker owns. Workers join and leave. Each
change is a rebalance as in Kafka: all partitions are taken away, then assigned anew. The workers' clocks differ by a
bounded offset and run at slightly different rates. A worker calls only for partitions that it owns: the data plane
cancels the calls of a former owner, and a frozen process makes none.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from bisupervised.agents.remote.limiting.limits import Limits, LimitsPolicy

#: most seconds that a clock is off, and most that it runs fast or slow, as a share
SKEW_S, DRIFT = 1.0, 200e-6
#: most seconds that a call is on its way
NETWORK_S = 0.05
#: seconds between the end of an assignment and the next one, and most seconds until a worker knows it
GAP_S, SPREAD_S = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """The fleet that is simulated."""

    per_minute: float = 6000.0  #: limit of the whole fleet, calls
    partitions: int = 100
    minutes: float = 60.0
    most_workers: int = 100
    rebalance_every_s: float = 60.0  #: mean time between changes; 0 for a fleet that does not change
    backlogged: float = 1.0  #: share of the partitions that have a backlog
    seed: int = 0


@dataclass(slots=True)
class Found:
    """What the server counted."""

    calls: list[float] = field(default_factory=list)  #: when each call came, seconds
    rebalances: int = 0
    sizes: set[int] = field(default_factory=set)  #: the numbers of workers that there were

    def over(self, limit: float, window_s: float = 60.0) -> int:
        """The number of windows with more calls than the limit, among all windows that begin with a call."""
        return sum(held > limit for held in self._held(window_s))

    def _held(self, window_s: float) -> Iterator[int]:
        calls, end = sorted(self.calls), 0
        for first, began in enumerate(calls):
            while end < len(calls) and calls[end] < began + window_s:
                end += 1
            yield end - first

    def used(self, per_minute: float, minutes: float) -> float:
        """The share of the limit that was used after the first minute."""
        return sum(60.0 <= at < minutes * 60 for at in self.calls) / (per_minute * (minutes - 1))


class _Worker:
    """A worker with its own clock and its share of the limit."""

    def __init__(self, policy: FleetPolicy, dice: random.Random, now: float) -> None:
        self._offset = dice.uniform(-SKEW_S, SKEW_S)
        self._speed = 1.0 + dice.uniform(-DRIFT, DRIFT)
        self.limits = Limits(LimitsPolicy(policy.per_minute), self.clock(now))
        self.limits.share(0, policy.partitions, self.clock(now))
        self.assignment = 0  # which one its next call belongs to

    def clock(self, now: float) -> float:
        return 1000.0 + self._offset + now * self._speed

    def wait_s(self, now: float) -> float:
        return self.limits.wait_s(1, self.clock(now)) / self._speed

    def take(self, now: float) -> None:
        self.limits.take(1, self.clock(now))


class _Fleet:
    """The present workers, and the calls that they will make."""

    def __init__(self, policy: FleetPolicy, workers: int) -> None:
        self._policy = policy
        self._dice = random.Random(policy.seed)
        self._events: list[tuple[float, int, _Worker, int]] = []
        self._order = count()
        self._rich = set(self._dice.sample(range(policy.partitions), round(policy.backlogged * policy.partitions)))
        self.found = Found()
        self._workers = [_Worker(policy, self._dice, 0.0) for _ in range(workers)]
        self._assign(0.0)

    def run(self) -> Found:
        end = self._policy.minutes * 60
        next_change = self._next_change(0.0)
        while self._events:
            at = self._events[0][0]
            if next_change < at and next_change < end:
                self._change(next_change)
                next_change = self._next_change(next_change)
                continue
            if at >= end:
                return self.found
            _, _, worker, assignment = heapq.heappop(self._events)
            if worker.assignment == assignment:
                self._call(worker, at)
        return self.found

    def _next_change(self, now: float) -> float:
        every = self._policy.rebalance_every_s
        return now + GAP_S + SPREAD_S + self._dice.expovariate(1 / every) if every else float("inf")

    def _call(self, worker: _Worker, now: float) -> None:
        wait_s = worker.wait_s(now)
        if wait_s == 0.0:
            worker.take(now)
            self.found.calls.append(now + self._dice.uniform(0.0, NETWORK_S))
            wait_s = worker.wait_s(now)
        self._plan(worker, now + max(wait_s, 1e-6))

    def _plan(self, worker: _Worker, at: float) -> None:
        heapq.heappush(self._events, (at, next(self._order), worker, worker.assignment))

    def _change(self, now: float) -> None:
        """Change the number of workers: take all partitions away, and assign them after a while."""
        self.found.rebalances += 1
        for worker in self._workers:
            worker.assignment += 1
            worker.limits.share(0, self._policy.partitions, worker.clock(now))
        size = self._dice.randint(1, self._policy.most_workers)
        self._dice.shuffle(self._workers)
        del self._workers[size:]
        self._workers += [_Worker(self._policy, self._dice, now) for _ in range(size - len(self._workers))]
        self._assign(now + GAP_S)

    def _assign(self, now: float) -> None:
        workers, partitions = self._workers, self._policy.partitions
        self.found.sizes.add(len(workers))
        for number, worker in enumerate(workers):
            owned = range(number, partitions, len(workers))
            knows_at = now + self._dice.uniform(0.0, SPREAD_S)
            worker.limits.share(len(owned), partitions, worker.clock(knows_at))
            if self._rich.intersection(owned):
                self._plan(worker, knows_at)


def simulate(policy: FleetPolicy, workers: int) -> Found:
    """Simulate a fleet that begins with so many workers."""
    return _Fleet(policy, workers).run()
