"""`/metrics`: every metric that is documented, and no other."""

from __future__ import annotations

import pytest
from bisupervised.streams.telemetry import metrics
from bisupervised.streams.telemetry.exposition import render
from bisupervised.streams.telemetry.monitor import WorkerView
from prometheus_client.parser import text_string_to_metric_families
from support.outcomes import REQUESTED_MS
from support.views import remote_step, standing, step, whole_worker, worker

pytestmark = pytest.mark.unit

REMOTE = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "openai",
    "gen_ai_request_model": "large",
    "server_address": "models.example",
    "server_port": "443",
}


def scraped(view: WorkerView) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus's own parser reads."""
    families = text_string_to_metric_families(render(view).decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(view: WorkerView, name: str, **labels: str) -> float | None:
    return scraped(view).get((name, frozenset(labels.items())))


def test_every_metric_is_shown_and_every_shown_one_is_documented_with_its_type_labels_and_help() -> None:
    shown = {}
    for family in text_string_to_metric_families(render(whole_worker()).decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        shown[name] = (family.type, labels, family.documentation)
    # the gauge of processes is their parent's to show: test_crew_page.py
    ours = [one for one in metrics.METRICS if one is not metrics.PROCESS_UP]
    assert shown == {one.name: (one.kind, set(one.labels), one.help) for one in ours}


def test_batches_are_told_by_their_state_age_and_bill() -> None:
    view = whole_worker()
    states = {
        state: value(view, "bisupervised_provider_batches", state=state) for state in ("closed", "running", "settling")
    }
    assert states == {"closed": 1, "running": 1, "settling": 0}
    assert value(view, "bisupervised_provider_batch_inputs") == 49
    assert value(view, "bisupervised_provider_batch_oldest_seconds") == 7200
    assert value(view, "bisupervised_provider_batches_late") == 1
    assert value(view, "bisupervised_provider_batch_cost_total") == 3
    assert value(view, "bisupervised_provider_batch_saved_total") == 3
    assert value(view, "bisupervised_provider_batch_outcomes_total", outcome="fallback") == 2
    assert value(view, "bisupervised_provider_batches_unsure_total") == 1
    assert value(view, "bisupervised_provider_stopped") == 1


def test_shadows_are_counted_apart() -> None:
    view = whole_worker()
    assert value(view, "bisupervised_shadows_total", reason="") == 2
    assert value(view, "bisupervised_shadows_total", reason="timeout") == 1
    assert value(view, "bisupervised_shadows_waiting") == 8
    assert value(view, "bisupervised_shadow_cost_total") == 1.5
    assert value(view, "bisupervised_shadow_calls_gave_way_total") == 4
    assert value(view, "bisupervised_shadow_budget_limit", unit="money") == 10
    assert value(view, "bisupervised_remote_cost_total") == 6


def test_records_that_wait_for_a_schema_are_told_where_requests_have_schemas() -> None:
    view = whole_worker()
    assert value(view, "bisupervised_schema_waiting_records") == 5
    assert value(view, "bisupervised_schema_waiting_seconds") == 12.5
    json_only = worker(step("local", measured={"schema_wait": None}))
    assert value(json_only, "bisupervised_schema_waiting_records") is None
    quiet = worker(step("local", measured={"schema_wait": (0, 0.0)}))
    assert value(quiet, "bisupervised_schema_waiting_seconds") == 0


def test_names_follow_the_conventions() -> None:
    for one in metrics.METRICS:
        assert one.name.startswith(("bisupervised_", "gen_ai_client_")), one.name
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name
        assert one.help.endswith("."), one.name


def test_outcomes_by_agent_route_reason_and_who_answered() -> None:
    view = whole_worker()
    name = "bisupervised_records_total"
    assert value(view, name, agent="local", route="results", reason="", answered_by="local") == 2
    assert value(view, name, agent="local", route="doubtful", reason="", answered_by="") == 1
    assert value(view, name, agent="remote", route="answers", reason="", answered_by="") == 2
    judged = {"agent": "remote_supervisor", "route": "fallback", "answered_by": ""}
    assert value(view, name, reason="low_confidence", **judged) == 1
    assert value(view, "bisupervised_untrusted_results_total", agent="remote_supervisor") == 1


def test_latency_is_a_histogram_whose_buckets_add_up() -> None:
    view, labels = whole_worker(), {"agent": "local", "outcome": "local"}
    buckets = [value(view, "bisupervised_latency_seconds_bucket", le=le, **labels) for le in ("0.25", "0.5", "+Inf")]
    assert buckets == [0, 2, 2], "500 ms lie on a bound, which belongs to the bucket below it"
    assert value(view, "bisupervised_latency_seconds_sum", **labels) == 1.0
    assert value(view, "bisupervised_latency_seconds_count", **labels) == 2


def test_the_planes_counters() -> None:
    told = {metric.name: value(whole_worker(), metric.name, agent="local") for metric in PLANE_METRICS}
    assert told == {metric.name: place for place, metric in enumerate(PLANE_METRICS, start=1)}


PLANE_METRICS = (
    metrics.FETCHED,
    metrics.BATCHES,
    metrics.TRANSACTIONS,
    metrics.RECOVERIES,
    metrics.REBALANCES,
    metrics.ABANDONED,
    metrics.DISCARDED,
    metrics.FAULTS,
)


@pytest.mark.parametrize(
    ("state", "paused", "stopped"), [("running", 0, 0), ("paused", 1, 0), ("stopped", 0, 1), ("acquiring", 0, 0)]
)
def test_partitions_tell_how_they_stand(state: str, paused: int, stopped: int) -> None:
    view = worker(step("local", standings=[standing(state=state)]))
    place = {"agent": "local", "topic": "requests", "partition": "0"}
    assert value(view, "bisupervised_partition_paused", **place) == paused
    assert value(view, "bisupervised_partition_stopped", **place) == stopped
    assert value(view, "bisupervised_partition_unfinished_records", **place) == 5
    assert value(view, "bisupervised_partition_oldest_age_seconds", **place) == 0.5


def test_lag_is_what_is_not_finished_fetched_or_not() -> None:
    place = {"agent": "local", "topic": "requests", "partition": "0"}
    for position, lag in ((10, 7.0), (12, 5.0), (20, 5.0), (None, None)):
        view = worker(step("local", standings=[standing(position=position)]))
        assert value(view, "bisupervised_partition_lag_records", **place) == lag


def test_lag_of_a_partition_whose_end_is_not_known_is_not_made_up() -> None:
    view = worker(step("local", standings=[standing(partition=3)]))
    place = {"agent": "local", "topic": "requests", "partition": "3"}
    assert value(view, "bisupervised_partition_lag_records", **place) is None


def test_nothing_unfinished_is_no_age() -> None:
    view = worker(step("local", standings=[standing(oldest_ms=None, unfinished=0)]))
    place = {"agent": "local", "topic": "requests", "partition": "0"}
    assert value(view, "bisupervised_partition_oldest_age_seconds", **place) == 0


def test_calls_have_the_names_of_opentelemetry() -> None:
    view = whole_worker()
    name = "gen_ai_client_operation_duration_seconds_count"
    assert value(view, name, error_type="", **REMOTE) == 1
    assert value(view, name, error_type="timeout", **REMOTE) == 1
    assert value(view, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **REMOTE) == 100
    assert value(view, "gen_ai_client_token_usage_sum", gen_ai_token_type="output", **REMOTE) == 20
    assert value(view, "bisupervised_remote_retries_total", reason="timeout") == 1


def test_limits_breaker_and_budget() -> None:
    view = whole_worker()
    assert value(view, "bisupervised_remote_limit_per_minute", kind="requests") == 600
    assert value(view, "bisupervised_remote_limit_per_minute", kind="tokens") == 1000
    assert value(view, "bisupervised_remote_limit_share_ratio") == 0.5
    assert value(view, "bisupervised_remote_in_flight_limit") == 4
    states = {state: value(view, "bisupervised_breaker_state", state=state) for state in ("closed", "open", "stopped")}
    assert states == {"closed": 1, "open": 0, "stopped": 0}
    assert value(view, "bisupervised_remote_held_inputs") == 0
    told = {
        name: value(view, f"bisupervised_budget_{name}", unit="money") for name in ("limit", "used", "left", "charged")
    }
    assert told == {"limit": 10, "used": 4, "left": 6, "charged": 3}
    assert value(view, "bisupervised_budget_limit", unit="calls") is None, "0 is no limit"
    assert value(view, "bisupervised_budget_spent") == 0


def test_without_a_budget_there_is_none_to_show() -> None:
    assert "budget" not in render(worker(remote_step(budget=False))).decode()


def test_what_was_paid_twice_and_what_was_not_paid_again() -> None:
    assert value(whole_worker(), "bisupervised_remote_calls_repeated_total") == 1
    assert value(whole_worker(), "bisupervised_remote_cached_answers_total") == 3


def test_saved_is_what_local_answers_would_have_cost_remotely() -> None:
    assert value(whole_worker(), "bisupervised_saved_cost") == 2 * 3.0, "at the mean cost"
    alone = worker(whole_worker().steps[0], price=0.5)
    assert value(alone, "bisupervised_saved_cost") == 2 * 0.5, "at the price in the settings"


def test_the_worker_tells_when_it_started_and_how_late_its_loop_was() -> None:
    view = whole_worker()
    assert value(view, "bisupervised_start_time_seconds") == (REQUESTED_MS - 1000) / 1000
    assert value(view, "bisupervised_event_loop_lag_seconds") == 0.25
    [build] = [labels for name, labels in scraped(view) if name == "bisupervised_build_info"]
    assert dict(build)["version"]
