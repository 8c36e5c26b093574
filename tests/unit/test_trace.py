"""The W3C trace context: what is handed on, and what only travels."""

from __future__ import annotations

import pytest
from bisupervised.agents.remote.transport import Response
from bisupervised.agents.tracing import UNTRACED, Tracing
from bisupervised.schemas.codec import fall_back, forward, without_value
from bisupervised.schemas.records import Facts, Source
from bisupervised.schemas.trace import TraceContext, trace_of
from support.records import Record
from support.tracing import STATE, TRACE, doubtful, remote_with

pytestmark = pytest.mark.unit

PARENT = TRACE[0][1]
MALFORMED = [
    b"",
    b"00-1-2-01",
    PARENT[:-1],
    PARENT + b"\n",
    PARENT + b"-more",  # version 00 has four fields
    PARENT.upper(),
    b"ff" + PARENT[2:],
    b"00-" + b"0" * 32 + PARENT[35:],
    PARENT[:36] + b"0" * 16 + b"-01",
    b"01" + PARENT[2:] + b"-\r\nx: y",
    "über".encode(),
]


def test_a_well_formed_context_is_read() -> None:
    assert trace_of(TRACE) == TraceContext(PARENT.decode(), STATE.decode())
    assert trace_of(TRACE[:1]) == TraceContext(PARENT.decode())


def test_of_a_later_version_the_beginning_counts() -> None:
    assert trace_of([("traceparent", b"01" + PARENT[2:] + b"-more")]) is not None


@pytest.mark.parametrize("parent", MALFORMED)
def test_a_malformed_context_is_none(parent: bytes) -> None:
    assert trace_of([("traceparent", parent), TRACE[1]]) is None


def test_a_state_without_a_parent_is_none() -> None:
    assert trace_of(TRACE[1:]) is None


@pytest.mark.parametrize("state", [b"a=b\r\nx: y", b"a" * 513, "ü".encode()])
def test_a_state_that_is_no_header_stays_behind(state: bytes) -> None:
    assert trace_of([TRACE[0], ("tracestate", state)]) == TraceContext(PARENT.decode())


@pytest.mark.parametrize("parent", [PARENT, *MALFORMED])
def test_on_its_way_the_context_is_not_touched_whatever_is_in_it(parent: bytes) -> None:
    headers = [("traceparent", parent), TRACE[1]]
    record, facts = Record(b"1", headers=headers), Facts(Source("requests", 0, 1))
    ways = [
        forward(record, "doubtful", facts),
        forward(record, "answers", facts),
        fall_back(record, facts, "timeout", "", "remote"),
        without_value(record, facts, "", "remote"),
    ]
    for outcome in ways:
        assert [pair for pair in outcome.headers if pair in headers] == headers, outcome.to


def test_a_trace_that_is_large_itself_does_not_make_the_small_record_large() -> None:
    record = Record(b"1", headers=[("tracestate", b"x" * 100_000), TRACE[0]])
    outcome = without_value(record, Facts(Source("requests", 0, 1)), "", "local")
    assert [pair for pair in outcome.headers if pair[0].startswith("trace")] == [TRACE[0]]


# to the remote


async def sent_with(*records: Record) -> list[dict[str, str]]:
    agent, transport = remote_with(Tracing())
    await agent.answer(records)
    return [{k: v for k, v in sent.headers.items() if k.startswith("trace")} for sent in transport.sent]


async def test_a_call_carries_the_context_of_its_record() -> None:
    assert await sent_with(doubtful(TRACE)) == [{"traceparent": PARENT.decode(), "tracestate": STATE.decode()}]


async def test_a_call_for_records_of_one_trace_carries_it_and_one_for_several_none() -> None:
    other = [("traceparent", PARENT.replace(b"4bf9", b"5bf9"))]
    assert await sent_with(doubtful(TRACE[:1]), doubtful(TRACE[:1], 1)) == [{"traceparent": PARENT.decode()}]
    assert await sent_with(doubtful(TRACE), doubtful(other, 1)) == [{}]
    assert await sent_with(doubtful(TRACE), doubtful((), 1)) == [{}]


@pytest.mark.parametrize("parent", MALFORMED)
async def test_a_malformed_context_does_not_reach_the_remote(parent: bytes) -> None:
    assert await sent_with(doubtful([("traceparent", parent), TRACE[1]])) == [{}]


async def test_every_try_carries_it() -> None:
    down = Response(503, {}, b"")
    agent, transport = remote_with(Tracing(), down, down)
    await agent.answer([doubtful(TRACE)])
    assert [sent.headers["traceparent"] for sent in transport.sent] == [PARENT.decode()] * 3


def test_without_the_sdk_a_step_is_the_function_itself() -> None:
    """No cost: nothing stands between."""

    async def answer(records: object) -> list[object]:
        return []

    assert Tracing().step("decide", answer) is answer  # type: ignore[arg-type]  # it is never called
    assert Tracing().calls({}) is UNTRACED
