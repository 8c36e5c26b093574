"""Whatever the remote does, and whoever needs it meanwhile: each drawn request has exactly one record of `audits`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from bisupervised.agents.auditing.draw import Draw
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.gating.lane import Lane
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.retry import RetryPolicy
from bisupervised.agents.remote.transport import Response, ScriptedTransport, ScriptStep, Sent
from bisupervised.agents.remote_supervisor import RemoteSupervisor
from bisupervised.agents.shadow import Shadow
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.audits import AUDIT_HEADER, decode_audit
from bisupervised.schemas.codec import RequestFormat, decode_facts, fall_back, forward, header, publish
from bisupervised.schemas.records import Facts, Incoming, Outgoing, Result, Source
from bisupervised.streams.flow import request_facts
from bisupervised.streams.plane.window.slots import Slot
from bisupervised.streams.worker.auditing import Auditing
from hypothesis import given
from hypothesis import strategies as st
from support.records import Record, request
from support.remote import Clock, echo
from support.virtual_time import on_virtual_time

SECRET = b"only the fleet knows"
NOW_MS = 1_700_000_000_000
#: how a request ends at the local agent
ENDS = st.sampled_from(("trusted", "untrusted", "failed", "doubtful"))
#: what the remote says, call after call
SAYS = st.sampled_from(("answers", "breaks", "refuses", "lingers"))


class Moody(ScriptedTransport):
    """Does as it is told, call after call, and then answers."""

    def __init__(self, moods: Sequence[str]) -> None:
        self._moods = iter(moods)
        super().__init__(self._step)

    def _step(self, sent: Sent) -> ScriptStep:
        self.mood = next(self._moods, "answers")
        if self.mood in ("breaks", "refuses"):
            return Response(500 if self.mood == "breaks" else 400, {}, b"no")
        return echo(sent)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        made = await super().post(url, body, headers, timeout_s, method=method)
        await asyncio.sleep(5.0 if self.mood == "lingers" else 0.1)
        return made


def outcome_of(record: Record, ended: str) -> Outgoing:
    """What the local agent says."""
    source = Source("requests", 0, record.offset)
    if ended == "failed":
        return fall_back(record, Facts(source), "model_error", "it raises", "local")
    if ended == "doubtful":
        return forward(record, "doubtful", Facts(source))
    result = Result(source, 1, "local", 0.9, 0.8, trusted=ended == "trusted", thresholds="v1", requested_ms=5)
    return publish(record, result)


def companions(requests: Sequence[str], draw: Draw) -> list[Outgoing]:
    """What leaves beside the outcomes of these requests."""

    def known(record: Incoming) -> Facts:
        return msgspec.structs.replace(request_facts(record), topic_id="id")

    auditing = Auditing(draw, SECRET, "shop", known, reads_requests=True)
    records = [request([0.25, 0.75], offset) for offset in range(len(requests))]
    slots = [
        Slot(record, record.offset, 1, called=False, leads=True, outcome=outcome_of(record, ended))
        for record, ended in zip(records, requests, strict=True)
    ]
    pairs = [(slot.record, slot.outcome) for slot in auditing.drawn(slots, 0, len(slots), in_order=True)]
    made = [auditing.of(record, outcome) for record, outcome in pairs if outcome is not None]
    return [one for one in made if one is not None]


async def asked(shadows: Sequence[Outgoing], moods: Sequence[str], needed_at: Sequence[float]) -> list[Outgoing]:
    """What becomes of them, while others need the only place at these times."""
    clock = Clock()
    gate = Gate(LimitsPolicy(in_flight=1), clock=clock)
    policy = ClientPolicy("http://remote/", retry=RetryPolicy(tries=2))
    asks = RemoteClient(Moody(moods), OpenInference("big"), policy, gate=gate, clock=clock, sleep=clock.sleep)
    lane = Lane(gate, clock=clock)
    judge = RemoteSupervisor(Supervisor("max_softmax", 0.7), thresholds_version="v1")
    real = Remote(asks, RequestFormat(), now_ms=lambda: NOW_MS)
    shadow = Shadow(real.beside(lane), judge, lane, "shop")

    async def needs(after_s: float) -> float:
        await asyncio.sleep(after_s)
        began = clock()
        permit = await gate.enter(1)
        waited_s = clock() - began
        permit.give_back()
        return waited_s

    needing = [asyncio.create_task(needs(after_s)) for after_s in needed_at]
    records = [
        Record(one.value, place, "shadows", 0, key=one.key, headers=list(one.headers), timestamp=NOW_MS)
        for place, one in enumerate(shadows)
    ]
    made = await asyncio.gather(*(shadow.answer([record]) for record in records))
    assert all(waited_s == 0.0 for waited_s in await asyncio.gather(*needing)), "somebody waited for a shadow"
    return [one for [one] in made]


@given(
    requests=st.lists(ENDS, min_size=1, max_size=24),
    shares=st.sampled_from(((0.0, 0.5), (0.2, 0.5), (0.3, 1.0), (1.0, 1.0), (0.5, 0.0))),
    moods=st.lists(SAYS, max_size=12),
    needed_at=st.lists(st.floats(0.0, 30.0), max_size=5),
)
def test_each_drawn_request_has_one_audit_whatever_the_remote_does_and_nobody_waits_for_it(
    requests: list[str], shares: tuple[float, float], moods: list[str], needed_at: list[float]
) -> None:
    draw = Draw(shares[0], SECRET, "shop", shares[1])
    left = companions(requests, draw)
    shadows = [one for one in left if one.to == "shadows"]

    audits = [one for one in left if one.to == "audits"]

    @on_virtual_time
    async def live() -> None:
        audits.extend(await asked(shadows, moods, needed_at))

    live()
    assert {one.to for one in audits} <= {"audits"}
    ended = {offset for offset, end in enumerate(requests) if end != "doubtful"}
    drawn = draw.drawn("id", 0, 0, len(requests) - 1) & ended
    told = [
        (decode_facts(record), record) for one in audits for record in [Record(one.value, headers=list(one.headers))]
    ]
    assert Counter(facts.source.offset for facts, _ in told) == Counter(drawn)
    for facts, record in told:
        audit = decode_audit(header(record.headers, AUDIT_HEADER) or b"")
        shadowed = bool(shares[1]) and requests[facts.source.offset] == "trusted"
        assert (audit.shadow is not None) == shadowed
        assert audit.label == draw.wants_label("id", 0, facts.source.offset)
        assert (audit.shadow == "missing") == (shadowed and facts.reason is not None)
