"""Equal inputs through the remote agent: asked once, an outcome each, nothing hidden."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.retry import RetryPolicy
from bisupervised.agents.remote.reusing.cache import AnswerCache, CachePolicy
from bisupervised.agents.remote.reusing.reuse import Reuse
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.transport import Response, Script, ScriptedTransport
from bisupervised.schemas.codec import RequestFormat, decode_facts, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Outgoing, Source, Verdict
from support.records import Record, request
from support.remote import echo
from support.virtual_time import on_virtual_time

DOWN = Response(200, {}, b'{"error": {"code": "content_filter"}}')


class Sleeping(ScriptedTransport):
    """A transport whose calls take time."""

    def __init__(self, script: Script, delay_s: float) -> None:
        super().__init__(script)
        self._delay_s = delay_s
        self.under_way = self.most = 0

    async def post(self, *args: Any, **kwargs: Any) -> Response:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self._delay_s)
            return await super().post(*args, **kwargs)
        finally:
            self.under_way -= 1


class World:
    """A remote agent on the loop's clock."""

    def __init__(
        self,
        script: Script = echo,
        records: int = 100,
        age_s: float = 3600.0,
        delay_s: float = 1.0,
        failures: int = 5,
    ) -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(breaker=BreakerPolicy(failures), clock=loop.time)
        self.transport = Sleeping(script, delay_s)
        protocol, policy = OpenInference("big"), ClientPolicy("http://remote", price=Price(2.0), retry=RetryPolicy(1))
        asks = RemoteClient(self.transport, protocol, policy, gate=gate, clock=loop.time)
        self.reuse = Reuse(AnswerCache(CachePolicy(records, age_s=age_s)), protocol, clock=loop.time)
        began = loop.time()
        self.agent = Remote(asks, RequestFormat(), reuse=self.reuse, now_ms=lambda: 1e12 + (loop.time() - began) * 1000)

    async def ask(self, *inputs: Sequence[float], first: int = 0, deadline_ms: int | None = None) -> list[Verdict]:
        """What the remote is said to have answered, one for each input. Each must be about its own record."""
        records = [doubtful(given, first + number, deadline_ms) for number, given in enumerate(inputs)]
        facts = [facts_in(outcome) for outcome in await self.agent.answer(records)]
        assert [known.source.offset for known in facts] == list(range(first, first + len(inputs)))
        return [known.remote or Verdict(None, None) for known in facts]

    @property
    def calls(self) -> int:
        return len(self.transport.sent)


def doubtful(given: Any, offset: int, deadline_ms: int | None = None) -> Record:
    facts = Facts(Source("requests", 0, offset), deadline_ms=deadline_ms, agent="local")
    return request(given, offset, headers=[(FACTS_HEADER, encode_facts(facts))])


def facts_in(outcome: Outgoing) -> Facts:
    return decode_facts(Record(outcome.value, headers=outcome.headers))


A, B = [0.25, 0.75], [0.75, 0.25]


@on_virtual_time
async def test_an_equal_input_costs_nothing_and_says_so() -> None:
    world = World()
    [paid] = await world.ask(A)
    [free] = await world.ask(A, first=1)
    assert (paid.cached, paid.calls, paid.cost) == (False, 1, 2.0)
    assert (free.cached, free.calls, free.cost, free.latency_ms) == (True, 0, 0.0, 0.0)
    assert (free.prediction, free.score, free.model) == (paid.prediction, paid.score, paid.model) == (1, 0.75, "big@7")
    assert world.calls == 1
    told = world.agent.statistics()["cache"]
    assert (told["answers"], told["hits"], told["misses"]) == (1, 1, 1)


@on_virtual_time
async def test_what_is_equal_in_one_batch_is_asked_once() -> None:
    world = World()
    verdicts = await world.ask(A, B, A, A)
    assert [verdict.cached for verdict in verdicts] == [False, False, True, True]
    assert [verdict.prediction for verdict in verdicts] == [1, 0, 1, 1]
    assert world.calls == 1
    assert world.reuse.shared == 2


@on_virtual_time
async def test_what_is_equal_and_under_way_is_waited_for_even_where_nothing_is_kept() -> None:
    world = World(records=0)
    answered = await asyncio.gather(*(world.ask(A, first=number) for number in range(20)))
    assert sum(verdict.calls for [verdict] in answered) == world.calls == 1
    assert sum(verdict.cost for [verdict] in answered) == 2.0


@on_virtual_time
async def test_an_old_answer_is_asked_for_anew() -> None:
    world = World(age_s=60.0)
    await world.ask(A)
    await asyncio.sleep(61.0)
    [verdict] = await world.ask(A)
    assert (verdict.cached, world.calls) == (False, 2)


@on_virtual_time
async def test_a_failure_is_not_kept_and_those_who_waited_ask_one_after_the_other() -> None:
    fails = iter([DOWN] * 60)
    world = World(lambda sent: next(fails, None) or echo(sent), delay_s=0.1, failures=100)  # so many stop no calls
    answered = await asyncio.gather(*(world.ask(A, first=number) for number in range(100)))
    assert world.transport.most == 1
    assert world.calls == 61
    assert sum(verdict.prediction is None for [verdict] in answered) == 60
    assert sum(verdict.cached for [verdict] in answered) == 39


@on_virtual_time
async def test_who_waits_for_a_call_that_is_cancelled_asks_itself() -> None:
    world = World(delay_s=5.0)
    first = asyncio.create_task(world.ask(A))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(world.ask(A, first=1))
    await asyncio.sleep(0.1)
    first.cancel()
    [verdict] = await second
    assert (verdict.cached, verdict.calls, world.calls) == (False, 1, 1), "the first was cut before it was sent"


@on_virtual_time
async def test_who_has_no_time_to_wait_falls_back_and_pays_nothing() -> None:
    world = World(delay_s=20.0)
    first = asyncio.create_task(world.ask(A))
    await asyncio.sleep(0.1)
    [outcome] = await world.agent.answer([doubtful(A, 1, deadline_ms=int(1e12) + 2000)])
    assert dict(outcome.headers)[REASON_HEADER] == b"timeout"
    assert facts_in(outcome).remote is None
    assert world.transport.most == 1
    await first


@on_virtual_time
async def test_a_call_that_is_over_does_not_end_a_later_one_for_the_same() -> None:
    world = World(records=0)
    world.reuse.lead(b"x")
    first = world.reuse.flight(b"x")
    world.reuse.land(b"x", first)
    world.reuse.lead(b"x")
    later = world.reuse.flight(b"x")
    world.reuse.land(b"x", first)
    assert world.reuse.flight(b"x") is later


class Calls:
    """Remembers which records of a batch were asked, by their positions."""

    def __init__(self, *before: int) -> None:
        self.before = set(before)
        self.told: list[int] = []

    def called_before(self, position: int) -> bool:
        return position in self.before

    def called(self, position: int) -> None:
        self.told.append(position)


@on_virtual_time
async def test_a_call_that_may_have_been_made_before_is_counted_and_says_so() -> None:
    world, calls = World(), Calls(1)
    outcomes = await world.agent.answer([doubtful(A, 0), doubtful(B, 1)], calls)
    verdicts = [facts_in(outcome).remote for outcome in outcomes]
    assert [verdict.repeated for verdict in verdicts if verdict] == [False, True]
    assert world.agent.statistics()["remote_calls_repeated"] == 1
    assert calls.told == [0, 1]


@on_virtual_time
async def test_what_is_known_is_no_repeated_call() -> None:
    world, calls = World(), Calls(0)
    await world.ask(A)
    [outcome] = await world.agent.answer([doubtful(A, 1)], calls)
    verdict = facts_in(outcome).remote
    assert verdict is not None
    assert (verdict.cached, verdict.repeated, calls.told) == (True, False, [])
    assert world.agent.statistics()["remote_calls_repeated"] == 0


@on_virtual_time
async def test_a_call_is_told_of_also_where_it_fails_or_is_cancelled() -> None:
    world, calls, later = World([DOWN], delay_s=2.0), Calls(0), Calls()
    [outcome] = await world.agent.answer([doubtful(A, 0)], calls)
    failed = facts_in(outcome).remote
    assert failed is not None
    assert (failed.prediction, failed.repeated, failed.calls) == (None, True, 1)
    cancelled = asyncio.create_task(world.agent.answer([doubtful(B, 1)], later))
    await asyncio.sleep(1.0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (calls.told, later.told) == ([0], [0])
