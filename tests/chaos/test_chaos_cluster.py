"""How the chaos runs on three nodes reckon. `make chaos-cluster` runs them; docs/chaos.md says when it last did."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from proxy import METADATA, Requests  # noqa: E402  # the folder of the programs is on the path only now
from run_cluster import HEADINGS, MOST_RESUME_S, Hit, NodePhase, missed_aims, plan_of, report, write  # noqa: E402  # as above
from witness import Load  # noqa: E402  # as above

KINDS = ("kill_leader", "reassign_and_elect", "worker_and_node", "cut_refused")
TOTALS = dict.fromkeys(("inputs", "outcomes", "lost", "duplicated", "out_of_order", "stuck", "worker_deaths"), 0)


@pytest.mark.parametrize("cut", [1, 3, 6, 7, 1000])
def test_requests_are_counted_however_their_bytes_are_cut(cut: int) -> None:
    bodies = [struct.pack(">hh", key, 5) + b"x" * size for key, size in ((METADATA, 10), (0, 3000), (METADATA, 0))]
    sent = b"".join(struct.pack(">i", len(body)) + body for body in bodies)
    found = Requests()
    pieces = (sent[start : start + cut] for start in range(0, len(sent), cut))
    assert [key for piece in pieces for key in found.feed(piece)] == [METADATA, 0, METADATA]


def test_faults_are_dealt_out_to_the_kinds() -> None:
    assert plan_of(5, ("a", "b", "c")) == {"a": 2, "b": 2, "c": 1}
    assert plan_of(1, ("a", "b", "c")) == {"a": 1}


def one_phase(resume_s: float | None, load: Load) -> NodePhase:
    hit = Hit("kill_leader", "node 1", "", 20.0, resume_s, load)
    return NodePhase("exactly_once", "kill_leader", [hit], inputs=1234)


def test_each_aim_that_is_missed_is_told() -> None:
    kept = Load(20.0, 50.0, 0.5)
    assert not missed_aims([one_phase(MOST_RESUME_S, kept)])
    assert missed_aims([one_phase(MOST_RESUME_S + 1, Load(21.4, 51.0, 0.5, 2, 1))]) == [
        "exactly once, `kill_leader` (node 1): 16.0 s to resume",
        "exactly once, `kill_leader` (node 1): 21 log lines in a second, 2 s above the aim",
        "exactly once, `kill_leader` (node 1): 51 metadata requests in a second, 1 s above the aim",
    ]
    assert missed_aims([one_phase(None, kept)]) == ["exactly once, `kill_leader` (node 1): did not resume"]


def test_the_table_takes_its_place_in_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- chaos-cluster -->\nold\n<!-- end of chaos-cluster -->\nafter\n")
    write(page, report([one_phase(3.0, Load())], {"exactly_once": TOTALS}, {"a death": 5.0}, 1, 60.0))
    text = page.read_text()
    assert text.startswith("before\n<!-- chaos-cluster -->\n**")
    assert text.endswith("<!-- end of chaos-cluster -->\nafter\n")
    assert "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(HEADINGS) + 1}
    assert "| exactly once | `kill_leader` | 1 | 1,234 |" in text
    page.write_text("no place")
    with pytest.raises(SystemExit, match="has no place"):
        write(page, "table")
