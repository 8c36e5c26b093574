"""What `make bench` says of the goals: which figures it reads, and where they should lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.benchmarks import smoke

from benchmarks.contest import OURS
from benchmarks.goals import GOALS, as_table, reached


def middle(value: float) -> dict[str, float]:
    return {"median": value}


def told() -> dict[str, Any]:
    """A run that reaches every goal, just so."""
    ratios = {"local_path_vs_bare": 0.45, "local_path_vs_quixstreams": 3.0, "local_path_vs_confluent": 0.65}
    standings = [{"candidate": "another", "cpu_us": middle(1.0)}, {"candidate": OURS, "cpu_us": middle(8.0)}]
    # 64 calls: 1,000 a second by 0.6 of a core
    runs = [
        {"in_flight": 64, "efficiency": 0.95, "reached_per_s": 5_000.0, "busy": {"worker": 0.6}},
        {"in_flight": 16, "efficiency": 0.1, "reached_per_s": 1.0, "busy": {"worker": 1.0}},
    ]
    costs = [
        {"share": 0.05, "shadow_share": 0.05, "draw_ns": middle(999.0), "records_ns": middle(999.0)},
        {"share": 0.01, "shadow_share": 0.0, "draw_ns": middle(50.0), "records_ns": middle(30.0)},
    ]
    many = [
        {"partitions": 4, "connections": 999, "memory_mb": 999.0},
        {"partitions": 128, "connections": 280, "memory_mb": 175.0},
    ]
    return {
        "contest": {**{name: middle(value) for name, value in ratios.items()}, "standings": standings},
        "whole": {"runs": runs},
        "latency": {"latency_ms": {"exactly_once": {"added_p50_ms": middle(20.0), "added_p99_ms": middle(80.0)}}},
        "idle": {"first_result_s": middle(4.0), "own_first_result_s": middle(4.0)},
        "draw": {"audit_costs": costs},
        "partitions": {"partition_costs": many},
    }


def test_every_goal_is_read_from_what_was_measured_and_its_bound_still_counts() -> None:
    rows = reached(told())
    assert [row.goal for row in rows] == list(GOALS)
    assert [row.goal.name for row in rows if not row.held] == []
    assert {row.goal.name: row.value for row in rows} == pytest.approx(
        {goal.name: goal.most if goal.most < 1e9 else goal.least for goal in GOALS}
    )


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_beyond_its_bound_a_goal_is_missed(goal: Any) -> None:
    bound = goal.most if goal.most < 1e9 else goal.least
    assert goal.held(bound)
    assert not goal.held(bound * (1.01 if goal.most < 1e9 else 0.99))


def test_what_was_not_measured_is_left_out() -> None:
    whole = told()
    del whole["latency"]
    whole["contest"]["local_path_vs_quixstreams"] = None  # not installed
    whole["whole"]["runs"] = whole["whole"]["runs"][1:]
    whole["partitions"]["partition_costs"] = whole["partitions"]["partition_costs"][:1]
    missing = {
        "call_cpu_ms",
        "whole_efficiency",
        "vs_quixstreams",
        "added_p50",
        "added_p99",
        "connections",
        "memory_mb",
    }
    assert {goal.name for goal in GOALS} - {row.goal.name for row in reached(whole)} == missing
    assert reached({}) == []


def test_the_table_says_what_is_missed() -> None:
    whole = told()
    whole["contest"]["local_path_vs_bare"] = middle(0.44)
    table = as_table(reached(whole))
    said = list(zip(*(column.cells for column in table.columns), strict=True))
    assert ("local path ÷ bare aiokafka loop", "0.44", "≥ 0.45", "no") in said
    assert ("local path ÷ quixstreams", "3.00", "≥ 3", "yes") in said


def test_the_draw_as_a_command(tmp_path: Path) -> None:
    report, said = smoke("draw", tmp_path)
    [cost] = report["audit_costs"]
    assert (cost["share"], cost["shadow_share"]) == (0.01, 0.0)
    assert cost["draw_ns"]["median"] > 0
    assert "An audit" in said
