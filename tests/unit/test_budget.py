"""Periods, the log's rule, what a worker may spend, what a call can cost, and what is surely not billed."""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import UTC, datetime
from itertools import count
from typing import Literal

import msgspec
import pytest
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.gating.permit import Permit
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.retry import NotConnected, surely_free
from bisupervised.agents.remote.spending.budget import BudgetPolicy, Ledger, Per
from bisupervised.agents.remote.spending.funds import Funds
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.spending.purse import Purse
from bisupervised.schemas.budget import NANO, NOTHING, Amount, BudgetEntry, decode_entry, encode_entry
from bisupervised.schemas.errors import BudgetSpent, RemoteError, Timeout
from support.virtual_time import on_virtual_time

NOON = datetime(2026, 2, 28, 12, 30, tzinfo=UTC).timestamp()
CALL = Amount(0, 1)
DAY = "2026-02-28"


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]  # year, month, day, hour


@pytest.mark.parametrize(
    ("per", "name", "began", "ends"),
    [
        ("hour", "2026-02-28T12", at(2026, 2, 28, 12), at(2026, 2, 28, 13)),
        ("day", "2026-02-28", at(2026, 2, 28), at(2026, 3, 1)),
        ("month", "2026-02", at(2026, 2, 1), at(2026, 3, 1)),
    ],
)
def test_periods_are_those_of_the_calendar(per: Per, name: str, began: float, ends: float) -> None:
    policy = BudgetPolicy(CALL, per)
    assert (policy.period(NOON), policy.bounds_s(NOON)) == (name, (began, ends))
    assert policy.period(ends) > name


def lease(number: int, calls: int, limit: int = 10) -> BudgetEntry:
    return BudgetEntry("lease", f"l{number}", DAY, Amount(0, calls), Amount(0, limit))


def test_the_log_grants_what_is_left_and_a_lease_once() -> None:
    ledger = Ledger()
    assert [ledger.apply(lease(n, 6), NOON) for n in (1, 1, 2, 3)] == [Amount(0, 6), None, Amount(0, 4), NOTHING]
    ledger.apply(BudgetEntry("return", "l1", DAY, Amount(0, 100)), NOON)
    assert ledger.taken(DAY) == Amount(0, 4), "no more comes back than was granted"
    assert ledger.apply(lease(4, 10, limit=5), NOON) == Amount(0, 1), "each is held to the limit that it names"
    assert ledger.apply(lease(5, 9, limit=3), NOON) == NOTHING, "never less than nothing"
    ledger.forget_before("q")
    assert ledger.taken(DAY) == NOTHING


def test_a_log_that_is_read_again_says_the_same() -> None:
    """The broker has lost the end of the log, or its begin: the reader starts anew, and knows what it knows."""
    entries = [lease(1, 40, 100), lease(2, 5, 100)]
    entries += [BudgetEntry("return", "l1", DAY, Amount(0, 10), return_id=name) for name in ("r1", "r2")]
    ledger = Ledger()
    for _ in range(3):
        for entry in entries:
            ledger.apply(entry, NOON)
        assert ledger.taken(DAY) == Amount(0, 25)


def test_a_return_of_an_older_worker_has_no_id_and_counts_as_it_did() -> None:
    ledger = Ledger()
    ledger.apply(lease(1, 8), NOON)
    old = decode_entry(b'{"kind":"return","id":"l1","period":"2026-02-28","amount":[0,3],"worker":"h:1","v":1}')
    ledger.apply(old, NOON)
    ledger.apply(old, NOON)
    assert ledger.taken(DAY) == Amount(0, 2)


def test_an_older_worker_reads_a_return_with_an_id() -> None:
    class Older(msgspec.Struct, frozen=True):  # as it read entries before returns had one
        kind: Literal["lease", "return"]
        id: str
        period: str
        amount: Amount
        limit: Amount = NOTHING
        worker: str = ""
        v: int = 1

    entry = BudgetEntry("return", "l1", DAY, CALL, worker="h:1", return_id="r1")
    assert b'"return_id":"r1"' in encode_entry(entry)
    assert msgspec.json.decode(encode_entry(entry), type=Older) == Older("return", "l1", DAY, CALL, worker="h:1")


@pytest.mark.parametrize("logged_s", [NOON - 86_400, NOON + 86_400, at(2040, 1, 1), -1.0, 1e300, math.inf, math.nan])
def test_nothing_is_granted_where_the_logs_time_lies_in_another_period(logged_s: float) -> None:
    ledger = Ledger()
    assert ledger.apply(lease(1, 6), logged_s) == NOTHING
    assert ledger.apply(lease(1, 6), NOON) is None, "every reader has read the first of the two"
    assert ledger.apply(lease(2, 6), NOON) == Amount(0, 6)


def test_records_are_read_as_they_were_written() -> None:
    entry = BudgetEntry("lease", "l", "2026-11", Amount(5, 1), Amount(2**60, 7), "host:1")
    assert decode_entry(encode_entry(entry)) == entry
    assert b'"v":1' in encode_entry(entry), "a version that is left out tells no reader anything"
    with pytest.raises(msgspec.DecodeError, match="of version 2"):
        decode_entry(encode_entry(entry).replace(b'"v":1', b'"v":2'))


@pytest.mark.parametrize("per", ["hour", "day", "month"])
def test_a_purse_is_in_the_period_that_the_calendar_says(per: Per) -> None:
    made = Purse(BudgetPolicy(Amount(0, 1), per))
    hours = (at(2026, 2, 28, 22), at(2026, 2, 28, 23), at(2026, 3, 1), at(2026, 3, 1, 1), at(2027, 1, 1))
    moments = [hour + seconds for hour in hours for seconds in (-61.0, -0.001, 0.0, 0.001, 1800.0)]
    for now in sorted(moments):
        made.afford(CALL, now)
        assert made.period == made.policy.period(now)


def purse(calls: int = 100, money: float = 0.0, share: float = 0.1) -> Purse:
    ids = (str(n) for n in count())
    made = Purse(BudgetPolicy(Amount(round(money * NANO), calls), "day", share), new_id=ids.__next__)
    made.known = True
    return made


def settle_log(made: Purse, now: float = NOON) -> None:
    """The log takes at once what is asked for."""
    entry = made.ask(now)
    if entry is not None:
        made.read(entry, now, now)


def test_nothing_is_spent_before_the_log_is_known_and_has_granted_it() -> None:
    made = purse()
    made.known = False
    assert made.afford(CALL, NOON) == "soon"
    assert made.ask(NOON) is None
    made.known = True
    asked = made.ask(NOON)
    assert asked is not None
    assert asked.amount == Amount(0, 10)
    assert made.ask(NOON) is asked, "the same until it is read"
    assert made.afford(CALL, NOON) == "soon"
    made.read(asked, NOON, NOON)
    assert made.afford(CALL, NOON) == "yes"


def test_more_is_asked_for_ahead_of_need_and_held_is_a_lease_at_most() -> None:
    made = purse()
    made.afford(CALL, NOON)
    settle_log(made)
    for _ in range(6):
        assert made.afford(CALL, NOON) == "yes"
        made.settle(made.reserve(CALL, NOON), CALL, NOON)
    asked = made.ask(NOON)
    assert asked is not None
    assert made.held.plus(asked.amount) == made.policy.lease


def test_what_was_set_aside_and_not_billed_is_there_again_within_its_period() -> None:
    made = purse(money=1.0, calls=0, share=0.5)
    cost = Amount(NANO // 10, 1)
    made.afford(cost, NOON)
    settle_log(made)
    first, second = made.reserve(cost, NOON), made.reserve(cost, NOON)
    assert made.held == Amount(NANO * 3 // 10, 0), "calls have no budget here"
    made.settle(first, Amount(NANO // 100, 1), NOON)
    assert made.held == Amount(NANO * 39 // 100, 0)
    tomorrow = NOON + 86_400
    made.settle(second, NOTHING, tomorrow)
    assert made.held == NOTHING, "another period has a budget of its own"


def test_spent_is_spent_until_the_next_period_or_until_somebody_gives_back() -> None:
    made = purse(calls=3)
    other = BudgetEntry("lease", "other", "2026-02-28", Amount(0, 3), Amount(0, 3))
    made.read(other, NOON, NOON)
    assert made.afford(CALL, NOON) == "spent"
    assert made.spent(NOON)
    assert made.ask(NOON) is None
    made.read(BudgetEntry("return", "other", "2026-02-28", CALL), NOON, NOON)
    assert not made.spent(NOON)
    settle_log(made)
    assert made.afford(CALL, NOON) == "yes"
    made.reserve(CALL, NOON)
    assert made.afford(CALL, NOON) == "spent"
    assert made.afford(CALL, NOON + 86_400) == "soon"


def wrong(made: Purse, clock: float, right: float = NOON) -> None:
    """It asks by a clock that is wrong; the log has the right time."""
    assert made.afford(CALL, clock) == "soon"
    asked = made.ask(clock)
    assert asked is not None
    made.read(asked, right, clock)


@pytest.mark.parametrize("clock", [at(2026, 3, 1), at(2040, 1, 1), at(2026, 2, 27), at(1970, 1, 2)])
def test_a_clock_that_is_wrong_gets_nothing_and_is_told(clock: float) -> None:
    made = purse()
    for refusals in (1, 2, 3):
        wrong(made, clock)
        assert (made.refused, made.held) == (refusals, NOTHING)
        assert made.apart_s == NOON - clock
    assert made.afford(CALL, clock) == "soon", "and not spent: it is no time to give records away"


@pytest.mark.parametrize("clock", [at(2026, 3, 1), at(2040, 1, 1), at(2026, 2, 27)])
def test_and_gets_its_share_of_what_is_left_once_it_is_right(clock: float) -> None:
    made = purse(calls=10, share=1.0)
    made.read(BudgetEntry("lease", "other", DAY, Amount(0, 8), Amount(0, 10)), NOON, clock)
    wrong(made, clock)
    assert made.afford(CALL, NOON) == "soon"
    settle_log(made)
    assert (made.held, made.refused) == (Amount(0, 2), 0), "what others took while it was wrong is not forgotten"


def test_a_glance_at_another_year_loses_only_what_was_held() -> None:
    made = purse(calls=10, share=0.5)
    made.afford(CALL, NOON)
    settle_log(made)
    under_way = made.reserve(CALL, NOON)
    made.afford(CALL, at(2040, 1, 1))
    assert made.held == NOTHING
    assert made.afford(CALL, NOON + 1) == "soon"
    made.settle(under_way, NOTHING, NOON + 1)
    assert made.held == NOTHING, "it was reserved of a lease that is given up"
    settle_log(made, NOON + 1)
    assert made.held == Amount(0, 5)
    assert made.ledger.taken(DAY) == Amount(0, 10)


def test_a_clock_that_is_put_back_a_little_stays_in_its_period() -> None:
    midnight = at(2026, 3, 1)
    made = purse()
    made.afford(CALL, midnight + 1)
    settle_log(made, midnight + 1)
    assert made.afford(CALL, midnight - 1) == "yes"
    assert made.afford(CALL, midnight - 100) == "soon", "more is a clock that was wrong"


def test_an_idle_worker_gives_back_what_it_holds() -> None:
    made = purse()
    made.afford(CALL, NOON)
    settle_log(made)
    assert made.afford(CALL, NOON) == "yes"
    made.settle(made.reserve(CALL, NOON), CALL, NOON)
    assert made.give_back(NOON + 5) == []
    [back] = made.give_back(NOON + 31)
    assert (back.kind, back.amount, made.held) == ("return", Amount(0, 9), NOTHING)
    made.read(back, NOON + 31, NOON + 31)
    assert made.ledger.taken("2026-02-28") == CALL
    assert made.ask(NOON + 32) is None, "and does not take it again before the next call"
    assert made.afford(CALL, NOON + 33) == "soon"
    assert made.ask(NOON + 33) is not None


def test_the_log_of_an_idle_fleet_does_not_grow() -> None:
    made, written = purse(), 0
    made.afford(CALL, NOON)
    settle_log(made)
    assert made.afford(CALL, NOON) == "yes"
    made.settle(made.reserve(CALL, NOON), CALL, NOON)
    for second in range(600):
        for entry in made.give_back(NOON + second):
            written += 1
            made.read(entry, NOON + second, NOON + second)
        if made.ask(NOON + second) is not None:
            written += 1
            settle_log(made, NOON + second)
    assert written <= 2, "a lease filled up, and given back"


def test_a_price_per_token_is_bounded_by_bytes_and_settled_by_usage() -> None:
    price = Price(0.01, 1.0, 2.0)
    assert price.most(2, 1000, 512) == round((0.02 + 0.001 + 0.001024) * NANO)
    assert price.of(2, Usage(100, 50), 7) == round((0.02 + 0.0001 + 0.0001) * NANO)
    assert price.of(2, Usage(100, 0), 7) == price.of(2, Usage(0, 50), 7) == 7
    assert price.of(2, None, 7) == 7, "a remote that does not tell has cost the most"
    assert Price(0.01).of(3, None, 7) == round(0.03 * NANO)


@pytest.mark.parametrize(
    ("error", "status", "free"),
    [
        (NotConnected("refused"), None, True),
        (RemoteError("reset"), None, False),
        (Timeout("late"), None, False),
        (asyncio.CancelledError(), None, False),
        (RemoteError("down"), 503, False),
        (RemoteError("bad"), 400, False),
        (RemoteError("slow down"), 429, True),
        (RemoteError("key"), 401, True),
        (RemoteError("elsewhere"), 302, True),
        (None, 200, False),
    ],
)
def test_what_surely_was_not_billed(error: BaseException | None, status: int | None, free: bool) -> None:  # a parameter
    assert surely_free(error, status) is free


def gate(made: Purse, now: list[float], *, waits: bool) -> Gate:
    made_gate = Gate(funds=Funds(made, waits=waits, now=lambda: now[0]), clock=asyncio.get_running_loop().time)

    def log() -> None:
        settle_log(made, now[0])
        asyncio.get_running_loop().call_soon(made_gate.funds_changed)

    assert made_gate.funds is not None
    made_gate.funds.on_need = log
    made_gate.share(1, 1)
    return made_gate


async def call(through: Gate, error: BaseException | None = None, status: int | None = 200) -> None:
    with await through.enter(1, CALL) as permit:
        assert isinstance(permit, Permit)
        if status is not None:
            permit.heard({}, status)
        if error is not None:
            raise error
        permit.money = 0


@on_virtual_time
async def test_calls_go_while_there_is_money_and_then_fall_back() -> None:
    through = gate(purse(calls=3), [NOON], waits=False)
    for _ in range(3):
        await call(through)
    with pytest.raises(BudgetSpent, match="no call was made"):
        await call(through)
    assert through.admits, "they are taken in, to be sent away"
    assert through.statistics()["budget"]["calls"] == {"budget": 3, "leased": 3, "charged": 3}


@on_virtual_time
async def test_or_they_wait_for_the_next_period() -> None:
    now = [NOON]
    through = gate(purse(calls=1), now, waits=True)
    await call(through)
    waiting = asyncio.create_task(call(through))
    await asyncio.sleep(10)
    assert not waiting.done()
    assert not through.admits
    now[0] += 86_400
    await asyncio.sleep(3600)
    assert waiting.done()
    assert through.admits


@on_virtual_time
async def test_a_call_that_no_budget_pays_for_waits_for_none() -> None:
    through = gate(purse(money=1.0, calls=0), [NOON], waits=True)
    with pytest.raises(BudgetSpent, match="more than the whole budget"):
        await through.enter(1, Amount(NANO + 1, 1))
    assert through.admits


@on_virtual_time
async def test_money_that_a_call_did_not_need_is_told_once_it_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    through = gate(purse(money=1.0, calls=0), [NOON], waits=False)
    permit = await through.enter(1, Amount(NANO, 1))
    with pytest.raises(BudgetSpent):
        await through.enter(1, Amount(NANO, 1))
    with permit:
        permit.heard({}, 200)
        permit.money = 0
    for _ in range(2):
        with await through.enter(1, Amount(NANO, 1)) as permit:
            permit.money = 0
    assert caplog.messages == ["the budget of this period is spent", "there is a budget again"]


@on_virtual_time
async def test_a_failure_is_paid_for_unless_it_surely_was_not_billed() -> None:
    through = gate(purse(calls=2), [NOON], waits=False)
    for _ in range(5):
        with pytest.raises(RemoteError):
            await call(through, RemoteError("slow down"), 429)
    with pytest.raises(RemoteError):
        await call(through, NotConnected("nobody there"), None)
    for _ in range(2):
        with pytest.raises(RemoteError):
            await call(through, RemoteError("reset"), None)
    with pytest.raises(BudgetSpent):
        await call(through)


@on_virtual_time
async def test_a_call_that_is_cancelled_before_its_turn_costs_nothing() -> None:
    made = purse(calls=1)
    through = gate(made, [NOON], waits=True)
    entering = asyncio.create_task(through.enter(1, CALL))
    await asyncio.sleep(0)
    entering.cancel()
    await asyncio.sleep(1)
    await call(through)


def test_what_costs_nothing_costs_nothing() -> None:
    assert (Price().most(3, 1000, 10), Price().of(3, Usage(1000, 10), 7), Price().of(3, None, 7)) == (0, 0, 0)


def test_cached_tokens_have_prices_of_their_own() -> None:
    price = Price(0.0, 2.0, 8.0, 0.5, 2.5)
    assert price.of(1, Usage(1000, 10, 600, 0, 300), 7) == round(
        (100 * 2 + 600 * 0.5 + 300 * 2.5 + 10 * 8) * NANO / 1e6
    )
    assert price.most(1, 1000, 10) == round((1000 * 2.5 + 80) * NANO / 1e6), "all of it may be kept"
    assert Price(0.0, 2.0, 8.0, 0.0).of(1, Usage(1000, 10, 1000), 7) == round(80 * NANO / 1e6)
    assert Price(0.0, 2.0, 8.0).of(1, Usage(1000, 10, 600, 0, 300), 7) == round((2000 + 80) * NANO / 1e6)
