"""`/metrics`: a view of the worker in Prometheus's text format. Nothing is counted here."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from ...agents.histogram import Buckets
from ...agents.remote.endpoint import Endpoint
from ...agents.remote.meter import Meter
from ..plane.standing import Standing
from . import metrics as m
from .monitor import WorkerView
from .observation import LATENCY_S
from .release import release
from .running_step import StepView

__all__ = ["CONTENT_TYPE", "render"]

#: states of the breaker; the gauge of the present one is 1
BREAKER_STATES = ("closed", "open", "probing", "stopped")
#: states of a batch at a provider that is not over
BATCH_STATES = ("closed", "creating", "running", "settling")
#: what else is told of batches
_BATCHES = {
    m.PROVIDER_BATCH_INPUTS: "records",
    m.PROVIDER_BATCH_OLDEST: "oldest_s",
    m.PROVIDER_BATCHES_LATE: "late",
    m.PROVIDER_BATCHES_CREATED: "created",
    m.PROVIDER_BATCHES_UNSURE: "unsure",
    m.PROVIDER_BATCH_FOREIGN: "foreign",
    m.PROVIDER_BATCH_COST: "cost",
    m.PROVIDER_BATCH_SAVED: "saved",
}
#: counters of `DataPlane.statistics`
_PLANE = {
    m.FETCHED: "fetched",
    m.BATCHES: "batches",
    m.TRANSACTIONS: "transactions",
    m.RECOVERIES: "recoveries",
    m.REBALANCES: "rebalances",
    m.ABANDONED: "abandoned",
    m.DISCARDED: "discarded",
    m.FAULTS: "faults",
}
#: gauges of a partition
_STANDING: dict[m.Metric, Callable[[StepView, Standing, float], float | None]] = {
    m.UNFINISHED: lambda view, standing, now_ms: standing.unfinished,
    m.LAG: lambda view, standing, now_ms: view.lag(standing),
    m.HELD_BACK: lambda view, standing, now_ms: view.held_back(standing),
    m.OLDEST: lambda view, standing, now_ms: _age_s(standing, now_ms),
    m.RETENTION_LEFT: lambda view, standing, now_ms: view.ageing.left_s(standing, now_ms),
    m.PAUSED: lambda view, standing, now_ms: standing.state == "paused",
    m.STOPPED: lambda view, standing, now_ms: standing.state == "stopped",
}


def render(view: WorkerView) -> bytes:
    """The body of `/metrics`, of type `CONTENT_TYPE`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(view))
    return generate_latest(registry)


class _Once(Collector):
    """Collects the metrics of one view, once."""

    def __init__(self, view: WorkerView) -> None:
        self._view = view

    def collect(self) -> Iterator[Family]:
        sheet = Sheet()
        _worker(sheet, self._view)
        _thresholds(sheet, self._view.thresholds)
        _audit(sheet, self._view.audit)
        _batches(sheet, self._view.batches)
        for step in self._view.steps:
            _outcomes(sheet, step)
            _plane(sheet, step)
            _partitions(sheet, step, self._view.now_ms)
            _agent(sheet, step)
            if "meter" in step.measured:
                _remote(sheet, step)
            if step.agent == "shadow":
                _shadows(sheet, step)
        _saved(sheet, self._view)
        yield from sheet.families.values()


class Sheet:
    """Collects samples by metric."""

    def __init__(self) -> None:
        self.families: dict[m.Metric, Any] = {}

    def put(self, metric: m.Metric, value: float | None, *labels: str) -> None:
        """Add a sample; without a value, none."""
        if value is not None:
            self._family(metric).add_metric(labels, float(value))

    def histogram(self, metric: m.Metric, buckets: Buckets, *labels: str) -> None:
        """Add the samples of a histogram."""
        cumulated, seen = [], 0
        for bound, count in zip((*map(_bound, buckets.bounds), "+Inf"), buckets.counts, strict=True):
            seen += count
            cumulated.append((bound, float(seen)))
        self._family(metric).add_metric(labels, cumulated, buckets.total)

    def _family(self, metric: m.Metric) -> Any:  # noqa: ANN401  # the families share no type with add_metric
        family = self.families.get(metric)
        if family is None:
            make = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
            family = self.families[metric] = make[metric.kind](metric.name, metric.help, labels=metric.labels)
        return family


def _bound(bound: float) -> str:
    return f"{float(bound)!r}"


def _worker(sheet: Sheet, view: WorkerView) -> None:
    sheet.put(m.BUILD, 1, release(), platform.python_version())
    sheet.put(m.STARTED, view.started_ms / 1000.0)
    sheet.put(m.LOOP_LAG, view.loop_lag_s)
    sheet.put(m.BROKER_REFUSALS, view.refusals)


def _thresholds(sheet: Sheet, told: Mapping[str, Any]) -> None:
    if told.get("follows"):
        sheet.put(m.RUNG, told["rung"], told["version"])
        sheet.put(m.PINNED, bool(told["pinned"]))
        sheet.put(m.VERSIONS_LOST, bool(told["lost"]))
        sheet.put(m.VERSIONS_REFUSED, bool(told["refused"]))


def _audit(sheet: Sheet, told: Mapping[str, Any]) -> None:
    if not told:
        return
    sheet.put(m.AUDITOR, bool(told["auditing"]))
    sheet.put(m.AUDIT_FAILS, bool(told["failure"]))
    if told["written_ms"] is not None:
        sheet.put(m.AUDIT_CLOSED, told["written_ms"] / 1000.0)
    raised = told["raised"]
    sheet.put(m.AUDIT_RAISED, raised is not None)
    sheet.put(m.AUDIT_RAISED_LABELS, None if raised is None else raised["labels"])
    for version in told["versions"]:
        _audited(sheet, version["version"], version)


def _batches(sheet: Sheet, told: Mapping[str, Any]) -> None:
    if not told:
        return
    for state in BATCH_STATES:
        sheet.put(m.PROVIDER_BATCHES, told["states"].get(state, 0), state)
    for how, count in told["ended"].items():
        sheet.put(m.PROVIDER_BATCHES_ENDED, count, how)
    for outcome, key in (("answered", "answered"), ("fallback", "fallen"), ("again", "again")):
        sheet.put(m.PROVIDER_BATCH_OUTCOMES, told[key], outcome)
    for metric, key in _BATCHES.items():
        sheet.put(metric, told[key])
    sheet.put(m.PROVIDER_BATCHES_FAIL, bool(told["failure"]))
    sheet.put(m.PROVIDER_STOPPED, bool(told["stopped"]))


def _audited(sheet: Sheet, version: str, told: Mapping[str, Any]) -> None:
    for rate, share in told["shares"].items():
        for bound in ("value", "lower", "upper"):
            sheet.put(m.AUDIT_SHARE, share[bound], version, rate, bound)
    for state, count in told["labels"].items():
        sheet.put(m.AUDIT_LABELS, count, version, state)
    for alarm in told["alarms"]:
        sheet.put(m.AUDIT_PROMISE, alarm["promise"], version, alarm["kind"])
        sheet.put(m.AUDIT_ALARM_LEVEL, alarm["level"], version, alarm["kind"])
        sheet.put(m.AUDIT_ALARMS, alarm["raised"], version, alarm["kind"])


def _outcomes(sheet: Sheet, step: StepView) -> None:
    agent, seen = step.agent, step.outcomes
    for route, count in seen["routes"].items():
        if route not in ("results", "fallback"):
            sheet.put(m.RECORDS, count, agent, route, "", "")
    for reason, count in seen["reasons"].items():
        sheet.put(m.RECORDS, count, agent, "fallback", reason, "")
    for answered_by, count in seen["answered_by"].items():
        sheet.put(m.RECORDS, count, agent, "results", "", answered_by)
    sheet.put(m.UNTRUSTED, seen["untrusted"], agent)
    for outcome, buckets in seen["latency"].items():
        if buckets.count:
            sheet.histogram(m.LATENCY, buckets.within(LATENCY_S), agent, outcome)
    if seen["last_ms"] is not None:
        sheet.put(m.LAST_COMMIT, seen["last_ms"] / 1000.0, agent)


def _plane(sheet: Sheet, step: StepView) -> None:
    for metric, name in _PLANE.items():
        sheet.put(metric, step.plane[name], step.agent)


def _partitions(sheet: Sheet, step: StepView, now_ms: float) -> None:
    for standing in step.standings:
        for metric, of in _STANDING.items():
            value = of(step, standing, now_ms)
            sheet.put(metric, value, step.agent, standing.topic, str(standing.partition))


def _age_s(standing: Standing, now_ms: float) -> float:
    return 0.0 if standing.oldest_ms is None else max(0.0, (now_ms - standing.oldest_ms) / 1000.0)


def _agent(sheet: Sheet, step: StepView) -> None:
    sheet.put(m.RESTARTS, step.restarts, step.agent)
    if "predict" in step.measured:
        sheet.histogram(m.PREDICT, step.measured["predict"], step.agent)
    if waits := step.measured.get("schema_wait"):
        records, seconds = waits
        sheet.put(m.SCHEMA_RECORDS, records)
        sheet.put(m.SCHEMA_SECONDS, seconds)


def _remote(sheet: Sheet, step: StepView) -> None:
    statistics, meter, end = step.told, step.measured["meter"], step.measured["endpoint"]
    _calls(sheet, meter, end)
    sheet.put(m.REPEATED, statistics.get("remote_calls_repeated"))
    _cache(sheet, statistics.get("cache"))
    sheet.put(m.ASKED, step.outcomes["asked"])
    sheet.put(m.COST, step.outcomes["cost"])
    sheet.put(m.IN_FLIGHT, statistics.get("in_flight"))
    sheet.put(m.WAITING, statistics.get("waiting"))
    sheet.put(m.HELD, statistics.get("held"))
    _limits(sheet, statistics.get("limits", {}))
    _breaker(sheet, statistics.get("breaker", {}))
    _budget(sheet, statistics.get("budget", {}))


def _calls(sheet: Sheet, meter: Meter, end: Endpoint) -> None:
    labels = (end.operation, end.provider, end.model, end.address, str(end.port or ""))
    for error, buckets in meter.durations.items():
        sheet.histogram(m.CALL_DURATION, buckets, *labels, error)
    for kind, buckets in meter.tokens.items():
        if buckets.count:
            sheet.histogram(m.TOKENS, buckets, *labels, kind)
    for reason, count in meter.statistics()["retries"].items():
        sheet.put(m.RETRIES, count, reason)
    sheet.put(m.IMPLAUSIBLE, meter.implausible)


def _cache(sheet: Sheet, cache: Mapping[str, Any] | None) -> None:
    if cache is not None:
        sheet.put(m.CACHED, cache["hits"] + cache["shared"])


def _limits(sheet: Sheet, limits: Mapping[str, Any]) -> None:
    sheet.put(m.SHARE, limits.get("share"))
    sheet.put(m.IN_FLIGHT_LIMIT, limits.get("in_flight"))
    for kind in ("requests", "tokens"):
        sheet.put(m.LIMIT, limits.get(f"{kind}_per_minute"), kind)
        sheet.put(m.PACE, limits.get(f"{kind}_pace"), kind)


def _breaker(sheet: Sheet, breaker: Mapping[str, Any]) -> None:
    if breaker:
        for state in BREAKER_STATES:
            sheet.put(m.BREAKER, state == breaker["state"], state)
        sheet.put(m.BREAKER_OPENED, breaker["opened"])
        sheet.put(m.BREAKER_PROBES, breaker["probes"])


def _budget(sheet: Sheet, budget: Mapping[str, Any]) -> None:
    sheet.put(m.BUDGET_SPENT, budget.get("spent"))
    for unit in ("money", "calls"):
        amounts = budget.get(unit, {})
        if amounts.get("budget"):  # 0 is no limit
            sheet.put(m.BUDGET_LIMIT, amounts["budget"], unit)
            sheet.put(m.BUDGET_USED, amounts["leased"], unit)
            sheet.put(m.BUDGET_LEFT, max(0.0, amounts["budget"] - amounts["leased"]), unit)
            sheet.put(m.BUDGET_CHARGED, amounts["charged"], unit)


def _shadows(sheet: Sheet, step: StepView) -> None:
    for reason, count in step.outcomes["shadows"].items():
        sheet.put(m.SHADOWS, count, reason)
    sheet.put(m.SHADOWS_WAITING, step.waiting)
    sheet.put(m.SHADOW_COST, step.outcomes["cost"])
    sheet.put(m.SHADOWS_GAVE_WAY, step.told.get("gave_way"))
    for unit in ("money", "calls"):
        amounts = step.told.get("budget", {}).get(unit, {})
        if amounts.get("budget"):
            sheet.put(m.SHADOW_BUDGET, amounts["budget"], unit)
            sheet.put(m.SHADOW_BUDGET_USED, amounts["leased"], unit)


def _saved(sheet: Sheet, view: WorkerView) -> None:
    for step in view.steps:
        if step.agent == "local":
            sheet.put(m.SAVED, step.outcomes["answered_by"].get("local", 0) * view.unit_cost)
