"""What a batch is given before it is created, and what it gives back."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from bisupervised.agents.remote.bulk.gate import BulkGate
from bisupervised.agents.remote.bulk.queue import TokenQueue
from bisupervised.agents.remote.spending.advances import Advance, Advances
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.schemas.budget import NOTHING, Amount
from bisupervised.schemas.bulk import BatchTold
from bisupervised.streams.bulk.paying import advance_for, give_back
from bisupervised.streams.bulk.policy import Means
from bisupervised.streams.bulk.standing import BulkStanding
from support.virtual_time import on_virtual_time

NOW = 1_700_000_000.0
POLICY = BudgetPolicy(Amount(100, 0), "day")
BATCH = BatchTold("b0", 0, 10, "closed", "openai_batch", records=10, most=60)


class Money:
    """A budget of 100, whose log has whatever is asked for at once."""

    def __init__(self) -> None:
        nowhere = cast("Any", None)
        self.advances = Advances(POLICY)
        self.advances.known = True
        self.means = Means(nowhere, nowhere, TokenQueue(), BulkGate(), BulkStanding(), self.advances)
        self.means.need, self.means.now_s = self.write, lambda: NOW

    def write(self) -> None:
        while (asked := self.advances.ask(NOW)) is not None:
            self.advances.read(asked, NOW, NOW)

    @property
    def taken(self) -> int:
        return self.advances.ledger.taken(POLICY.period(NOW)).money

    def lease(self, batch: BatchTold) -> BatchTold:
        """The batch as it is created."""
        assert advance_for(batch, self.means, waits=True) == "soon"
        found = advance_for(batch, self.means, waits=True)
        assert isinstance(found, Advance)
        leased = {"leased_money": found.amount.money, "leased_calls": found.amount.calls}
        return msgspec.structs.replace(batch, lease=found.id, period=found.period, **leased)


def test_without_a_budget_it_is_paid_with_nothing() -> None:
    money = Money()
    money.means.advances = None
    assert advance_for(BATCH, money.means, waits=True) == Advance("", "", NOTHING)


@pytest.mark.parametrize(("waits", "answer"), [(True, "soon"), (False, "no")])
def test_where_the_budget_is_spent_it_waits_or_not(waits: bool, answer: str) -> None:
    money = Money()
    money.lease(BATCH)
    other = msgspec.structs.replace(BATCH, id="b1")
    assert advance_for(other, money.means, waits=waits) == answer


def test_what_no_period_pays_for_does_not_wait() -> None:
    dear = msgspec.structs.replace(BATCH, most=101)
    assert advance_for(dear, Money().means, waits=True) == "no"


@on_virtual_time
async def test_what_it_has_not_used_goes_back_once() -> None:
    money = Money()
    leased = money.lease(BATCH)
    assert money.taken == 60
    for _ in range(2):
        await give_back(leased, money.means, Amount(25, 10))
        assert money.taken == 25


def test_a_batch_that_may_have_been_paid_needs_money_of_its_own_for_the_next_try() -> None:
    money = Money()
    cheap = msgspec.structs.replace(BATCH, most=40)
    money.lease(cheap)
    money.lease(msgspec.structs.replace(cheap, unsure=1))
    assert money.taken == 80
