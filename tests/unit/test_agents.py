"""The remote agent as Faust and the plane see it: its share, its appetite, and what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import pytest
from bisupervised.agents.agents import RemoteAgent
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.transport import Response, ScriptedTransport
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.agents.terms import Terms
from bisupervised.schemas.codec import RequestFormat, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, Facts, Incoming, Outgoing, Source
from support.records import request
from support.remote import Clock, client, echo
from support.virtual_time import on_virtual_time


class Batch:
    """One doubtful record, and what became of it."""

    def __init__(self, number: int = 0) -> None:
        facts = Facts(Source("requests", 0, number), agent="local")
        self.records: Sequence[Incoming] = [request([0.5, 0.5], number, headers=[(FACTS_HEADER, encode_facts(facts))])]
        self.ended = ""
        self.wanted = True

    def called_before(self, position: int) -> bool:
        return False

    def called(self, position: int) -> None: ...

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        self.ended = outcomes[0].to

    def release(self) -> None:
        self.ended = "released"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


async def given(*batches: Batch) -> AsyncIterator[Any]:
    for batch in batches:
        yield batch


def agent(script: Any, limits: LimitsPolicy | None = None) -> tuple[RemoteAgent, ScriptedTransport]:
    clock = asyncio.get_running_loop().time
    gate = Gate(limits, BreakerPolicy(failures=1, cool_down_s=10.0), clock=clock)
    asks, transport = client(script, Clock(), gate)
    return RemoteAgent(Remote(asks, RequestFormat())), transport


@on_virtual_time
async def test_a_worker_has_as_many_calls_in_flight_as_its_partitions_give_it() -> None:
    made, _ = agent(echo, LimitsPolicy(in_flight=8))
    made.owns(1, 4)
    assert made.statistics()["limits"] == {"share": 0.25, "in_flight": 2}
    assert repr(made._calls) == "<InFlight 0 of 2>"


@on_virtual_time
async def test_nobody_calls_for_partitions_that_are_gone() -> None:
    """The records wait for a remote that is down; a rebalance takes them; the remote comes back."""
    made, transport = agent([Response(503, {}, b""), *[echo] * 9])
    mine = Batch()
    running = asyncio.create_task(made.run(given(mine)))
    await asyncio.sleep(1.0)
    assert made.statistics()["in_flight"] == 1
    mine.wanted = False
    made.owns(0, 4)
    await asyncio.sleep(60.0)
    made.owns(4, 4)
    await asyncio.sleep(60.0)
    await running
    assert (len(transport.sent), mine.ended) == (1, "released")


@on_virtual_time
async def test_when_partitions_go_what_waits_for_a_remote_that_is_down_is_given_back_at_once() -> None:
    made, transport = agent(lambda sent: Response(503, {}, b""), LimitsPolicy(in_flight=2))
    batches = [Batch(number) for number in range(4)]
    running = asyncio.create_task(made.run(given(*batches)))
    await asyncio.sleep(1.0)
    assert [batch.ended for batch in batches] == [""] * 4
    made.leaves()
    await asyncio.sleep(0.001)
    assert [batch.ended for batch in batches] == ["released"] * 4, "those that waited for room, too"
    await running
    assert len(transport.sent) == 2


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405])
def test_a_refusal_of_everything_leaves_the_backlog_alone(status: int) -> None:
    """A wrong key, URL or model is no record's fault: one call learns of it, and the records wait."""

    @on_virtual_time
    async def scenario() -> None:
        refusals = iter([Response(status, {}, b"")])
        made, transport = agent(lambda sent: next(refusals, None) or echo(sent), LimitsPolicy(in_flight=1))
        batches = [Batch(number) for number in range(3)]
        running = asyncio.create_task(made.run(given(*batches)))
        await asyncio.sleep(9.0)
        assert (len(transport.sent), made.hungry) == (1, False)
        assert [batch.ended for batch in batches] == [""] * 3
        assert made.statistics()["breaker"]["state"] == "stopped"
        await asyncio.sleep(20.0)  # mended; a probe finds out
        assert [batch.ended for batch in batches] == ["answers"] * 3
        await running

    scenario()


@on_virtual_time
async def test_it_is_not_hungry_while_the_remote_is_down_and_says_why() -> None:
    answers = iter([Response(503, {}, b"")])
    made, _ = agent(lambda sent: next(answers, None) or echo(sent))
    assert made.hungry
    batch = Batch()
    await made.run(given(batch))
    await asyncio.sleep(1.0)
    assert not made.hungry
    told = made.statistics()
    assert (told["in_flight"], told["waiting"], told["breaker"]["state"]) == (1, 1, "open")
    await asyncio.sleep(10.0)
    assert (made.hungry, batch.ended) == (True, "answers")
    await made.close()


@pytest.mark.parametrize("owned", [1, 4])
def test_the_limit_is_kept_by_the_share(owned: int) -> None:
    @on_virtual_time
    async def scenario() -> None:
        made, transport = agent(echo, LimitsPolicy(requests_per_minute=600.0))
        made.owns(owned, 4)
        running = asyncio.create_task(made.run(given(*map(Batch, range(2000)))))
        await asyncio.sleep(60.0)
        assert 0.97 * 150 * owned < len(transport.sent) <= 150 * owned
        running.cancel()
        await made.close()

    scenario()


@on_virtual_time
async def test_other_limits_hold_from_the_next_call_on() -> None:
    made, _ = agent(echo, LimitsPolicy(in_flight=8))
    made.owns(1, 2)
    terms = Terms("t2", Supervisor("a", 0.5), Supervisor("b", 0.5), None, False, "", LimitsPolicy(600.0, 0.0, 16))
    made.adopt(terms)
    assert made._calls._limit == made._remote.gate.limits.in_flight == 8, "half of 16"
    requests = made._remote.gate.limits.requests
    assert requests is not None
    assert requests.per_minute == 600.0
