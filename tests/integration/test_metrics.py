"""Metrics and traces of a worker that does its work on real Kafka."""

from __future__ import annotations

from collections import Counter

import pytest
from bisupervised.schemas.records import TRACE_HEADERS, Headers
from support.otlp import collector
from support.pipeline import Sent, Setup, check_exactly_once, mixed, request, wait_until
from support.scraping import Scraped

STATE = ("tracestate", b"rojo=1")
MALFORMED = ("traceparent", b"00-nonsense\r\nx: y")
FINAL = ("results", "fallback")


def trace_id(number: int) -> str:
    return f"{number + 1:032x}"


def traced(record: Sent, number: int) -> Sent:
    headers = [("traceparent", f"00-{trace_id(number)}-00f067aa0ba902b7-01".encode()), STATE, ("theirs", b"x")]
    return record._replace(headers=headers)


def trace_in(headers: Headers) -> list[tuple[str, bytes]]:
    return [pair for pair in headers if pair[0] in TRACE_HEADERS]


# metrics


def test_the_metrics_are_those_of_the_topics(setup: Setup) -> None:
    remote, pipeline = setup()
    scraped = Scraped(pipeline)
    sent = pipeline.send([*mixed(90), Sent(b"no JSON"), request(1, local=0.95)])
    outcomes = pipeline.wait_for_outcomes(sent)
    check_exactly_once(sent, outcomes)
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds == {"local": 31, "remote": 30, "low_confidence": 30, "invalid_request": 1}
    series = "bisupervised_records_total"
    scraped.wait_for_total(61, series, route="results")
    scraped.wait_for_total(31, series, route="fallback")
    for answered_by in ("local", "remote"):
        assert scraped.total(series, answered_by=answered_by) == kinds[answered_by]
    for reason in ("low_confidence", "invalid_request"):
        assert scraped.total(series, reason=reason) == kinds[reason]
    assert scraped.total(series, agent="local", route="doubtful") == 60
    assert scraped.total(series, agent="remote", route="answers") == 60
    for outcome, count in {"local": 31, "remote": 30, "fallback": 31}.items():
        assert scraped.total("bisupervised_latency_seconds_count", outcome=outcome) == count
    assert scraped.total("gen_ai_client_operation_duration_seconds_count", error_type="") == remote.calls
    assert scraped.total("bisupervised_remote_cost_total") == pytest.approx(60 * 0.5)
    assert scraped.total("bisupervised_saved_cost") == pytest.approx(31 * 0.5)
    assert scraped.total("bisupervised_fetched_records_total", agent="local") == 92
    assert scraped.total("bisupervised_partition_unfinished_records") == 0
    assert scraped.total("bisupervised_predict_duration_seconds_count") >= 1
    scraped.wait_for_total(0, "bisupervised_partition_lag_records")
    assert scraped.total("bisupervised_breaker_state", state="closed") == 1


def test_what_is_not_fetched_is_lag_too(setup: Setup) -> None:
    remote, pipeline = setup(partitions=1, remote={"breaker_failures": 1, "batch_size": 1, "tries": 1})
    remote.refusal = (503, {})
    scraped = Scraped(pipeline)
    pipeline.send([request(n) for n in range(300)])
    scraped.worker.wait_for("partitions_paused")
    scraped.wait_for_total(1, "bisupervised_partition_paused", agent="remote")
    scraped.wait_for_total(300, "bisupervised_records_total", route="doubtful")
    pipeline.send([request(n) for n in range(300)])
    wait_until(
        lambda: scraped.total("bisupervised_partition_lag_records", agent="remote") >= 600,
        "lag that grows while nothing is fetched",
        explain=scraped.text,
    )
    assert scraped.total("bisupervised_partition_unfinished_records", agent="remote") <= 300
    assert scraped.total("bisupervised_partition_oldest_age_seconds", agent="remote") > 0


# traces


def test_the_trace_context_is_carried_through_every_topic_and_to_the_remote(setup: Setup) -> None:
    remote, pipeline = setup(remote={"batch_size": 1})
    records = [traced(record, number) for number, record in enumerate(mixed(30))]
    records.append(traced(Sent(b"no JSON"), 30))
    records.append(request(31)._replace(headers=[MALFORMED, STATE]))
    sent = pipeline.send(records)
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"local", "remote", "low_confidence", "invalid_request"}
    wanted = {record.place: trace_in(record.headers) for record in sent}
    assert {outcome.place: trace_in(outcome.record.headers) for outcome in outcomes} == wanted
    doubted = [number for number in range(30) if number % 3] + [31]
    for role in ("doubtful", "answers"):
        carried = sorted(trace_in(record.headers) for record in pipeline.records(role))
        assert carried == sorted(trace_in(records[number].headers) for number in doubted), role
    contexts = Counter(trace.get("traceparent", "").split("-")[1] if trace else "" for trace in remote.traces)
    assert contexts == Counter(trace_id(number) for number in doubted[:-1]) + Counter([""])
    assert {trace["tracestate"] for trace in remote.traces if trace} == {"rojo=1"}


def test_spans_of_every_step_are_exported_below_the_requests_own(setup: Setup) -> None:
    remote, pipeline = setup(remote={"batch_size": 1})
    with collector() as collected:
        worker = Scraped(pipeline, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collected.url}).worker
        sent = pipeline.send(
            [traced(request(1), 1), traced(request(2, local=0.95), 2), traced(request(3, remote=0.1), 3)]
        )
        pipeline.settle(sent)
        assert worker.stop() == 0  # what is left is exported
    assert collected.services == {pipeline.name}
    steps = [f"decide {pipeline.topic('requests')}", f"ask {pipeline.topic('doubtful')}", "predict big"]
    steps.append(f"judge {pipeline.topic('answers')}")
    assert set(collected.of(trace_id(2))) == set(steps[:1])
    for number in (1, 3):
        spans = collected.of(trace_id(number))
        assert set(spans) == set(steps)
        decide, ask, call, judge = (spans[step] for step in steps)
        assert {span.parent_span_id.hex() for span in (decide, ask, judge)} == {"00f067aa0ba902b7"}
        assert call.parent_span_id == ask.span_id
        assert f"00-{trace_id(number)}-{call.span_id.hex()}-01" in [trace["traceparent"] for trace in remote.traces]
