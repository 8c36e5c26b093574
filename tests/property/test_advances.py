"""Batches of several workers never spend more than the budget, whoever dies on the way, and each gives back once."""

from __future__ import annotations

from dataclasses import dataclass, field

from bisupervised.agents.remote.spending.advances import Advance, Advances
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.schemas.budget import Amount, BudgetEntry
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_700_000_000.0
LIMIT = 100
POLICY = BudgetPolicy(Amount(LIMIT, 0), "day")
WORKERS, BATCHES = 3, 6
#: what happens to a worker or to a batch: it wants money, something is written or written twice, it is read, it is
#: over, or the worker dies and another one knows only the log
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("want", "write", "twice", "read", "settle", "die")),
        st.integers(0, WORKERS - 1),
        st.integers(0, BATCHES - 1),
        st.integers(0, 100),
    ),
    max_size=120,
)
COSTS = (10, 30, 45, 60, 100, 101)


@dataclass
class World:
    """The log, and what each worker has read of it."""

    log: list[BudgetEntry] = field(default_factory=list)
    workers: list[Advances] = field(default_factory=lambda: [Advances(POLICY) for _ in range(WORKERS)])
    at: list[int] = field(default_factory=lambda: [0] * WORKERS)
    paid: dict[int, Advance] = field(default_factory=dict)  #: batches that the provider has, or had
    used: dict[int, int] = field(default_factory=dict)  #: what those that are over have cost

    def read(self, number: int) -> None:
        for entry in self.log[self.at[number] :]:
            self.workers[number].read(entry, NOW, NOW)
        self.at[number] = len(self.log)
        self.workers[number].known = True

    def want(self, number: int, batch: int) -> None:
        if batch in self.paid:
            return
        found = self.workers[number].want(f"b{batch}", Amount(COSTS[batch], 1), NOW)
        if isinstance(found, Advance):
            self.paid[batch] = found

    def settle(self, number: int, batch: int, share: int) -> None:
        if batch in self.paid:
            used = self.used.setdefault(batch, COSTS[batch] * share // 100)
            self.workers[number].settle(self.paid[batch], Amount(used, 1))

    def write(self, number: int, times: int) -> None:
        entry = self.workers[number].ask(NOW)
        if entry is not None:
            self.log += [entry] * times

    @property
    def spent(self) -> int:
        """What is under way at its full cost, and what is over at what it has cost."""
        return sum(self.used.get(batch, COSTS[batch]) for batch in self.paid)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_never_over_the_budget_and_given_back_once(steps: list[tuple[str, int, int, int]]) -> None:
    world = World()
    for what, number, batch, share in steps:
        match what:
            case "want":
                world.want(number, batch)
            case "write":
                world.write(number, 1)
            case "twice":
                world.write(number, 2)
            case "read":
                world.read(number)
            case "settle":
                world.settle(number, batch, share)
            case _:
                world.workers[number], world.at[number] = Advances(POLICY), 0
        assert world.spent <= LIMIT
    everyone = range(WORKERS)
    for batch in world.paid:  # whoever is left settles all of them, some for the second time
        for number in everyone:
            world.settle(number, batch, 50)
    for _ in range(4 * (len(world.log) + BATCHES * WORKERS)):
        for number in everyone:
            world.read(number)
        before = len(world.log)
        for number in everyone:
            world.write(number, 1)
        if len(world.log) == before:
            break
    ledger = world.workers[0].ledger
    held = sum(COSTS[b] for b in range(BATCHES) if b not in world.paid)
    taken = ledger.taken(POLICY.period(NOW)).money
    assert world.spent <= taken <= world.spent + held
