"""The dashboard and the alert rules read metrics that a worker shows, by labels that these have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bisupervised.streams.telemetry.metrics import METRICS, Metric, table
from support.promql import alerts_in, grouping_in, series_in

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
CASES = DEPLOY / "prometheus" / "alerts_test.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "bisupervised.json"

#: labels that Prometheus gives a series itself, and the one that `--processes` adds
SCRAPED = {"instance", "job", "process"}


def series_of(metric: Metric) -> tuple[str, ...]:
    """The names that a query may use."""
    if metric.kind == "histogram":
        return (f"{metric.name}_bucket", f"{metric.name}_sum", f"{metric.name}_count")
    return (metric.name,)


LABELS = {name: {*one.labels, *SCRAPED} for one in METRICS for name in series_of(one)}
LABELS |= {f"{one.name}_bucket": {*one.labels, *SCRAPED, "le"} for one in METRICS if one.kind == "histogram"}


def panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EXPRESSIONS = [*alerts_in(RULES), *panels()]


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_series_and_every_label_exists(where: str, expression: str) -> None:
    read = series_in(expression)
    assert read, "an expression reads something"
    for name, labels in read.items():
        assert name in LABELS, name
        assert labels <= LABELS[name], name
    assert grouping_in(expression) <= set().union(*(LABELS[name] for name in read))


def test_every_alert_is_seen_to_fire_in_a_case() -> None:
    cases = CASES.read_text()
    assert [name for name, _ in alerts_in(RULES) if f'alertname="{name}"' not in cases] == []


def test_the_dashboard_shows_batches_how_old_they_are_what_became_of_them_and_what_they_cost() -> None:
    shown = set().union(*(series_in(expression) for _, expression in panels()))
    of_batches = {name.removeprefix("bisupervised_provider_") for name in shown if "_provider_" in name}
    wanted = {"batches", "batches_late", "batches_fail", "batch_oldest_seconds", "batch_inputs"}
    assert of_batches >= wanted | {"batch_outcomes_total", "batch_cost_total", "batch_saved_total"}


def test_the_dashboard_lays_no_panel_upon_another() -> None:
    places = [panel["gridPos"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize(
    ("expression", "series"),
    [
        ("a", {"a": set()}),
        ('sum by (x) (rate(a_b{c="d{e}", f!~"g"}[5m])) / b > 0.5', {"a_b": {"c", "f"}, "b": set()}),
        ('label_replace(a{b="c"}, "d", "e", "", "") == 1 unless on (d) b', {"a": {"b"}, "b": set()}),
        ("time() - max by (agent) (a)", {"a": set()}),
    ],
)
def test_the_reader_of_expressions(expression: str, series: dict[str, set[str]]) -> None:
    assert series_in(expression) == series


def test_the_table_in_the_docs_is_made_of_the_definitions() -> None:
    assert table() in (DEPLOY.parent / "docs" / "metrics.md").read_text(), "run: python scripts/tables.py"
