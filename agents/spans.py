"""Spans for OpenTelemetry's SDK (the extra `otel`). Nothing imports this where it is not installed.

    request (whoever sent it)
    ├── decide requests         each record, at each agent: a child of the record's own context, which goes on
    ├── ask doubtful
    │   └── chat large          each call to the remote, retries by themselves; its context goes with it
    └── judge answers

Records of a batch are traced each by itself. What is done for all of them at once, `decide batch` or a call that asks
about several, is a trace of its own with links to theirs. Predictions and inputs are in no attribute.
Names and attributes: https://opentelemetry.io/docs/specs/semconv/gen-ai/ and .../messaging/kafka/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..schemas.records import Facts, Incoming, Outgoing, Result
from ..schemas.trace import trace_of
from .remote.endpoint import Endpoint, error_type
from .tracing import Answering, CallSpan, CallTrace, P, Tracing

_propagator = TraceContextTextMapPropagator()

Attributes = dict[str, str | int | float | bool]


class _OpenSpans(NamedTuple):
    """The spans that are open while a batch is answered."""

    whole: Span
    records: Sequence[Span]  #: one for each, in their order


_open_spans: ContextVar[_OpenSpans | None] = ContextVar("open_spans", default=None)


class Spans(Tracing):
    """Tracing with spans."""

    def __init__(self, tracer: Tracer, endpoint: Endpoint | None = None) -> None:
        self._tracer = tracer
        self._endpoint = endpoint or Endpoint()

    def step(self, name: str, answer: Answering[P]) -> Answering[P]:
        """The same, with a span for each record and one for a batch of several."""

        async def traced(records: Sequence[Incoming], /, *args: P.args, **kwargs: P.kwargs) -> list[Outgoing]:
            with self._open(name, records) as spans:
                outcomes = await answer(records, *args, **kwargs)
                for span, outcome in zip(spans.records, outcomes, strict=False):
                    span.set_attributes(_outcome_attributes(outcome))
                return outcomes

        return traced

    def calls(self, records: Mapping[int, Incoming]) -> CallTrace:
        """For the calls that ask about these records of a batch, by their positions in it."""
        return _Calls(self._tracer, self._endpoint, list(records))

    @contextmanager
    def _open(self, name: str, records: Sequence[Incoming]) -> Iterator[_OpenSpans]:
        spans = [self._begin(name, record) for record in records]
        whole = spans[0] if len(spans) == 1 else self._begin_batch(name, spans)
        opened = _OpenSpans(whole, spans)
        token = _open_spans.set(opened)
        try:
            yield opened
        except BaseException as error:
            for span in (*spans, whole):
                _fail(span, error)
            raise
        finally:
            _open_spans.reset(token)
            for span in spans:
                span.end()
            if len(spans) != 1:
                whole.end()

    def _begin(self, name: str, record: Incoming) -> Span:
        attributes: Attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": name,
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        title = f"{name} {record.topic}"
        return self._tracer.start_span(title, _parent(record), SpanKind.CONSUMER, attributes)

    def _begin_batch(self, name: str, spans: Sequence[Span]) -> Span:
        attributes: Attributes = {"messaging.system": "kafka", "messaging.batch.message_count": len(spans)}
        links = [Link(span.get_span_context()) for span in spans]
        return self._tracer.start_span(f"{name} batch", Context(), SpanKind.CONSUMER, attributes, links)


def _parent(record: Incoming) -> Context:
    """The record's own context; an empty one, which begins a trace, where it carries none."""
    context = trace_of(record.headers)
    return Context() if context is None else _propagator.extract(context.headers, Context())


class _Calls:
    """Makes the calls about some records followable."""

    def __init__(self, tracer: Tracer, endpoint: Endpoint, positions: Sequence[int]) -> None:
        self._tracer = tracer
        self._endpoint = endpoint
        self._positions = positions

    @contextmanager
    def call(self) -> Iterator[CallSpan]:
        span = self._begin()
        try:
            yield _OpenCall(span)
        except BaseException as error:
            _fail(span, error)
            raise
        finally:
            span.end()

    def _begin(self) -> Span:
        end, opened = self._endpoint, _open_spans.get()
        spans = [] if opened is None else [opened.records[position] for position in self._positions]
        name = f"{end.operation} {end.model}".strip()
        if len(spans) == 1:
            return self._tracer.start_span(name, set_span_in_context(spans[0]), SpanKind.CLIENT, _asked(end))
        parent = Context() if opened is None else set_span_in_context(opened.whole)
        links = [Link(span.get_span_context()) for span in spans]
        return self._tracer.start_span(name, parent, SpanKind.CLIENT, _asked(end), links)


class _OpenCall:
    """One call that is being made."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers: dict[str, str] = {}
        _propagator.inject(self.headers, set_span_in_context(span))

    def answered(self, model: str, input_tokens: int | None, output_tokens: int | None) -> None:
        told = {
            "gen_ai.response.model": model,
            "gen_ai.usage.input_tokens": input_tokens,
            "gen_ai.usage.output_tokens": output_tokens,
        }
        self._span.set_attributes({name: value for name, value in told.items() if value not in (None, "")})


def _asked(end: Endpoint) -> Attributes:
    told: dict[str, Any] = {
        "gen_ai.operation.name": end.operation,
        "gen_ai.provider.name": end.provider,
        "gen_ai.request.model": end.model,
        "server.address": end.address,
        "server.port": end.port,
    }
    return {name: value for name, value in told.items() if value}


def _fail(span: Span, error: BaseException) -> None:
    """The error's own words may hold a piece of the input or of the answer: only its kind is told."""
    span.set_attribute("error.type", error_type(error))
    span.set_status(StatusCode.ERROR)


def _outcome_attributes(outcome: Outgoing) -> Attributes:
    about = outcome.about
    told: dict[str, Any] = {"bisupervised.route": outcome.to}
    if isinstance(about, Result):
        told |= {
            "bisupervised.source": str(about.source),
            "bisupervised.answered_by": about.answered_by,
            "bisupervised.trusted": about.trusted,
            "bisupervised.score": about.score,
            "bisupervised.threshold": about.threshold,
            "gen_ai.response.model": about.model,
        }
    elif isinstance(about, Facts):
        told |= _facts_attributes(about)
    return {name: value for name, value in told.items() if value not in (None, "")}


def _facts_attributes(facts: Facts) -> dict[str, Any]:
    verdict = facts.remote or facts.local
    told: dict[str, Any] = {"bisupervised.source": str(facts.source), "error.type": facts.reason}
    if verdict is not None:
        told |= {
            "bisupervised.score": verdict.score,
            "bisupervised.threshold": verdict.threshold,
            "gen_ai.response.model": verdict.model,
        }
    return told
