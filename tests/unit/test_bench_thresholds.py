"""The benchmark of the thresholds runs, on few rows. How fast a busy machine is proves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_and_writes_it_down(tmp_path: Path) -> None:
    out = tmp_path / "thresholds.json"
    command = [sys.executable, "-m", "benchmarks.thresholds", "--rows", "4000", "--out", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(out.read_text())
    assert figures["rows"] == 4000
    assert figures["loop_candidates"] > 1
    assert min(figures["curve_s"], figures["thresholds_s"], figures["faster_than_loop"]) > 0
