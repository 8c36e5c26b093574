"""Calls that nobody waits for, beside those at the gate: they are in nobody's way. Time is virtual."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.gating.lane import Lane
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.retry import CallRefused
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.agents.remote.spending.funds import Funds
from bisupervised.agents.remote.spending.purse import Purse
from bisupervised.schemas.budget import Amount
from bisupervised.schemas.errors import BudgetSpent, RateLimited, RemoteError
from support.virtual_time import on_virtual_time

BREAKER = BreakerPolicy(failures=2, cool_down_s=10.0, terminal_cool_down_s=600.0)
CALL = Amount(0, 1)


def now() -> float:
    return asyncio.get_running_loop().time()


def both(
    in_flight: int = 8, requests: float = 0.0, *, waits: bool = True, funds: Funds | None = None
) -> tuple[Gate, Lane]:
    gate = Gate(LimitsPolicy(requests, in_flight=in_flight), BREAKER, waits=waits, clock=now)
    return gate, Lane(gate, BREAKER, funds, clock=now)


async def call(door: Gate | Lane, takes_s: float = 1.0, error: BaseException | None = None) -> float:
    """One call that ends like this. Returns when it began."""
    with await door.enter(25, CALL):
        began = now()
        await asyncio.sleep(takes_s)
        if error is not None:
            raise error
    return began


def begin(door: Gate | Lane, count: int = 1, takes_s: float = 1.0) -> list[asyncio.Task[float]]:
    return [asyncio.create_task(call(door, takes_s)) for _ in range(count)]


async def began(tasks: list[asyncio.Task[float]]) -> list[float]:
    return [at - 1000.0 for at in await asyncio.gather(*tasks)]


@on_virtual_time
async def test_where_nobody_waits_they_go_a_quarter_of_the_places_at_a_time() -> None:
    _, lane = both(in_flight=8)
    assert await began(begin(lane, 6)) == [0, 0, 1, 1, 2, 2]


@on_virtual_time
async def test_while_others_wait_none_of_them_begins() -> None:
    gate, lane = both(in_flight=2)
    real = begin(gate, 6)
    shadows = begin(lane, 2)
    assert await began(real) == [0, 0, 1, 1, 2, 2]
    assert await began(shadows) == pytest.approx([3.1, 4.1])


@on_virtual_time
async def test_one_place_stays_free_for_whoever_comes_next() -> None:
    gate, lane = both(in_flight=2)
    first = begin(gate, 1, 5.0)
    await asyncio.sleep(0)
    shadow = begin(lane)
    await asyncio.sleep(1.0)
    assert await began(begin(gate)) == [1]  # at once
    assert await began(first) == [0]
    assert await began(shadow) == pytest.approx([5.0])


@on_virtual_time
async def test_a_crowd_takes_the_places_of_those_under_way_at_once() -> None:
    gate, lane = both(in_flight=8)
    shadows = begin(lane, 2, 60.0)
    await asyncio.sleep(1.0)
    assert await began(begin(gate, 8)) == [1] * 8
    ended = await asyncio.gather(*shadows, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 2
    assert lane.gave_way == 2


@on_virtual_time
async def test_only_as_many_give_way_as_are_needed_the_youngest_first() -> None:
    gate, lane = both(in_flight=8)
    old = begin(lane, 1, 60.0)
    await asyncio.sleep(1.0)
    young = begin(lane, 1, 60.0)
    await asyncio.sleep(1.0)
    assert await began(begin(gate, 7)) == [2] * 7
    assert young[0].cancelled()
    assert await began(old) == [0]
    assert lane.gave_way == 1


@on_virtual_time
async def test_with_one_place_they_take_it_and_give_it_back() -> None:
    gate, lane = both(in_flight=1)
    shadow = begin(lane, 1, 60.0)
    await asyncio.sleep(1.0)
    assert await began(begin(gate)) == [1]
    assert shadow[0].cancelled()


@on_virtual_time
async def test_without_a_place_they_wait() -> None:
    gate, lane = both()
    gate.share(0, 4)
    shadow = begin(lane)
    await asyncio.sleep(10.0)
    gate.share(4, 4)
    assert await began(shadow) == [10]


@on_virtual_time
async def test_they_keep_to_the_same_pace() -> None:
    gate, lane = both(requests=60.0)
    times = sorted(await began(begin(lane, 2) + begin(gate, 2)))
    assert times[-1] > 4.0
    assert all(later - earlier > 1.0 for earlier, later in pairwise(times))


async def arrivals(gate: Gate, distances: list[float]) -> list[float]:
    calls = []
    for distance in distances:
        await asyncio.sleep(distance)
        calls += begin(gate, 1, 0.3)
    return await began(calls)


@on_virtual_time
@pytest.mark.parametrize("requests", [60.0, 600.0, 6000.0])
async def test_a_call_begins_when_it_would_without_them_under_any_limit_a_minute(requests: float) -> None:
    lucky = random.Random(7)
    distances = [lucky.expovariate(requests / 60.0 * 0.6) for _ in range(150)]
    lonely, _ = both(in_flight=64, requests=requests)
    began_at = now()
    alone = [at - began_at for at in await arrivals(lonely, distances)]
    gate, lane = both(in_flight=64, requests=requests)
    shadows = begin(lane, 400, 0.3)
    began_at = now()
    beside = [at - began_at for at in await arrivals(gate, distances)]
    assert sum(shadow.done() for shadow in shadows) > 10
    assert beside == pytest.approx(alone, abs=1e-6)
    for shadow in shadows:
        shadow.cancel()


@on_virtual_time
@pytest.mark.parametrize("limited", ["the call", "the shadow"])
async def test_a_server_that_stands_no_two_calls_at_once_has_them_take_turns(limited: str) -> None:
    gate, lane = both(requests=60.0)
    await asyncio.sleep(10.0)
    error = RateLimited("slowly")
    results = await asyncio.gather(
        call(lane, 0.1, error if limited == "the shadow" else None),
        call(gate, 0.1, error if limited == "the call" else None),
        return_exceptions=True,
    )
    assert error in results
    await asyncio.sleep(10.0)
    shadow = await call(lane, 0.0)
    assert await call(gate, 0.0) - shadow > 0.9


@on_virtual_time
async def test_while_the_remote_is_down_they_wait_and_do_not_probe() -> None:
    gate, lane = both()
    for _ in range(2):
        with pytest.raises(RemoteError):
            await call(gate, 0.0, RemoteError("down"))
    shadow = begin(lane)
    await asyncio.sleep(30.0)
    assert not shadow[0].done()
    assert await began(begin(gate)) == [30]  # the probe
    assert await began(shadow) == [31]


@on_virtual_time
async def test_their_failures_stop_themselves_and_nobody_else() -> None:
    gate, lane = both()
    for error in (RemoteError("down"), RateLimited("slowly")):
        for _ in range(2):
            with pytest.raises(type(error)):
                await call(lane, 0.0, error)
    with pytest.raises(CallRefused):
        await call(lane, 0.0, CallRefused("no", may_be_input=True))
    assert gate.breaker.closed
    assert gate.breaker.successes == 0


@on_virtual_time
async def test_when_they_fail_in_a_row_they_pause() -> None:
    gate, lane = both()
    for _ in range(2):
        with pytest.raises(RemoteError):
            await call(lane, 0.0, RemoteError("down"))
    assert await began(begin(lane)) == [10]
    assert gate.breaker.opened == 0


@on_virtual_time
async def test_what_a_server_wishes_holds_for_all() -> None:
    gate, lane = both()
    with pytest.raises(RateLimited):
        await call(lane, 0.0, RateLimited("slowly", retry_after_s=5.0))
    assert await began(begin(gate)) == [5]


def purse(calls: int) -> Purse:
    """It has been granted so many calls, and no more are to be had."""
    made = Purse(BudgetPolicy(Amount(0, calls), "day", 1.0))
    made.known = True
    made.afford(CALL, now())
    entry = made.ask(now())
    assert entry is not None
    made.read(entry, now(), now())
    return made


@on_virtual_time
async def test_they_are_paid_by_money_of_their_own_and_sent_away_where_it_is_spent() -> None:
    funds = Funds(purse(2), waits=False, now=now)
    gate, lane = both(funds=funds)
    assert await began(begin(lane, 2)) == [0, 0]
    with pytest.raises(BudgetSpent, match="share of shadows"):
        await call(lane)
    assert await began(begin(gate)) == [1]


@on_virtual_time
async def test_while_others_wait_for_another_period_they_go() -> None:
    gate, lane = both()
    gate.funds = Funds(purse(1), waits=True, now=now)
    await call(gate)
    waiting = begin(gate)
    await asyncio.sleep(0)
    assert await began(begin(lane)) == [pytest.approx(1.1)]
    waiting[0].cancel()


@on_virtual_time
async def test_where_partitions_go_whoever_waits_is_cancelled_and_those_under_way_may_end() -> None:
    _, lane = both(in_flight=4)
    shadows = begin(lane, 3)
    await asyncio.sleep(0)
    lane.leave_waiting()
    ended = await asyncio.gather(*shadows, return_exceptions=True)
    assert [type(one) for one in ended] == [float, asyncio.CancelledError, asyncio.CancelledError]
    with pytest.raises(asyncio.CancelledError):
        await lane.enter(1)
    lane.stay()
    assert await began(begin(lane)) == [1]


@on_virtual_time
async def test_one_that_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    _, lane = both(in_flight=4)
    first, second, third = begin(lane, 3)
    await asyncio.sleep(0.5)
    second.cancel()
    assert await began([first, third]) == [0, 1]


@on_virtual_time
async def test_one_that_is_cancelled_in_the_moment_of_its_turn_gives_its_place_back() -> None:
    gate, lane = both(in_flight=1)
    real, shadow = begin(gate)[0], begin(lane)[0]
    real.add_done_callback(lambda _: asyncio.get_running_loop().call_soon(shadow.cancel))
    await asyncio.wait({real, shadow})
    assert await began(begin(lane)) == [pytest.approx(1.1)]
