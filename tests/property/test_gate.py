"""Who need not wait at the gate passes it at once. Nobody's turn comes earlier or later for it than in the queue."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

import pytest
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.gating.permit import Permit
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.retry import CallRefused, CircuitOpen
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.agents.remote.spending.funds import Funds
from bisupervised.agents.remote.spending.purse import Purse
from bisupervised.schemas.budget import NOTHING, Amount
from bisupervised.schemas.errors import RateLimited, RecordError, RemoteError
from support.virtual_time import on_virtual_time

CALLS = 60
BREAKER = BreakerPolicy(failures=3, cool_down_s=5.0)


#: number of a call, when it began, as the how many-eth, and how it ended
Ended = tuple[int, float, int, str]


class Queueing(Gate):
    """Everybody waits in the queue, if only for a moment."""

    def at_once(self, guess: int, cost: Amount = NOTHING) -> Permit | None:
        return None


@dataclass(frozen=True)
class Plan:
    """One call."""

    at_s: float
    takes_s: float
    patience_s: float
    guess: int
    used: int
    error: Exception | None


def plans(chance: random.Random) -> list[Plan]:
    failures = [RemoteError("down"), RateLimited("busy", retry_after_s=2.0), CallRefused("no", may_be_input=True)]
    errors = [None] * chance.choice((1, 12)) + failures
    return [
        Plan(
            chance.choice((0.0, 1.0, 2.5, chance.uniform(0.0, 30.0))),
            chance.choice((0.0, 0.5, 3.0, chance.uniform(0.0, 5.0))),
            chance.choice((0.3, 20.0, 1000.0)),
            chance.choice((0, 10, 100, 3000)),
            chance.choice((0, 10, 200)),
            chance.choice(errors),
        )
        for _ in range(CALLS)
    ]


def gate(kind: type[Gate], seed: int) -> Gate:
    chance, clock = random.Random(seed), asyncio.get_running_loop().time
    limits = LimitsPolicy(chance.choice((0.0, 120.0)), chance.choice((0.0, 6000.0)), chance.choice((1, 3, 50)))
    funds = None
    if chance.random() < 0.5:
        funds = Funds(Purse(BudgetPolicy(Amount(0, 40))), waits=chance.random() < 0.5, now=lambda: 1e9 + clock())
        funds.purse.known = True
    made = kind(limits, BREAKER, waits=chance.random() < 0.5, funds=funds, clock=clock)
    if funds is not None:
        purse = funds.purse

        def log() -> None:
            if (entry := purse.ask(1e9 + clock())) is not None:
                purse.read(entry, 1e9 + clock(), 1e9 + clock())
                asyncio.get_running_loop().call_soon(made.funds_changed)

        funds.on_need = log
    made.share(2, 4)
    return made


async def seen(kind: type[Gate], seed: int) -> list[Ended]:
    """What became of all calls, in the order in which they ended."""
    made, loop, told = gate(kind, seed), asyncio.get_running_loop(), list[Ended]()

    async def call(number: int, plan: Plan) -> None:
        await asyncio.sleep(plan.at_s)
        began, order = -1.0, 0
        try:
            async with asyncio.timeout(plan.patience_s):
                permit = await made.enter(plan.guess, Amount(0, 1))
            began, order = loop.time(), permit.order
            with permit:
                await asyncio.sleep(plan.takes_s)
                permit.heard({}, 200)
                permit.used(Usage(plan.used))
                if plan.error is not None:
                    raise plan.error
        except CallRefused:
            told.append((number, began, order, await verdict(permit)))
        except (RecordError, TimeoutError) as error:
            told.append((number, began, order, type(error).__name__))
        except asyncio.CancelledError:
            told.append((number, began, order, "sent away"))
        else:
            told.append((number, began, order, "answered"))

    async def verdict(permit: Permit) -> str:
        try:
            async with asyncio.timeout(10.0):
                return await made.hold(permit, 1)
        except (TimeoutError, CircuitOpen, asyncio.CancelledError) as error:
            return f"no verdict: {type(error).__name__}"

    async def moves() -> None:
        await asyncio.sleep(12.0)
        made.leave_waiting()
        await asyncio.sleep(3.0)
        made.share(1, 4)

    began_at = loop.time()
    beginnings = [call(number, plan) for number, plan in enumerate(plans(random.Random(seed)))]
    await asyncio.gather(*beginnings, moves())
    made.close()
    return [(number, began - began_at, order, end) for number, began, order, end in told]


def outcomes(kind: type[Gate], seed: int) -> list[Ended]:
    found: list[Ended] = []

    @on_virtual_time
    async def scenario() -> None:
        found.extend(await seen(kind, seed))

    scenario()
    return found


@pytest.mark.parametrize("seed", range(100))
def test_nobodys_turn_is_another_because_some_pass_at_once(seed: int) -> None:
    assert outcomes(Gate, seed) == outcomes(Queueing, seed)


def test_the_schedules_hold_all_there_is() -> None:
    ends = Counter(end for seed in range(100) for _, _, _, end in outcomes(Gate, seed))
    wanted = {"answered", "sent away", "TimeoutError", "RemoteError", "RateLimited", "BudgetSpent", "CircuitOpen"}
    assert wanted | {"own", "again", "unknown"} <= ends.keys(), ends
