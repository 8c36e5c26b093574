"""Runs a benchmark in seconds, as a user would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def smoke(name: str, folder: Path, *options: str | Path, timeout_s: float = 240.0) -> tuple[Any, str]:
    """What `python -m benchmarks.<name> --smoke` writes down, and what it says; it must end well."""
    out = folder / f"{name}.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke", "--out", out, *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(out.read_text()), run.stdout
