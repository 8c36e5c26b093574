"""The benchmark of many partitions, in seconds: that it runs and what it writes."""

from __future__ import annotations

from pathlib import Path

from support.benchmarks import smoke


def test_it_measures_each_number_of_partitions_and_one_alone(tmp_path: Path) -> None:
    report, _ = smoke("partitions", tmp_path)
    costs = report["partition_costs"]
    assert [(cost["partitions"], cost["filled"]) for cost in costs] == [(4, 4), (8, 8), (4, 1)]
    for cost in costs:
        assert min(cost["owned_s"], cost["per_s"], cost["memory_mb"]) > 0, cost
