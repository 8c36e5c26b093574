"""The benchmark of many partitions, in seconds: that it runs and what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_each_number_of_partitions(tmp_path: Path) -> None:
    out = tmp_path / "partitions.json"
    command = [sys.executable, "-m", "benchmarks.partitions", "--smoke", "--out", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    costs = json.loads(out.read_text())["partition_costs"]
    assert [cost["partitions"] for cost in costs] == [4, 8]
    for cost in costs:
        assert min(cost["owned_s"], cost["per_s"], cost["memory_mb"]) > 0, cost
