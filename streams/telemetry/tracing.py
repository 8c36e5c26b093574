"""Whether there are spans, and where they go: OpenTelemetry's own variables say so, and nothing else is set here.

- A program that has set up a tracer provider itself (`opentelemetry-instrument`, an embedding one) keeps it.
- Otherwise `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` turns spans on; sampling, headers and
  the rest are OpenTelemetry's variables, too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec

from ...agents.remote.endpoint import Endpoint
from ...agents.tracing import Tracing

log = logging.getLogger(__name__)

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_TARGETS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def make_tracing(service: str, endpoint: Endpoint, env: Mapping[str, str] = os.environ) -> Tracing:
    """Spans where the SDK is installed and told where to send them; otherwise none, and a word if they were wanted."""
    wanted = any(env.get(name) for name in _TARGETS)
    if not _installed("opentelemetry.sdk.trace") or (wanted and not _installed(_EXPORTER)):
        if wanted:
            log.warning("no spans: install bisupervised[otel]", extra={"action": "tracing_unavailable"})
        return Tracing()
    return _make_spans(service, endpoint, env if wanted else None)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is a package that it would be in
        return False


def _make_spans(service: str, endpoint: Endpoint, env: Mapping[str, str] | None) -> Tracing:
    from opentelemetry.sdk.trace import TracerProvider  # here and below: only where it is installed
    from opentelemetry.trace import get_tracer_provider

    if env is not None and not isinstance(get_tracer_provider(), TracerProvider):
        _set_up(service, env)
    provider = get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return Tracing()
    from ...agents.spans import Spans

    return Spans(provider.get_tracer("bisupervised"), endpoint)


def _set_up(service: str, env: Mapping[str, str]) -> None:
    """The SDK's usual: spans in batches, by a thread of its own, over HTTP; flushed when the process ends."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import set_tracer_provider

    name = {} if env.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(name))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider)
