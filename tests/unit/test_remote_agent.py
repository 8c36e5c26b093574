from __future__ import annotations

import asyncio
import gc
import logging
import re
from typing import Any

import pytest
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.asking import idempotency_key, inputs_key
from bisupervised.agents.remote.batching import BatchPolicy
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.protocol import Call
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.transport import Response, Script, ScriptedTransport, Slow
from bisupervised.schemas.codec import RequestFormat, decode_facts, decode_result, encode_facts
from bisupervised.schemas.errors import RemoteError
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Outgoing, Source, Verdict
from support.records import Record, request
from support.remote import Clock, client, echo, inputs_of, spoiled_by
from support.virtual_time import on_virtual_time

NOW_MS = 1_700_000_000_000
DOUBT = Verdict(3, 0.4, 0.5, model="small@1")


def doubtful(model_input: Any, offset: int = 0, deadline_ms: int | None = None) -> Record:
    facts = Facts(Source("requests", 0, offset), deadline_ms=deadline_ms, local=DOUBT, agent="local")
    headers = [("other", b"x"), (FACTS_HEADER, encode_facts(facts))]
    return request(model_input, offset + 100, headers=headers)


def remote(script: Script, **retry: Any) -> tuple[Remote, ScriptedTransport]:
    asks, transport = client(script, Clock(), **retry)
    return Remote(asks, RequestFormat(), now_ms=lambda: NOW_MS), transport


def remote_with(
    script: Script, gate: Gate | None = None, clock: Clock | None = None, **options: Any
) -> tuple[Remote, ScriptedTransport]:
    """A remote whose clock of the wall goes with the other one, and that gives up the moment the remote is down."""
    clock = clock or Clock()
    gate = gate or Gate(breaker=BreakerPolicy(failures=1), waits=False, clock=clock)
    asks, transport = client(script, clock, gate)
    began = clock.now
    made = Remote(asks, RequestFormat(), now_ms=lambda: NOW_MS + (clock.now - began) * 1000, **options)
    return made, transport


def facts_in(outcome: Outgoing) -> Facts:
    return decode_facts(Record(outcome.value, headers=outcome.headers))


def reasons(outcomes: list[Outgoing]) -> list[bytes | None]:
    return [dict(outcome.headers).get(REASON_HEADER) for outcome in outcomes]


def never_bad(row: list[float]) -> bool:
    return False


ECHO = spoiled_by(never_bad, Response(500, {}, b""))


async def test_doubtful_records_become_answers_with_one_call() -> None:
    agent, transport = remote(ECHO)
    records = [doubtful([0.25, 0.75], 7), doubtful([0.5, 0.5], 8)]
    outcomes = await agent.answer(records)
    assert [outcome.to for outcome in outcomes] == ["answers", "answers"]
    assert [outcome.value for outcome in outcomes] == [record.value for record in records]
    assert [outcome.timestamp for outcome in outcomes] == [record.timestamp for record in records]
    assert len(transport.sent) == 1
    facts = facts_in(outcomes[0])
    assert (facts.source, facts.local, facts.agent) == (Source("requests", 0, 7), DOUBT, "remote")
    assert facts.remote is not None
    assert (facts.remote.prediction, facts.remote.score, facts.remote.model) == (1, 0.75, "big@7")
    assert (facts.remote.calls, facts.remote.cost) == (1, 2.0)
    # it is judged later, by another agent
    assert (facts.remote.threshold, facts.remote.trusted, facts.reason) == (None, False, None)


async def test_facts_grow_in_one_header() -> None:
    [outcome] = await remote(ECHO)[0].answer([doubtful([0.25, 0.75])])
    assert [name for name, _ in outcome.headers] == ["other", FACTS_HEADER]


async def test_what_cannot_be_asked_falls_back_beside_what_can() -> None:
    agent, transport = remote(ECHO)
    records = [
        doubtful([0.25, 0.75], 1),
        request([0.5, 0.5], 2),  # no facts
        Record(b"{no json", 3, headers=doubtful([1, 0], 3).headers),
        doubtful([0.5, 0.5], 4, deadline_ms=NOW_MS),
        doubtful([0.5, 0.5], 5, deadline_ms=NOW_MS + 1),
        Record(None, 6, headers=[(FACTS_HEADER, b"damaged")]),
    ]
    outcomes = await agent.answer(records)
    assert reasons(outcomes) == [
        None,
        b"invalid_request",
        b"invalid_request",
        b"timeout",
        None,
        b"invalid_request",
    ]
    assert [outcome.value for outcome in outcomes] == [record.value for record in records]
    assert len(transport.sent) == 1
    assert len(inputs_of(transport.sent[0])) == 2
    assert facts_in(outcomes[3]).local == DOUBT


async def test_nothing_to_ask_makes_no_call() -> None:
    agent, transport = remote([])
    [outcome] = await agent.answer([doubtful([0.5, 0.5], deadline_ms=NOW_MS - 1)])
    assert outcome.to == "fallback"
    assert transport.sent == []


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (RemoteError("reset"), b"remote_error"),
        (Response(503, {}, b""), b"remote_error"),
        (Response(404, {}, b""), b"remote_error"),
        (Response(429, {}, b""), b"rate_limited"),
        (Slow(60.0), b"timeout"),
    ],
)
async def test_a_call_that_fails_falls_back_with_its_reason_and_what_it_cost(step: Any, reason: bytes) -> None:
    agent, transport = remote(lambda sent: step, tries=2)
    outcomes = await agent.answer([doubtful([0.25, 0.75], 1), doubtful([0.5, 0.5], 2)])
    assert reasons(outcomes) == [reason, reason]
    assert len(transport.sent) == (1 if step == Response(404, {}, b"") else 2)
    facts = facts_in(outcomes[0])
    assert facts.local == DOUBT
    assert facts.remote == Verdict(None, None, calls=len(transport.sent))


SPOILT = [Response(200, {}, b"garbage"), Response(400, {}, b""), Response(422, {}, b""), Response(413, {}, b"")]


@pytest.mark.parametrize(
    "step",
    [Response(200, {}, b"no json"), Response(400, {}, b"{}"), Response(503, {}, b""), RemoteError("cut"), Slow(99.0)],
)
async def test_a_call_that_fails_leaves_nothing_to_the_search_for_garbage(
    step: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "bisupervised")  # what is captured would hold the error
    clock = Clock()
    gate = Gate(breaker=BreakerPolicy(failures=99), waits=False, clock=clock)
    agent, _ = remote_with(lambda sent: step, gate, clock)
    await agent.answer([doubtful([0.5, 0.5])])  # the first one makes what stays
    gc.collect()
    gc.disable()
    await agent.answer([doubtful([0.5, 0.5])])
    left = gc.collect()
    gc.enable()
    assert left == 0


@pytest.mark.parametrize("step", SPOILT)
@pytest.mark.parametrize("bad", range(5))
@on_virtual_time
async def test_one_bad_input_does_not_fail_its_neighbours(step: Response, bad: int) -> None:
    agent, transport = remote(spoiled_by(lambda row: row == [1.0, 0.0], step))
    inputs = [[0.5, 0.5] if number != bad else [1.0, 0.0] for number in range(5)]
    outcomes = await agent.answer([doubtful(given, number) for number, given in enumerate(inputs)])
    assert [outcome.to for outcome in outcomes] == ["fallback" if n == bad else "answers" for n in range(5)]
    assert [facts_in(outcome).source.offset for outcome in outcomes] == list(range(5))
    assert reasons(outcomes)[bad] == (b"invalid_answer" if step.status == 200 else b"refused")
    asked = {sent.headers["idempotency-key"]: sent.body for sent in transport.sent}
    assert len(asked) == len(transport.sent) - 1, "each call has its own key, but for the bad one, asked once more"


@on_virtual_time
async def test_every_call_made_for_an_input_is_counted_across_the_halves() -> None:
    agent, _ = remote(spoiled_by(lambda row: row == [1.0, 0.0], Response(200, {}, b"garbage")))
    outcomes = await agent.answer([doubtful([1.0, 0.0], 0), doubtful([0.5, 0.5], 1)])
    verdicts = [facts_in(outcome).remote for outcome in outcomes]
    assert [(verdict.calls, verdict.cost) for verdict in verdicts if verdict] == [(2, 4.0), (2, 4.0)]


async def test_inputs_of_several_shapes_are_asked_apart() -> None:
    agent, transport = remote(ECHO)
    outcomes = await agent.answer([doubtful([0.5, 0.5], 0), doubtful([0.5, 0.25, 0.25], 1)])
    assert [outcome.to for outcome in outcomes] == ["answers", "answers"]
    assert len(transport.sent) == 2


async def test_an_input_that_is_no_tensor_is_an_invalid_request_that_cost_nothing() -> None:
    agent, _ = remote(ECHO)
    outcomes = await agent.answer([doubtful("text", 0), doubtful([0.5, 0.5], 1)])
    assert reasons(outcomes) == [b"invalid_request", None]
    assert facts_in(outcomes[0]).remote is None


async def test_the_last_deadline_bounds_the_call_and_none_leaves_it_to_the_policy() -> None:
    agent, transport = remote(ECHO)
    await agent.answer([doubtful([0.5, 0.5], 1, NOW_MS + 2000), doubtful([0.5, 0.5], 2, NOW_MS + 5000)])
    await agent.answer([doubtful([0.5, 0.5], 1, NOW_MS + 2000), doubtful([0.5, 0.5], 2)])
    assert [sent.timeout_s for sent in transport.sent] == [5.0, 30.0]


async def test_the_idempotency_key_is_the_same_after_redelivery() -> None:
    agent, transport = remote(ECHO)
    await agent.answer([doubtful([0.5, 0.5], 7)])
    await agent.answer([doubtful([0.5, 0.5], 7)])
    restarted, later = remote(ECHO)
    await restarted.answer([doubtful([0.5, 0.5], 7)])
    keys = {sent.headers["idempotency-key"] for sent in (*transport.sent, *later.sent)}
    assert len(keys) == 1
    assert keys.pop().startswith("0-7-")


CALL = Call("/infer", b"{}", {"accept": "json"})


def key_of(*inputs: Facts, pipeline: str = "shop", url: str = "http://a", call: Call = CALL) -> str:
    return idempotency_key(inputs_key(inputs), pipeline, url, call)


def of(offset: int, topic_id: str = "Zm9v", topic: str = "requests", partition: int = 3) -> Facts:
    return Facts(Source(topic, partition, offset), topic_id=topic_id)


def test_the_key_of_a_batch_names_the_first_and_tells_other_neighbours() -> None:
    assert key_of(of(7), of(8)).startswith("3-7+1-")
    assert key_of(of(7), of(8)) == key_of(of(7), of(8))
    assert len({key_of(of(7)), key_of(of(7), of(8)), key_of(of(7), of(9))}) == 3


def test_no_two_calls_have_the_same_key() -> None:
    """Not those of two pipelines, of topics of one name, of two clusters, nor of two prompts about the same input."""
    keys = [
        key_of(of(7)),
        key_of(of(8)),
        key_of(of(7, partition=4)),
        key_of(of(7, topic="other")),
        key_of(of(7, topic_id="made anew")),
        key_of(of(7), pipeline="mail"),
        key_of(of(7), url="http://b"),
        key_of(of(7), call=CALL._replace(path="/v2")),
        key_of(of(7), call=CALL._replace(body=b'{"prompt": "else"}')),
        key_of(of(7), call=CALL._replace(method="PUT")),
        key_of(of(7), call=CALL._replace(headers={"version": "2"})),
        key_of(of(7), call=CALL._replace(samples=2)),
    ]
    assert len(set(keys)) == len(keys)


def test_the_longest_key_fits_into_a_header() -> None:
    longest = key_of(of(2**63 - 1, partition=2**31 - 1))
    assert len(longest) == 59
    assert re.fullmatch(r"[\w-]+", longest, re.ASCII)
    assert len(key_of(*[of(2**63 - 1, partition=2**31 - 1)] * 10_000)) == 64


async def test_closing_the_agent_closes_its_connections() -> None:
    agent, transport = remote([])
    await agent.close()
    assert transport.closed


async def test_a_call_is_cut_by_the_bytes_of_its_requests() -> None:
    records = [doubtful([0.5, 0.5], number) for number in range(5)]
    size = len(records[0].value or b"")
    agent, transport = remote_with(ECHO, batch=BatchPolicy(2 * size))
    outcomes = await agent.answer(records)
    assert [len(inputs_of(sent)) for sent in transport.sent] == [2, 2, 1]
    assert [facts_in(outcome).source.offset for outcome in outcomes] == list(range(5))


async def test_inputs_of_equal_shape_go_together_and_every_answer_finds_its_record() -> None:
    inputs = [[0.5, 0.5], [0.25, 0.25, 0.5], [0.25, 0.75], [0.5, 0.25, 0.25]]
    agent, transport = remote_with(ECHO)
    outcomes = await agent.answer([doubtful(given, number) for number, given in enumerate(inputs)])
    assert [len(inputs_of(sent)) for sent in transport.sent] == [2, 2]
    verdicts = [facts_in(outcome).remote for outcome in outcomes]
    assert [verdict.score for verdict in verdicts if verdict] == [max(given) for given in inputs]
    assert [facts_in(outcome).source.offset for outcome in outcomes] == [0, 1, 2, 3]


async def test_no_retry_outlives_an_inputs_deadline_and_its_neighbours_are_asked_without_it() -> None:
    clock = Clock()
    gate = Gate(breaker=BreakerPolicy(failures=1000), clock=clock)
    down = iter([True, True, False])  # the first input has no time for a third try
    agent, transport = remote_with(
        lambda sent: Response(503, {}, b"") if next(down) else echo(sent), gate=gate, clock=clock
    )
    records = [
        doubtful([0.25, 0.75], 0, NOW_MS + 1200),
        doubtful([0.5, 0.5], 1),
        doubtful([0.75, 0.25], 2, NOW_MS + 60_000),
    ]
    outcomes = await agent.answer(records)
    assert reasons(outcomes) == [b"timeout", None, None]
    assert [len(inputs_of(sent)) for sent in transport.sent] == [3, 3, 2]
    assert [facts_in(outcome).source.offset for outcome in outcomes] == [0, 1, 2]
    verdicts = [facts_in(outcome).remote for outcome in outcomes]
    assert [verdict.calls for verdict in verdicts if verdict] == [2, 3, 3]
    assert clock.waits == [pytest.approx(wait, rel=0.3) for wait in (0.5, 1.0)]


async def test_while_the_remote_is_down_records_fall_back_if_the_settings_say_so() -> None:
    agent, transport = remote_with([Response(503, {}, b"")])
    first, second = [await agent.answer([doubtful([0.5, 0.5], number)]) for number in range(2)]
    assert reasons([*first, *second]) == [b"remote_error", b"remote_error"]
    assert len(transport.sent) == 1
    called, not_called = facts_in(first[0]), facts_in(second[0])
    assert called.remote == Verdict(None, None, calls=1)
    assert not_called.remote is None


async def test_while_the_remote_is_down_the_local_answer_may_be_accepted_and_is_not_trusted() -> None:
    agent, transport = remote_with([Response(503, {}, b"")], accepts_local=frozenset({"remote_error"}))
    for number in range(2):
        [outcome] = await agent.answer([doubtful([0.5, 0.5], number)])
        assert outcome.to == "results"
        assert outcome.value is not None
        result = decode_result(outcome.value)
        assert (result.trusted, result.answered_by, result.prediction) == (False, "local", 3)
        assert (result.score, result.threshold, result.model) == (0.4, 0.5, "small@1")
        assert result.source == Source("requests", 0, number)
    assert len(transport.sent) == 1


async def test_a_local_answer_without_a_score_is_never_accepted() -> None:
    agent, _ = remote_with([Response(503, {}, b"")], accepts_local=frozenset({"remote_error"}))
    facts = Facts(Source("requests", 0, 1), local=Verdict(3, None, 0.5), agent="local")
    record = request([0.5, 0.5], headers=[(FACTS_HEADER, encode_facts(facts))])
    [outcome] = await agent.answer([record])
    assert reasons([outcome]) == [b"remote_error"]


@pytest.mark.parametrize("step", [Response(400, {}, b""), Response(200, {}, b"garbage")])
async def test_an_answer_is_not_accepted_for_an_input_that_the_remote_refuses(step: Response) -> None:
    agent, _ = remote_with([step] * 2, accepts_local=frozenset({"remote_error"}))
    [outcome] = await agent.answer([doubtful([0.5, 0.5])])
    assert outcome.to == "fallback"


@on_virtual_time
async def test_who_has_no_time_left_is_not_asked_when_the_remote_is_back() -> None:
    """All three wait for a remote that is down; the first one's deadline passes meanwhile, and is not paid for."""
    loop = asyncio.get_running_loop()
    gate = Gate(breaker=BreakerPolicy(failures=1, cool_down_s=10.0), clock=loop.time)
    answers = iter([Response(503, {}, b"")])
    transport = ScriptedTransport(lambda sent: next(answers, None) or echo(sent))
    asks = RemoteClient(transport, OpenInference("big"), ClientPolicy("http://remote"), gate=gate, clock=loop.time)
    agent = Remote(asks, RequestFormat(), now_ms=lambda: NOW_MS + (loop.time() - 1000.0) * 1000)
    records = [doubtful([0.25, 0.75], number, NOW_MS + 5000 if number == 0 else None) for number in range(3)]
    outcomes = await agent.answer(records)
    assert reasons(outcomes) == [b"timeout", None, None]
    assert [len(inputs_of(sent)) for sent in transport.sent] == [3, 2]
    assert loop.time() == pytest.approx(1010.0, abs=0.1)
