"""Spans, as OpenTelemetry's SDK exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bisupervised.agents.remote.endpoint import endpoint
from bisupervised.agents.remote.transport import Response
from bisupervised.agents.spans import Spans
from bisupervised.schemas.records import Incoming, Outgoing
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.outcomes import answered, doubted, fallen, incoming
from support.tracing import SPAN_ID, TRACE, TRACE_ID, doubtful, remote_with

pytestmark = pytest.mark.unit

OTHER = [("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")]


class World:
    """A tracer whose spans stay here."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        end = endpoint("openai_chat", "large", "https://models.example:8443/v1")
        self.tracing = Spans(provider.get_tracer("test"), end)

    async def through(self, step: str, records: Sequence[Incoming], outcomes: Sequence[Outgoing]) -> list[Outgoing]:
        async def answer(given: Sequence[Incoming]) -> list[Outgoing]:
            assert given is records
            return list(outcomes)

        return await self.tracing.step(step, answer)(records)

    async def ask(self, *records: Incoming, failures: Sequence[Response] = ()) -> list[str]:
        """As the remote agent does. Returns the trace context of each call."""
        remote, transport = remote_with(self.tracing, *failures)
        await self.tracing.step("ask", remote.answer)(records)
        return [sent.headers["traceparent"] for sent in transport.sent]

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        [found] = self.spans(name)
        return found


@pytest.fixture
def world() -> World:
    return World()


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


def ids(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def parent(span: ReadableSpan) -> tuple[str, str] | None:
    return span.parent and (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}")


async def test_each_record_has_a_span_below_its_own_context(world: World) -> None:
    records = [incoming(0, headers=TRACE), incoming(1, headers=OTHER)]
    outcomes = await world.through("decide", records, [answered(), doubted(1)])
    assert [outcome.to for outcome in outcomes] == ["results", "doubtful"]
    first, second = world.spans("decide requests")
    assert (parent(first), first.kind) == ((TRACE_ID, SPAN_ID), SpanKind.CONSUMER)
    assert parent(second) == ("a" * 32, "b" * 16)


async def test_a_span_tells_where_the_record_lay_and_what_became_of_it(world: World) -> None:
    await world.through("decide", [incoming(7)], [answered(offset=7)])
    told = attributes(world.span("decide requests"))
    assert told["messaging.destination.name"] == "requests"
    assert (told["messaging.destination.partition.id"], told["messaging.kafka.offset"]) == ("0", 7)
    assert (told["bisupervised.source"], told["bisupervised.route"]) == ("requests-0-7", "results")
    assert (told["bisupervised.score"], told["bisupervised.threshold"], told["bisupervised.trusted"]) == (
        0.9,
        0.5,
        True,
    )
    assert not any("prediction" in name or "input" in name for name in told)


async def test_a_fallback_is_an_error_of_its_reason(world: World) -> None:
    await world.through("judge", [incoming()], [fallen("low_confidence")])
    assert attributes(world.span("judge requests"))["error.type"] == "low_confidence"


async def test_a_record_without_a_context_or_with_a_malformed_one_begins_a_trace(world: World) -> None:
    records = [incoming(0), incoming(1, headers=[("traceparent", b"00-1-2-01")])]
    await world.through("decide", records, [answered(), answered()])
    spans = world.spans("decide requests")
    assert [parent(span) for span in spans] == [None, None]
    assert ids(spans[0])[0] != ids(spans[1])[0]


async def test_a_batch_links_to_its_records(world: World) -> None:
    await world.through("decide", [incoming(0, headers=TRACE), incoming(1)], [answered(), answered()])
    batch = world.span("decide batch")
    linked = [f"{link.context.span_id:016x}" for link in batch.links]
    assert linked == [ids(span)[1] for span in world.spans("decide requests")]
    assert attributes(batch)["messaging.batch.message_count"] == 2


async def test_one_record_is_no_batch(world: World) -> None:
    await world.through("decide", [incoming()], [answered()])
    assert world.spans("decide batch") == []


async def test_what_the_agent_raises_is_told_by_kind_and_nothing_of_its_words(world: World) -> None:
    async def answer(records: Sequence[Incoming]) -> list[Outgoing]:
        raise ValueError("a piece of the input")

    with pytest.raises(ValueError, match="piece"):
        await world.tracing.step("decide", answer)([incoming()])
    span = world.span("decide requests")
    assert (span.status.status_code, span.events) == (StatusCode.ERROR, ())
    assert "piece" not in span.to_json()


async def test_a_call_is_a_child_of_its_records_span_and_hands_its_own_context_on(world: World) -> None:
    [carried] = await world.ask(doubtful(TRACE))
    call, ask = world.span("chat large"), world.span("ask requests")
    assert parent(ask) == (TRACE_ID, SPAN_ID)
    assert parent(call) == ids(ask)
    assert carried == f"00-{TRACE_ID}-{ids(call)[1]}-01"
    assert call.kind is SpanKind.CLIENT


async def test_a_call_has_the_attributes_of_generative_ai(world: World) -> None:
    await world.ask(doubtful(TRACE))
    told = attributes(world.span("chat large"))
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "openai")
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("large", "big@7")
    assert (told["server.address"], told["server.port"]) == ("models.example", 8443)


async def test_a_call_about_several_is_below_the_batch_and_linked_to_each(world: World) -> None:
    [carried] = await world.ask(doubtful(TRACE), doubtful(OTHER, 1))
    call = world.span("chat large")
    assert parent(call) == ids(world.span("ask batch"))
    assert [f"{link.context.trace_id:032x}" for link in call.links] == [TRACE_ID, "a" * 32]
    assert ids(call)[1] in carried


async def test_each_try_is_a_call_and_a_failed_one_says_why(world: World) -> None:
    carried = await world.ask(doubtful(TRACE), failures=[Response(503, {}, b"secret")])
    failed, answered_ = world.spans("chat large")
    assert attributes(failed)["error.type"] == "remote_error"
    assert failed.status.status_code is StatusCode.ERROR
    assert "secret" not in failed.to_json()
    assert "error.type" not in attributes(answered_)
    assert len(set(carried)) == 2
