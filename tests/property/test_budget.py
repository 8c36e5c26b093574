"""10,000 random schedules of a fleet: calls, failures, cancellations, crashes, slow readers, a log that is read again,
clocks that are wrong. Never over the budget.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.agents.remote.spending.purse import Purse, Reserved
from bisupervised.schemas.budget import NOTHING, Amount, BudgetEntry, decode_entry, encode_entry

SCHEDULES = 10_000
STEPS = 150
HOUR_S = 3600.0
#: seconds that a clock may be wrong by
WRONG_S = (-3e8, -86_400.0, -HOUR_S, -90.0, -1.0, 0.0, 1.0, 90.0, HOUR_S, 86_400.0, 5e8)


@dataclass
class Worker:
    """A purse, how far it has read the log, and its calls under way, each with what it will be billed."""

    purse: Purse
    read: int = 0
    wrong_s: float = 0.0  #: that its clock is ahead
    calls: list[tuple[Reserved, Amount]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)


class Fleet:
    """Workers over one log. The remote bills every call in the period in which it was sent.

    Of the workers' clocks and the broker's, one side is right.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.clocks = chance.choice(("right", "workers wrong", "broker wrong"))
        self.broker_wrong_s = 0.0
        money = chance.choice((0, 50, 997, 10_000))
        calls = chance.choice((0, 1, 7, 300)) if money else chance.choice((1, 7, 300))
        self.policy = BudgetPolicy(Amount(money, calls), "hour", chance.choice((0.01, 0.1, 0.5)), idle_s=30.0)
        self.dearest = chance.choice((1, 13, 60))
        self.now = 1_700_000_000.0 + chance.random() * HOUR_S
        self.log: list[tuple[bytes, float]] = []  # each with the log's time
        self.billed: dict[str, Amount] = {}  # by the period that the worker believed in
        self.truly: dict[str, Amount] = {}  # by that of the remote
        self.names = 0
        self.workers = [self.worker() for _ in range(chance.randint(1, 4))]

    def worker(self) -> Worker:
        self.names += 1
        name, ids = self.names, iter(range(10_000))
        return Worker(Purse(self.policy, str(name), new_id=lambda: f"{name}-{next(ids)}"))

    def step(self) -> None:
        worker = self.chance.choice(self.workers)
        act = self.chance.choices(
            (self.call, self.end, self.look, self.write, self.wait, self.idle, self.crash, self.put_wrong, self.again),
            (8, 6, 6, 6, 2, 1, 1, 1, 1),
        )[0]
        act(worker)

    def call(self, worker: Worker) -> None:
        most = Amount(self.chance.randint(1, self.dearest), 1)
        if worker.purse.afford(most, self.by(worker)) == "yes":
            reserved = worker.purse.reserve(most, self.by(worker))
            billed = self.chance.choice((most, Amount(self.chance.randint(0, most.money), 1), NOTHING))
            for known, period in ((self.billed, reserved.period), (self.truly, self.policy.period(self.now))):
                known[period] = known.get(period, NOTHING).plus(self.policy.counted(billed))
            worker.calls.append((reserved, billed))

    def end(self, worker: Worker) -> None:
        """Answered: as billed. Failed or cancelled: at the most, unless it surely was not billed."""
        if worker.calls:
            reserved, billed = worker.calls.pop(self.chance.randrange(len(worker.calls)))
            known = self.chance.random() < 0.6
            worker.purse.settle(reserved, billed if known else reserved.amount.at_least(billed), self.by(worker))
            self.give_back(worker)

    def look(self, worker: Worker) -> None:
        """Read some of the log, or all of it."""
        until = self.chance.randint(worker.read, len(self.log))
        for value, logged_s in self.log[worker.read : until]:
            worker.purse.read(decode_entry(value), logged_s, self.by(worker))
        worker.read = until
        worker.purse.known = worker.purse.known or worker.read == len(self.log)

    def write(self, worker: Worker) -> None:
        """Ask, now and then twice for the same."""
        entry = worker.purse.ask(self.by(worker))
        if entry is not None and (entry.id not in worker.asked or self.chance.random() < 0.2):
            worker.asked.add(entry.id)
            self.append(entry)

    def append(self, entry: BudgetEntry) -> None:
        if self.chance.random() < 0.95:  # else the broker never got it
            self.log += [(encode_entry(entry), self.now + self.broker_wrong_s)] * self.chance.choice((1, 1, 1, 1, 2))

    def idle(self, worker: Worker) -> None:
        self.give_back(worker, all_of_it=self.chance.random() < 0.3)

    def give_back(self, worker: Worker, *, all_of_it: bool = False) -> None:
        for entry in worker.purse.give_back(self.by(worker), all_of_it=all_of_it):
            self.append(entry)

    def wait(self, _worker: Worker) -> None:
        self.now += self.chance.choice((0.1, 40.0, 900.0))

    def by(self, worker: Worker) -> float:
        """The time by its clock."""
        return self.now + worker.wrong_s

    def put_wrong(self, worker: Worker) -> None:
        """Somebody sets a clock, or puts it right."""
        if self.clocks == "workers wrong":
            worker.wrong_s = self.chance.choice(WRONG_S)
        elif self.clocks == "broker wrong":
            self.broker_wrong_s = self.chance.choice(WRONG_S)

    def again(self, worker: Worker) -> None:
        """The broker has lost part of its log, as the client believes: some of it is read again."""
        worker.read = self.chance.randint(0, worker.read)

    def crash(self, worker: Worker) -> None:
        """What it held is gone, and what it had asked for as well."""
        period = self.policy.period(self.by(worker))
        asked = worker.purse._asked
        gone = worker.purse.held.plus(asked.amount if asked else NOTHING)
        lease = self.most_held
        if worker.purse._period == period:
            assert lease.covers(gone), (gone, lease)
        self.workers[self.workers.index(worker)] = self.worker()

    @property
    def most_held(self) -> Amount:
        return self.policy.lease.at_least(self.policy.counted(Amount(self.dearest, 1)))

    def check(self) -> None:
        for period, billed in self.billed.items():
            assert self.policy.limit.covers(billed), (period, billed, self.policy)
        # what a worker holds when the period ends, it may spend for as long as its clock says that it has not
        late = Amount(self.names * self.most_held.money, self.names * self.most_held.calls)
        for period, billed in self.truly.items():
            assert self.policy.limit.plus(late).covers(billed), (self.clocks, period, billed, self.policy)

    def put_right(self) -> None:
        """All clocks are right, and a period begins in which nobody has spent."""
        self.broker_wrong_s, self.now = 0.0, self.now + 2 * HOUR_S
        cost = self.policy.counted(Amount(1, 1))
        for worker in self.workers:
            worker.wrong_s = 0.0
            for _ in range(3):  # one to be told that what it asked for last was refused
                if worker.purse.afford(cost, self.now) == "yes":
                    break
                entry = worker.purse.ask(self.now)
                self.log += [(encode_entry(entry), self.now)] if entry is not None else []
                for value, logged_s in self.log[worker.read :]:
                    worker.purse.read(decode_entry(value), logged_s, self.now)
                worker.read, worker.purse.known = len(self.log), True
        assert any(worker.purse.afford(cost, self.now) == "yes" for worker in self.workers)


@pytest.mark.parametrize("part", range(10))
def test_never_over_and_a_crash_forfeits_a_lease_at_most(part: int) -> None:
    """Nor where a clock is wrong, and then what is forfeited is had again in the next period."""
    spent: Counter[str] = Counter()
    for seed in range(SCHEDULES // 10):
        fleet = Fleet(random.Random(part * SCHEDULES + seed))
        for _ in range(STEPS):
            fleet.step()
            fleet.check()
        limit = fleet.policy.limit
        spent[fleet.clocks] += any(limit.at_most(billed) == limit for billed in fleet.billed.values())
        fleet.put_right()
    assert spent["right"] > SCHEDULES // 2000, f"some spend all of it, so that one more would be over: {spent}"


class Greedy(Fleet):
    """Workers that spend all they can get, a call at a time."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.policy, self.dearest = BudgetPolicy(Amount(0, 20), "hour", 0.1, idle_s=30.0), 1
        self.workers = [self.worker() for _ in range(3)]
        self.clocks = chance.choice(("workers wrong", "broker wrong"))

    def step(self) -> None:
        worker = self.chance.choice(self.workers)
        acts = (self.spend, self.return_all, self.again, self.put_wrong, self.wait)
        self.chance.choices(acts, (20, 3, 2, 1, 1))[0](worker)

    def put_wrong(self, worker: Worker) -> None:
        """Every second time, it is put right."""
        super().put_wrong(worker)
        if self.chance.random() < 0.5:
            worker.wrong_s = self.broker_wrong_s = 0.0

    def wait(self, _worker: Worker) -> None:
        self.now += self.chance.choice((0.1, 40.0, 300.0))

    def spend(self, worker: Worker) -> None:
        self.catch_up(worker)
        self.call(worker)
        entry = worker.purse.ask(self.by(worker))
        if entry is not None:
            self.append(entry)
            self.catch_up(worker)
        self.end(worker)

    def return_all(self, worker: Worker) -> None:
        self.give_back(worker, all_of_it=True)

    def catch_up(self, worker: Worker) -> None:
        for value, logged_s in self.log[worker.read :]:
            worker.purse.read(decode_entry(value), logged_s, self.by(worker))
        worker.read, worker.purse.known = len(self.log), True


def test_no_clock_opens_a_period_alone_and_nothing_comes_back_twice() -> None:
    spent: Counter[str] = Counter()
    for seed in range(SCHEDULES // 20):
        fleet = Greedy(random.Random(seed))
        for _ in range(2 * STEPS):
            fleet.step()
            fleet.check()
        spent[fleet.clocks] += any(2 * billed.calls > fleet.policy.limit.calls for billed in fleet.truly.values())
        fleet.put_right()
    assert min(spent["workers wrong"], spent["broker wrong"]) > SCHEDULES // 200, spent
