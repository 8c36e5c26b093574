"""What batches may spend: one lease each, granted whole, and the rest given back once."""

from __future__ import annotations

import pytest
from bisupervised.agents.remote.spending.advances import Advance, Advances
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.schemas.budget import NOTHING, Amount, BudgetEntry

NOW = 1_700_000_000.0
POLICY = BudgetPolicy(Amount(100, 0), "day")


class Log:
    """A budget's topic that every worker reads at once."""

    def __init__(self, *readers: Advances) -> None:
        self.entries: list[BudgetEntry] = []
        self.readers = list(readers)
        for reader in readers:
            reader.known = True

    def write(self, entry: BudgetEntry) -> None:
        self.entries.append(entry)
        for reader in self.readers:
            reader.read(entry, NOW, NOW)

    def settle(self, *writers: Advances) -> None:
        """Write until nobody has anything to write."""
        while asked := [entry for writer in writers if (entry := writer.ask(NOW)) is not None]:
            for entry in asked:
                self.write(entry)

    def newcomer(self) -> Advances:
        """A worker that starts now."""
        made = Advances(POLICY)
        for entry in self.entries:
            made.read(entry, NOW, NOW)
        made.known = True
        self.readers.append(made)
        return made

    @property
    def taken(self) -> int:
        return self.readers[0].ledger.taken(POLICY.period(NOW)).money


def granted(advances: Advances, name: str, money: int) -> Advance:
    found = advances.want(name, Amount(money, 3), NOW)
    assert isinstance(found, Advance), found
    return found


def test_a_batch_is_granted_its_cost_and_the_rest_goes_back_once() -> None:
    advances = Advances(POLICY)
    log = Log(advances)
    assert advances.want("a", Amount(60, 3), NOW) == "soon"
    log.settle(advances)
    advance = granted(advances, "a", 60)
    assert (advance.amount, log.taken) == (Amount(60, 0), 60)
    advances.settle(advance, Amount(25, 3))
    assert not advances.settled(advance)
    log.settle(advances)
    assert advances.settled(advance)
    assert log.taken == 25
    other = log.newcomer()
    other.settle(advance, Amount(25, 3))
    log.settle(other)
    assert log.taken == 25, "a second owner gives nothing back again"


def test_a_batch_asks_once_however_much_there_is() -> None:
    advances = Advances(POLICY)
    log = Log(advances)
    advances.want("a", Amount(10, 0), NOW)
    log.settle(advances)
    assert [entry.id for entry in log.entries] == ["a#0"]
    assert granted(advances, "a", 10).id == "a#0"


def test_another_owner_finds_the_lease_of_a_batch_and_takes_no_other() -> None:
    first = Advances(POLICY)
    log = Log(first)
    first.want("a", Amount(60, 0), NOW)
    log.settle(first)
    second = log.newcomer()
    assert granted(second, "a", 60) == granted(first, "a", 60)
    log.settle(second)
    assert log.taken == 60


def test_nothing_is_said_before_the_log_is_read() -> None:
    advances = Advances(POLICY)
    assert advances.want("a", Amount(60, 0), NOW) == "soon"
    assert advances.ask(NOW) is None


def test_what_no_period_pays_for_is_never_paid_and_what_this_one_does_not_waits() -> None:
    advances = Advances(POLICY)
    log = Log(advances)
    assert advances.want("a", Amount(101, 0), NOW) == "never"
    advances.want("a", Amount(60, 0), NOW)
    log.settle(advances)
    granted(advances, "a", 60)
    assert advances.want("b", Amount(41, 0), NOW) == "spent"
    assert advances.ask(NOW) is None
    tomorrow = NOW + 86_400
    assert advances.want("b", Amount(41, 0), tomorrow) == "soon"
    assert advances.ask(tomorrow) is not None


def test_a_part_of_a_batch_goes_back_at_once_and_is_asked_for_anew() -> None:
    slow, quick = Advances(POLICY), Advances(POLICY)
    log = Log(slow, quick)
    slow.want("slow", Amount(60, 0), NOW)
    quick.want("quick", Amount(60, 0), NOW)
    asked = [slow.ask(NOW), quick.ask(NOW)]
    for entry in reversed(asked):
        assert entry is not None
        log.write(entry)
    assert slow.want("slow", Amount(60, 0), NOW) == "spent", "it has 40, which are on their way back"
    log.settle(slow, quick)
    assert log.taken == 60
    assert slow.want("slow", Amount(60, 0), NOW) == "spent"
    quick.settle(granted(quick, "quick", 60), NOTHING)
    log.settle(slow, quick)
    assert granted(slow, "slow", 60).amount == Amount(60, 0)


def test_a_period_that_is_over_takes_nothing_back() -> None:
    advances = Advances(POLICY)
    log = Log(advances)
    advances.want("a", Amount(60, 0), NOW)
    log.settle(advances)
    advance = granted(advances, "a", 60)
    advances.ask(NOW + 86_400)
    advances.settle(advance, NOTHING)
    assert advances.settled(advance)
    assert advances.ask(NOW + 86_400) is None


def test_a_lease_that_the_logs_time_refuses_is_asked_for_again() -> None:
    advances = Advances(POLICY)
    Log(advances)
    advances.want("a", Amount(60, 0), NOW)
    asked = advances.ask(NOW)
    assert asked is not None
    advances.read(asked, NOW - 86_400, NOW)
    assert (advances.refused, advances.apart_s) == (1, -86_400.0)
    again = advances.ask(NOW)
    assert again is not None
    assert again.id != asked.id


@pytest.mark.parametrize("limit", [Amount(100, 0), Amount(0, 3), Amount(100, 3)])
def test_what_has_no_limit_is_not_counted(limit: Amount) -> None:
    advances = Advances(BudgetPolicy(limit))
    log = Log(advances)
    assert advances.want("a", Amount(60, 3), NOW) == "soon"
    log.settle(advances)
    found = advances.want("a", Amount(60, 3), NOW)
    assert isinstance(found, Advance)
    assert found.amount == Amount(60 if limit.money else 0, 3 if limit.calls else 0)
