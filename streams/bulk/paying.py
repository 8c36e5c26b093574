"""What a batch costs: its advance of the budget before it is created, and what it gives back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from ...agents.remote.spending.advances import Advance
from ...schemas.budget import NOTHING, Amount

if TYPE_CHECKING:
    from ...schemas.bulk import BatchTold
    from .policy import Means

#: seconds between two looks whether the budget's log has it
_LOOK_S = 0.5


def lease_name(batch: BatchTold) -> str:
    """What may have been paid and was not found stays paid: the next try needs money of its own."""
    return f"{batch.id}.{batch.unsure}"


def advance_for(batch: BatchTold, means: Means, *, waits: bool) -> Advance | Literal["soon", "no"]:
    """Money for it, of nothing where there is no budget; `soon` where it may come, and `no` where it will not.

    `waits`: for the next period, where this one has no more.
    """
    advances = means.advances
    if advances is None:
        return Advance("", "", NOTHING)
    found = advances.want(lease_name(batch), Amount(batch.most, batch.records), means.now_s())
    if isinstance(found, Advance):
        return found
    if found == "never" or (found == "spent" and not waits):
        advances.drop(lease_name(batch))
        return "no"
    means.need()
    return "soon"


async def give_back(batch: BatchTold, means: Means, used: Amount) -> None:
    """What it holds and has not used. It may be said again."""
    advances = means.advances
    if advances is None or not batch.lease:
        return
    advance = Advance(batch.lease, batch.period, Amount(batch.leased_money, batch.leased_calls))
    advances.settle(advance, used)
    while not advances.settled(advance):
        means.need()
        await asyncio.sleep(_LOOK_S)
