"""Who waits at the gate, and for how long. Time is virtual."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from itertools import pairwise

import pytest
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.gating.permit import Permit
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.limiting.pace import JITTER
from bisupervised.agents.remote.limiting.suspects import CHECK_S, Verdict
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.retry import CallRefused, CircuitOpen, Terminal
from bisupervised.schemas.errors import InvalidAnswer, RateLimited, RecordError, RemoteError, Timeout
from support.virtual_time import on_virtual_time

BREAKER = BreakerPolicy(failures=2, cool_down_s=10.0, terminal_cool_down_s=600.0)
DOWN = RemoteError("down")
NO = CallRefused("no", may_be_input=True)
#: seconds between two calls under a limit of 60 a minute
GAP_S = 60.0 / (60.0 * (1.0 - JITTER) - 1.0)


def now() -> float:
    return asyncio.get_running_loop().time()


def gate(requests: float = 0.0, tokens: float = 0.0, *, waits: bool = True) -> Gate:
    clock = asyncio.get_running_loop().time
    return Gate(LimitsPolicy(requests, tokens), BREAKER, waits=waits, clock=clock)


async def call(made: Gate, error: BaseException | None = None, takes_s: float = 0.0) -> float:
    """One call that ends like this. Returns when it began."""
    with await made.enter(25):
        began = now()
        await asyncio.sleep(takes_s)
        if error is not None:
            raise error
    return began


async def fails(made: Gate, error: BaseException = DOWN, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(type(error)):
            await call(made, error)


async def in_time(made: Gate, seconds: float) -> bool:
    """Whether a call gets in within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await call(made)
    except TimeoutError:
        return False
    return True


@on_virtual_time
async def test_without_limits_calls_go_at_once() -> None:
    made, before = gate(), now()
    await asyncio.gather(*(call(made) for _ in range(100)))
    assert now() == before


@on_virtual_time
async def test_calls_go_at_the_pace_of_the_limit_first_come_first_served() -> None:
    made = gate(requests=60.0)
    began = await asyncio.gather(*(call(made) for _ in range(5)))
    assert [later - earlier for earlier, later in pairwise([1000.0, *began])] == pytest.approx([GAP_S] * 5, rel=1e-3)


@on_virtual_time
async def test_a_call_that_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    made = gate(requests=60.0)
    waiting = [asyncio.create_task(call(made)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    began = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(began[0], asyncio.CancelledError)
    assert began[1] == pytest.approx(1000.0 + GAP_S, rel=1e-6)


@on_virtual_time
async def test_a_small_call_does_not_pass_a_large_one_that_waits() -> None:
    made = gate(tokens=6000.0)
    await asyncio.sleep(1.0)
    large = asyncio.create_task(made.enter(10_000))
    await asyncio.sleep(0)
    assert made.at_once(1) is None
    large.cancel()
    await asyncio.sleep(0)
    assert made.at_once(1) is not None


@on_virtual_time
async def test_who_takes_the_last_place_makes_it_known_and_who_waits_beside_hears_of_each() -> None:
    made, heard = Gate(LimitsPolicy(in_flight=2), BREAKER, clock=now), list[float]()
    made.on_pumped = lambda: heard.append(made.busy_at)
    await asyncio.sleep(1.0)
    await made.enter(1)
    await made.enter(1)
    assert heard == [-math.inf, now()]


@on_virtual_time
async def test_a_large_call_that_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    made = gate(tokens=6000.0)
    await asyncio.sleep(1.0)
    large, small = asyncio.create_task(made.enter(10_000)), asyncio.create_task(made.enter(1))
    await asyncio.sleep(0)
    large.cancel()
    await asyncio.gather(small, return_exceptions=True)
    assert now() == 1001.0


@on_virtual_time
async def test_a_call_cancelled_in_the_moment_of_its_turn_gives_back_the_probe() -> None:
    made = gate()
    await fails(made, times=2)
    waiting = asyncio.create_task(call(made))
    await asyncio.sleep(0)
    asyncio.get_running_loop().now += 10.0  # type: ignore[attr-defined]  # the loop of virtual time
    made._pump()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert made.breaker.state == "open"
    assert await in_time(made, 0.1)


@on_virtual_time
async def test_tokens_are_reserved_and_settled() -> None:
    made = gate(tokens=6000.0)
    await asyncio.sleep(60.0)
    permit = await made.enter(100)
    assert permit.tokens == 100
    assert made.limits.tokens is not None
    level = made.limits.tokens._level
    with permit:
        permit.used(Usage(150, 50))
    assert made.limits.tokens._level == level - 100
    assert (await made.enter(100)).tokens == 200  # the next one of this size is known better
    permit.used(None)


@on_virtual_time
async def test_the_servers_wish_holds_everybody() -> None:
    made = gate()
    await fails(made, RateLimited("busy", retry_after_s=7.0))
    assert await call(made) == pytest.approx(1007.0, abs=1e-3)


@on_virtual_time
async def test_headers_teach_the_limit() -> None:
    made = gate()
    with await made.enter(1) as permit:
        permit.heard({"x-ratelimit-limit-requests": "60"}, 200)
    began = await asyncio.gather(*(call(made) for _ in range(2)))
    assert began[1] - began[0] == pytest.approx(GAP_S, rel=1e-3)


@pytest.mark.parametrize("error", [DOWN, Timeout("late")])
def test_failures_open_the_circuit_and_one_call_probes(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    @on_virtual_time
    async def scenario() -> None:
        made = gate()
        assert made.admits
        await fails(made, error, times=2)
        assert not made.admits
        waiting = [asyncio.create_task(call(made, takes_s=5.0)) for _ in range(3)]
        await asyncio.sleep(9.9)
        assert made.breaker.state == "open"
        await asyncio.sleep(0.2)
        assert (made.breaker.state, made.admits) == ("probing", False)
        began = await asyncio.gather(*waiting)
        assert began == pytest.approx([1010.0, 1015.0, 1015.0], abs=1e-3)
        assert made.admits

    scenario()
    actions = [line.__dict__["action"] for line in caplog.records if hasattr(line, "action")]
    assert actions == ["breaker_opened", "remote_probe", "breaker_closed"]


@on_virtual_time
async def test_after_the_cool_down_more_is_taken_in_so_that_somebody_can_probe() -> None:
    made = gate()
    await fails(made, times=2)
    assert not made.admits
    await asyncio.sleep(10.0)
    assert made.admits


@on_virtual_time
async def test_a_cancelled_probe_lets_the_next_one_probe() -> None:
    made = gate()
    await fails(made, times=2)
    probe = asyncio.create_task(call(made, takes_s=1e6))
    await asyncio.sleep(11.0)
    assert made.breaker.state == "probing"
    probe.cancel()
    assert await in_time(made, 0.1)
    assert made.breaker.closed


@pytest.mark.parametrize(
    "error", [InvalidAnswer("garbage"), CallRefused("no", may_be_input=True), RateLimited("slower"), None]
)
def test_a_remote_that_says_anything_is_up(error: BaseException | None) -> None:
    @on_virtual_time
    async def scenario() -> None:
        made = gate()
        await fails(made)
        await asyncio.gather(call(made, error), return_exceptions=True)
        await fails(made)
        assert made.breaker.closed

    scenario()


@on_virtual_time
async def test_a_call_that_got_less_time_than_it_should_says_nothing() -> None:
    made = gate()
    for _ in range(5):
        permit = await made.enter(1)
        permit.impatient = True
        with pytest.raises(Timeout), permit:
            raise Timeout("its own deadline")
    assert made.breaker.closed


@on_virtual_time
async def test_a_terminal_error_stops_all_calls_for_long() -> None:
    made = gate()
    await fails(made, Terminal("wrong key"))
    assert made.breaker.state == "stopped"
    assert not await in_time(made, 9.0)
    assert await in_time(made, 2.0)


async def refused(made: Gate, record: str, times: int = 1) -> Verdict:
    """One call about this record is refused. Returns the verdict."""
    return await made.hold(await refusal(made, record), times)


async def refusal(made: Gate, record: str) -> Permit:
    """One call about this record is refused."""
    permit = await made.enter(1)
    with suppress(CallRefused), permit:
        permit.records = frozenset((record,))
        raise NO
    return permit


async def asks_known(made: Gate, error: RecordError | None = None) -> None:
    """One call that probes, as a client would make it."""
    permit = await made.enter(1)
    assert permit.probes
    permit.asks_known = True
    with suppress(CallRefused), permit:
        if error is not None:
            raise error


@on_virtual_time
async def test_an_input_refused_among_others_is_to_blame_once_a_later_call_is_answered() -> None:
    made = gate()
    early = await made.enter(1)
    await call(made)
    waiting = asyncio.create_task(refused(made, "a"))
    await asyncio.sleep(0.1)
    with early:
        pass  # it began before the refusal was heard, so it says nothing about the time after it
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await call(made)
    assert await waiting == "own"
    assert made.breaker.closed


@on_virtual_time
async def test_what_was_refused_before_anything_was_answered_is_asked_again() -> None:
    made = gate()
    waiting = asyncio.create_task(refused(made, "a"))
    await asyncio.sleep(0.1)
    await call(made)
    assert await waiting == "again"


@on_virtual_time
async def test_an_idle_remote_is_asked_what_it_answered_before_and_the_refused_input_is_to_blame() -> None:
    made, before = gate(), now()
    made.knows = True
    await call(made)
    permit = await refusal(made, "a")
    assert await made.hold(permit, 1) == "probe"
    assert now() == pytest.approx(before + CHECK_S)
    await asks_known(made)
    assert await made.hold(permit, 1) == "own"


@on_virtual_time
async def test_several_refusals_and_one_of_what_was_answered_before_stop_all_calls() -> None:
    made = gate()
    made.knows = True
    await call(made)
    waiting = [asyncio.create_task(refused(made, record)) for record in "ab"]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert now() == 1000.0, "at once"
    assert {task.result() for task in waiting if task.done()} == {"probe"}
    await asks_known(made, NO)
    assert made.breaker.state == "stopped"
    for task in waiting:
        task.cancel()


@on_virtual_time
async def test_a_lone_input_is_asked_at_growing_distance_and_does_not_wait_for_ever() -> None:
    made, times = Gate(breaker=BreakerPolicy(4, 10.0, 600.0), clock=asyncio.get_running_loop().time), 1
    while await refused(made, "a", times) == "again":
        times += 1
    assert times == 4
    assert now() == pytest.approx(1000.0 + 10.0 + 20.0 + 40.0, abs=0.01)
    assert (made.held, made.breaker.opened) == (0, 0)


@on_virtual_time
async def test_a_refused_input_that_waits_is_told_at_once_and_not_over_and_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Gate(breaker=BreakerPolicy(4, 10.0, 600.0), clock=asyncio.get_running_loop().time)
    waiting = asyncio.create_task(refused(made, "a"))
    await asyncio.sleep(1.0)
    [line] = [line for line in caplog.records if getattr(line, "action", "") == "refused_held"]
    assert line.getMessage() == (
        "refused inputs wait until it is known whether they or the remote are to blame: 1 now, and the next call "
        "comes in 10 s; the remote said: no"
    )
    told = made.statistics()
    assert (told["held"], told["said"], told["next_probe_s"]) == (1, "no", 9.0)
    assert await waiting == "again"
    again = asyncio.create_task(refused(made, "a", 2))
    await asyncio.sleep(15.0)
    assert len([line for line in caplog.records if getattr(line, "action", "") == "refused_held"]) == 1
    again.cancel()
    await call(made)
    assert [made.statistics()[name] for name in ("said", "next_probe_s")] == ["", None]


@on_virtual_time
async def test_a_remote_that_is_stopped_shows_when_it_is_asked_again() -> None:
    made = gate()
    await fails(made, Terminal("wrong key " * 50))
    told = made.statistics()
    assert (told["breaker"]["state"], told["next_probe_s"], len(told["said"])) == ("stopped", 10.0, 200)
    await asyncio.sleep(20.0)
    assert made.statistics()["next_probe_s"] == 0.0, "with the next record"


@on_virtual_time
async def test_an_outage_that_lasts_is_told_at_last_and_once(caplog: pytest.LogCaptureFixture) -> None:
    made = gate()
    await fails(made, times=2)
    for _ in range(4):
        await asyncio.sleep(10.0)
        await fails(made)
    told = [(line.levelno, vars(line)["action"]) for line in caplog.records]
    opened = (logging.WARNING, "breaker_opened")
    assert told == [opened, opened, (logging.CRITICAL, "remote_stopped"), opened, opened]


@on_virtual_time
async def test_what_waits_for_a_verdict_is_given_back_when_partitions_go() -> None:
    made, told = gate(), list[int]()
    made.on_held = told.append
    waiting = asyncio.create_task(refused(made, "a"))
    await asyncio.sleep(0.1)
    assert made.held == 1
    made.leave_waiting()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (made.held, told[0], told[-1]) == (0, 1, 0)
    with pytest.raises(asyncio.CancelledError):
        await made.hold(Permit(made, 0, 1, 0.0), 1)


@on_virtual_time
async def test_while_only_refused_inputs_are_left_others_are_taken_in() -> None:
    made = gate()
    waiting = [asyncio.create_task(refused(made, record)) for record in "ab"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (made.breaker.state, made.admits) == ("stopped", True)
    another = asyncio.create_task(call(made))
    await asyncio.sleep(0)
    assert not made.admits
    assert await another == pytest.approx(1010.0, abs=1e-3)
    assert [await task for task in waiting] == ["again", "again"]


@on_virtual_time
async def test_who_is_not_to_wait_has_no_verdict_where_nothing_is_known_and_is_sent_away_from_a_stop() -> None:
    made = gate(waits=False)
    assert await refused(made, "a") == "unknown"
    with pytest.raises(CircuitOpen, match="refuses all calls"):
        await refused(made, "b")


@on_virtual_time
async def test_no_more_calls_are_under_way_than_may_be() -> None:
    made = Gate(LimitsPolicy(in_flight=2), BREAKER, clock=asyncio.get_running_loop().time)
    began = await asyncio.gather(*(call(made, takes_s=1.0) for _ in range(4)))
    assert began == [1000.0, 1000.0, 1001.0, 1001.0]


def test_a_stop_is_logged_once_with_its_action(caplog: pytest.LogCaptureFixture) -> None:
    @on_virtual_time
    async def scenario() -> None:
        made = gate()
        both = [await made.enter(1), await made.enter(1)]
        for permit in both:
            with pytest.raises(Terminal), permit:
                raise Terminal("the remote answered 401")

    scenario()
    critical = [line for line in caplog.records if line.levelno == logging.CRITICAL]
    assert [line.__dict__["action"] for line in critical] == ["remote_stopped"]
    assert "401" in critical[0].getMessage()


@on_virtual_time
async def test_who_is_not_to_wait_is_sent_away_while_it_is_open() -> None:
    made = gate(requests=60.0, waits=False)
    await fails(made, times=2)
    waiting = asyncio.create_task(call(made))
    with pytest.raises(CircuitOpen):
        await waiting
    assert made.admits  # more is taken in, to be sent away
    await asyncio.sleep(10.0)
    await call(made)
    assert made.breaker.closed


@on_virtual_time
async def test_those_who_wait_for_the_limit_are_sent_away_when_it_opens() -> None:
    made = gate(requests=60.0, waits=False)
    permits = [await made.enter(1), await made.enter(1)]
    waiting = [asyncio.create_task(call(made)) for _ in range(3)]
    await asyncio.sleep(0)
    for permit in permits:
        with pytest.raises(RemoteError), permit:
            raise DOWN
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [CircuitOpen] * 3


@on_virtual_time
async def test_a_worker_without_partitions_calls_nobody_until_it_has_some() -> None:
    made = gate(requests=6000.0)
    made.share(0, 4)
    waiting = asyncio.create_task(call(made))
    await asyncio.sleep(100.0)
    assert not waiting.done()
    made.share(1, 4)
    assert await waiting == pytest.approx(1100.0, abs=0.1)


@pytest.mark.parametrize("down", [True, False])
def test_when_partitions_go_who_waits_is_given_back_and_who_calls_may_end(down: bool) -> None:
    """For the limit, or for a remote that is down; until the next share is known."""

    @on_virtual_time
    async def scenario() -> None:
        made = gate(requests=60.0)
        if down:
            await fails(made, times=2)
        under_way = asyncio.create_task(call(made, takes_s=15.0))
        await asyncio.sleep(11.0)  # then it is under way: the probe, where it was down
        if not down:
            await call(made)  # whose successor must wait
        waiting = [asyncio.create_task(call(made)) for _ in range(3)]
        await asyncio.sleep(0)
        before = now()
        made.leave_waiting()
        later = asyncio.create_task(call(made))
        outcomes = await asyncio.gather(*waiting, later, return_exceptions=True)
        assert now() == before
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert isinstance(await under_way, float)
        made.share(1, 1)
        began = await asyncio.gather(call(made), call(made))
        assert began[1] > began[0], "and who waits now is left to wait"

    scenario()


@on_virtual_time
async def test_it_tells_who_waits() -> None:
    made = gate(requests=60.0)
    waiting = asyncio.create_task(call(made))
    await asyncio.sleep(0)
    assert made.statistics()["waiting"] == 1
    assert repr(made).startswith("<Gate waiting=1 <Breaker closed")
    assert set(made.statistics()) == {"waiting", "held", "said", "next_probe_s", "limits", "breaker"}
    made.close()
    waiting.cancel()
