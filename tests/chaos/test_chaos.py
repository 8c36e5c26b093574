"""A short chaos run, one fault of each kind; `make chaos` does the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


@pytest.mark.long(120)
@pytest.mark.timeout(460)  # eight faults, each with its recovery, on a busy machine
def test_no_record_is_lost_or_answered_twice_whatever_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "chaos.json"
    command = [sys.executable, str(RUN), "--inputs", "24000", "--faults", "8", "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=440, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(out.read_text())
    assert figures["inputs"] == figures["outcomes"] >= 24000
    assert figures["faults"] + figures["traps_missed"] == 8
    assert (figures["lost"], figures["duplicated"], figures["out_of_order"], figures["stuck"]) == (0, 0, 0, 0)
    assert figures["aborted_by_kind"]["kill_in_transaction"] > 0
    assert figures["aborted_by_kind"]["freeze_in_transaction"] > 0
