"""What becomes of shadows: the remote is asked about trusted answers, and `audits` tells. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.gating.lane import Lane
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.retry import RetryPolicy
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.transport import Response, Script, ScriptedTransport
from bisupervised.agents.remote_supervisor import RemoteSupervisor
from bisupervised.agents.shadow import Shadow, ShadowSubstitute
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.audits import AUDIT_HEADER, Audit, audit_record, decode_audit
from bisupervised.schemas.codec import RequestFormat, decode_facts, header
from bisupervised.schemas.records import FACTS_HEADER, Facts, Outgoing, Source, Verdict
from support.records import Record, request
from support.remote import Clock, echo
from support.virtual_time import on_virtual_time

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
TRUSTED = Verdict(1, 0.9, 0.8, trusted=True, supervisor="max_softmax", model="small@1")
AUDIT = Audit("shop", "trusted", 0.01, answered_by="local", shadow_share=0.05, label=False)


def shadow_of(model_input: Any, offset: int = 0, age_ms: int = 0) -> Record:
    """A record of `shadows`, written so long ago."""
    original = request(model_input, offset, headers=[("other", b"x")])
    facts = Facts(Source("requests", 0, offset), local=TRUSTED, thresholds="v1", requested_ms=5)
    made = audit_record(original, facts, AUDIT, to="shadows")
    return Record(
        made.value, offset + 100, "shadows", 0, key=made.key, headers=list(made.headers), timestamp=NOW_MS - age_ms
    )


class Lingering(ScriptedTransport):
    """Answers after ten seconds."""

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        made = await super().post(url, body, headers, timeout_s, method=method)
        await asyncio.sleep(10.0)
        return made


class World:
    """A shadow agent's logic beside a gate."""

    def __init__(self, script: Script, in_flight: int = 8, *, lingers: bool = False, **retry: Any) -> None:
        clock = Clock()
        self.gate = Gate(LimitsPolicy(in_flight=in_flight), clock=clock)
        self.transport = Lingering(script) if lingers else ScriptedTransport(script)
        policy = ClientPolicy("http://remote/", retry=RetryPolicy(**retry), price=Price(2.0))
        form = OpenInference("big")
        asks = RemoteClient(self.transport, form, policy, gate=self.gate, clock=clock, sleep=clock.sleep)
        real = Remote(asks, RequestFormat(), now_ms=lambda: NOW_MS)
        self.lane = Lane(self.gate, clock=clock)
        judge = RemoteSupervisor(Supervisor("max_softmax", 0.7), thresholds_version="v1")
        self.shadow = Shadow(real.beside(self.lane), judge, self.lane, "shop", within_hours=24.0)


def told(outgoing: Outgoing) -> tuple[Facts, Audit]:
    assert outgoing.to == "audits"
    record = Record(outgoing.value, headers=list(outgoing.headers))
    facts = decode_facts(record)
    assert outgoing.about == facts
    return facts, decode_audit(header(outgoing.headers, AUDIT_HEADER) or b"")


@pytest.mark.parametrize(("row", "prediction", "trusted"), [([0.25, 0.75], 1, True), ([0.6, 0.4], 0, False)])
@on_virtual_time
async def test_an_answer_is_judged_as_if_the_local_one_had_been_doubted(
    row: list[float], prediction: int, trusted: bool
) -> None:
    world, record = World(echo), shadow_of(row, 7)
    [made] = await world.shadow.answer([record])
    facts, audit = told(made)
    assert (made.key, made.value) == (record.key, record.value)
    assert audit == msgspec.structs.replace(AUDIT, shadow="answered")
    assert (facts.source, facts.local, facts.thresholds) == (Source("requests", 0, 7), TRUSTED, "v1")
    assert (facts.reason, facts.deadline_ms, facts.agent) == (None, None, "shadow")
    assert facts.remote is not None
    assert (facts.remote.prediction, facts.remote.score) == (prediction, max(row))
    assert (facts.remote.threshold, facts.remote.trusted, facts.remote.supervisor) == (0.7, trusted, "max_softmax")
    assert (facts.remote.calls, facts.remote.cost) == (1, 2.0)


@on_virtual_time
async def test_what_fails_is_missing_with_the_reason_and_what_it_has_cost() -> None:
    world = World([Response(500, {}, b"broken")], tries=1)
    facts, audit = told((await world.shadow.answer([shadow_of([0.2, 0.8])]))[0])
    assert (audit.shadow, audit.missing, audit.ended) == ("missing", "", "trusted")
    assert facts.reason == "remote_error"
    assert "broken" in (facts.detail or "")
    assert facts.local == TRUSTED
    assert facts.remote is not None
    assert (facts.remote.prediction, facts.remote.calls) == (None, 1)


@on_virtual_time
async def test_a_remote_that_answers_nothing_makes_them_missing_and_not_wait_for_ever() -> None:
    world = World(lambda sent: Response(500, {}, b"broken"), tries=3)
    made = await asyncio.wait_for(world.shadow.answer([shadow_of([0.2, 0.8])]), 600.0)
    assert told(made[0])[0].reason == "remote_error"
    assert len(world.transport.sent) == 3


@on_virtual_time
async def test_what_is_refused_does_not_wait_for_a_verdict() -> None:
    world = World(lambda sent: Response(400, {}, b"no"))
    made = await asyncio.wait_for(world.shadow.answer([shadow_of([0.2, 0.8], n) for n in range(3)]), 1.0)
    assert {told(one)[1].shadow for one in made} == {"missing"}
    assert {told(one)[0].reason for one in made} == {"remote_error"}
    assert world.gate.held == 0
    assert world.gate.breaker.closed


@on_virtual_time
async def test_what_is_too_old_is_not_asked_about() -> None:
    world = World(echo)
    old, young = shadow_of([0.2, 0.8], 1, age_ms=24 * HOUR_MS), shadow_of([0.2, 0.8], 2, age_ms=23 * HOUR_MS)
    made = [told(one) for one in await world.shadow.answer([old, young])]
    assert [audit.shadow for _, audit in made] == ["missing", "answered"]
    assert made[0][0].reason == "timeout"
    assert len(world.transport.sent) == 1


@on_virtual_time
async def test_what_finds_no_quiet_moment_in_its_time_is_missing() -> None:
    world = World(echo, in_flight=1)
    permit = await world.gate.enter(1)
    made = await world.shadow.answer([shadow_of([0.2, 0.8], age_ms=24 * HOUR_MS - 5_000)])
    permit.give_back()
    facts, audit = told(made[0])
    assert (audit.shadow, facts.reason) == ("missing", "timeout")
    assert facts.remote is None
    assert world.transport.sent == []


@on_virtual_time
async def test_a_call_that_gave_way_is_made_again() -> None:
    world = World(echo, in_flight=1, lingers=True)
    asking = asyncio.create_task(world.shadow.answer([shadow_of([0.2, 0.8])]))
    await asyncio.sleep(1.0)
    permit = await world.gate.enter(1)
    await asyncio.sleep(1.0)
    assert not asking.done()
    permit.give_back()
    assert told((await asking)[0])[1].shadow == "answered"
    assert len(world.transport.sent) == 2


@on_virtual_time
async def test_one_that_gives_way_again_and_again_is_missing() -> None:
    world = World(echo, in_flight=1, lingers=True)
    asking = asyncio.create_task(world.shadow.answer([shadow_of([0.2, 0.8])]))
    for _ in range(5):
        await asyncio.sleep(1.0)
        (await world.gate.enter(1)).give_back()
    facts, audit = told((await asking)[0])
    assert (audit.shadow, facts.reason) == ("missing", "timeout")
    assert "given way" in (facts.detail or "")


@on_virtual_time
async def test_where_the_partitions_go_nothing_is_said() -> None:
    world = World(echo, in_flight=1)
    await world.gate.enter(1)
    asking = asyncio.create_task(world.shadow.answer([shadow_of([0.2, 0.8])]))
    await asyncio.sleep(1.0)
    world.lane.leave_waiting()
    with pytest.raises(asyncio.CancelledError):
        await asking


@on_virtual_time
async def test_who_is_cancelled_leaves_no_call_behind() -> None:
    world = World(echo, lingers=True)
    asking = asyncio.create_task(world.shadow.answer([shadow_of([0.2, 0.8])]))
    await asyncio.sleep(1.0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0)
    assert world.lane.statistics()["under_way"] == 0


@on_virtual_time
async def test_what_no_worker_wrote_is_no_evidence(caplog: pytest.LogCaptureFixture) -> None:
    world = World(echo)
    damaged = Record(b"{}", 3, "shadows", 0, headers=[(FACTS_HEADER, b"damaged"), (AUDIT_HEADER, b"{}")])
    made = await world.shadow.answer([damaged, shadow_of([0.2, 0.8])])
    facts, audit = told(made[0])
    assert (audit.label, audit.ended, bool(audit.missing), facts.reason) == (False, "failed", True, "invalid_request")
    assert told(made[1])[1].shadow == "answered"
    assert "is no record of a shadow" in caplog.text


def test_what_the_plane_says_in_the_agents_place() -> None:
    substitute, record = ShadowSubstitute("shop"), shadow_of([0.2, 0.8])
    facts, audit = told(substitute.failed(record, "it raises"))
    assert (audit.shadow, audit.missing, facts.reason) == ("missing", "", "model_error")
    facts, audit = told(substitute.too_large(record, "too large"))
    assert (audit.shadow, audit.missing, facts.reason) == ("missing", "too large", "too_large")
    assert facts.local is not None
    assert facts.local.prediction is None
    facts, audit = told(substitute.refused(record, "refused"))
    assert (audit.missing, facts.reason) == ("refused", "invalid_request")
    for says in (substitute.failed, substitute.too_large):
        assert not told(says(Record(b"", 1, "shadows"), "why"))[1].label
