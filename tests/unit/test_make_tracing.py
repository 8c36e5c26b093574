"""Whether there are spans at all."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
from bisupervised.agents.remote.endpoint import Endpoint
from bisupervised.agents.tracing import Tracing
from bisupervised.streams.telemetry import tracing

pytestmark = pytest.mark.unit

WANTED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def test_spans_that_nobody_asked_for_are_not_made() -> None:
    assert type(tracing.make_tracing("mine", Endpoint(), {})) is Tracing


@pytest.mark.parametrize("missing", ["opentelemetry.sdk.trace", tracing._EXPORTER])
def test_spans_that_are_asked_for_and_cannot_be_made_are_missed_in_the_log(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = importlib.util.find_spec

    def without(name: str) -> Any:
        if name == missing:
            raise ModuleNotFoundError(name)
        return found(name)

    monkeypatch.setattr("bisupervised.streams.telemetry.tracing.find_spec", without)
    assert type(tracing.make_tracing("mine", Endpoint(), WANTED)) is Tracing
    assert [vars(record)["action"] for record in caplog.records] == ["tracing_unavailable"]


PROGRAM = """
import os
from bisupervised.agents.remote.endpoint import Endpoint
from bisupervised.streams.telemetry.tracing import make_tracing
first, second = (make_tracing("mine", Endpoint()) for _ in range(2))
from opentelemetry.trace import get_tracer_provider
provider = get_tracer_provider()
processors = len(provider._active_span_processor._span_processors)
print(type(first).__name__, provider.resource.attributes["service.name"], processors, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("more", "service"), [({}, "mine"), ({"OTEL_SERVICE_NAME": "theirs"}, "theirs")])
def test_an_endpoint_in_the_environment_turns_them_on_once(more: dict[str, str], service: str) -> None:
    """In a process of its own: a tracer provider is set once and for all."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=WANTED | more, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.split(), done.stderr) == (["Spans", service, "1"], "")
