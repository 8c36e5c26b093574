"""`make bench-remote`, in seconds: that it runs and what it writes. How fast a busy machine is proves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_everything_and_writes_it_down(tmp_path: Path) -> None:
    out = tmp_path / "remote.json"
    command = [sys.executable, "-m", "benchmarks.remote", "--smoke", "--out", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(out.read_text())
    shares = ("limit_used_token_bucket", "limit_used_fixed_window", "concurrency_efficiency")
    assert all(0.1 < report[share] <= 1.0 for share in shares), report
    assert report["too_many_requests"] >= 0
    # in virtual time: the same on every machine
    assert report["fleet_windows_over_limit"] == 0
    assert report["fleet_limit_used"] >= 0.97
    assert report["skew_half_100_workers"] < 0.5
