"""10,000 random schedules of a fleet: calls, failures, cancellations, crashes, slow readers. Never over the budget."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.agents.remote.spending.purse import Purse, Reserved
from bisupervised.schemas.budget import NOTHING, Amount, BudgetEntry, decode_entry, encode_entry

SCHEDULES = 10_000
STEPS = 150
HOUR_S = 3600.0


@dataclass
class Worker:
    """A purse, how far it has read the log, and its calls under way, each with what it will be billed."""

    purse: Purse
    read: int = 0
    calls: list[tuple[Reserved, Amount]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)


class Fleet:
    """Workers over one log. The remote bills every call in the period in which it was sent."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        money = chance.choice((0, 50, 997, 10_000))
        calls = chance.choice((0, 1, 7, 300)) if money else chance.choice((1, 7, 300))
        self.policy = BudgetPolicy(Amount(money, calls), "hour", chance.choice((0.01, 0.1, 0.5)), idle_s=30.0)
        self.dearest = chance.choice((1, 13, 60))
        self.now = 1_700_000_000.0 + chance.random() * HOUR_S
        self.log: list[bytes] = []
        self.billed: dict[str, Amount] = {}
        self.names = 0
        self.workers = [self.worker() for _ in range(chance.randint(1, 4))]

    def worker(self) -> Worker:
        self.names += 1
        name, ids = self.names, iter(range(10_000))
        return Worker(Purse(self.policy, str(name), new_id=lambda: f"{name}-{next(ids)}"))

    def step(self) -> None:
        worker = self.chance.choice(self.workers)
        act = self.chance.choices(
            (self.call, self.end, self.look, self.write, self.wait, self.idle, self.crash), (8, 6, 6, 6, 2, 1, 1)
        )[0]
        act(worker)

    def call(self, worker: Worker) -> None:
        most = Amount(self.chance.randint(1, self.dearest), 1)
        if worker.purse.afford(most, self.now) == "yes":
            reserved = worker.purse.reserve(most, self.now)
            billed = self.chance.choice((most, Amount(self.chance.randint(0, most.money), 1), NOTHING))
            self.billed[reserved.period] = self.billed.get(reserved.period, NOTHING).plus(self.policy.counted(billed))
            worker.calls.append((reserved, billed))

    def end(self, worker: Worker) -> None:
        """Answered: as billed. Failed or cancelled: at the most, unless it surely was not billed."""
        if worker.calls:
            reserved, billed = worker.calls.pop(self.chance.randrange(len(worker.calls)))
            known = self.chance.random() < 0.6
            worker.purse.settle(reserved, billed if known else reserved.amount.at_least(billed), self.now)
            self.give_back(worker)

    def look(self, worker: Worker) -> None:
        """Read some of the log, or all of it."""
        until = self.chance.randint(worker.read, len(self.log))
        for value in self.log[worker.read : until]:
            worker.purse.read(decode_entry(value), self.now)
        worker.read = until
        worker.purse.known = worker.purse.known or worker.read == len(self.log)

    def write(self, worker: Worker) -> None:
        """Ask, now and then twice for the same."""
        entry = worker.purse.ask(self.now)
        if entry is not None and (entry.id not in worker.asked or self.chance.random() < 0.2):
            worker.asked.add(entry.id)
            self.append(entry)

    def append(self, entry: BudgetEntry) -> None:
        if self.chance.random() < 0.95:  # else the broker never got it
            self.log.append(encode_entry(entry))

    def idle(self, worker: Worker) -> None:
        self.give_back(worker, all_of_it=self.chance.random() < 0.3)

    def give_back(self, worker: Worker, *, all_of_it: bool = False) -> None:
        for entry in worker.purse.give_back(self.now, all_of_it=all_of_it):
            self.append(entry)

    def wait(self, _worker: Worker) -> None:
        self.now += self.chance.choice((0.1, 40.0, 900.0))

    def crash(self, worker: Worker) -> None:
        """What it held is gone, and what it had asked for as well."""
        period = self.policy.period(self.now)
        asked = worker.purse._asked
        gone = worker.purse.held.plus(asked.amount if asked else NOTHING)
        lease = self.policy.lease.at_least(self.policy.counted(Amount(self.dearest, 1)))
        if worker.purse._period == period:
            assert lease.covers(gone), (gone, lease)
        self.workers[self.workers.index(worker)] = self.worker()

    def check(self) -> None:
        for period, billed in self.billed.items():
            assert self.policy.limit.covers(billed), (period, billed, self.policy)


@pytest.mark.parametrize("part", range(10))
def test_never_over_and_a_crash_forfeits_a_lease_at_most(part: int) -> None:
    spent = 0
    for seed in range(SCHEDULES // 10):
        fleet = Fleet(random.Random(part * SCHEDULES + seed))
        for _ in range(STEPS):
            fleet.step()
            fleet.check()
        spent += any(fleet.policy.limit.at_most(billed) == fleet.policy.limit for billed in fleet.billed.values())
    assert spent > SCHEDULES // 500, "some spend all of it, so that one more would be over"
