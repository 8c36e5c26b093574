"""How long the curve and both thresholds take on a million inputs, compared with a loop over candidates.

    python -m benchmarks.thresholds [--rows 1000000] [--out build/thresholds.json]

The loop is what a first version would do: for each candidate, count over all inputs. Only its first candidates are
timed, for each of the others takes the same time. Its answer is checked against ours.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bisupervised.agents.supervision.calibration import Feasible, clopper_pearson, learn_then_test, paper_rule
from bisupervised.agents.supervision.curve import request_accuracy
from bisupervised.agents.supervision.procedure import First, first_threshold
from bisupervised.agents.supervision.recording import Recording, Side
from rich.console import Console
from rich.table import Table

RATE, ERROR, DELTA = 0.05, 0.2, 0.1
#: candidates of the loop that are timed
TIMED = 20


def drawn(rows: int, seed: int = 0) -> Recording:
    """Two models whose right answers tend to have higher scores. No two scores are equal."""
    chance = np.random.default_rng(seed)
    sides = []
    for skill in (0.7, 0.85):
        right = chance.random(rows) < skill
        sides.append(Side(np.where(right, chance.beta(4, 2, rows), chance.beta(2, 3, rows)), right))
    return Recording(*sides)


def timed(call: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """The median of the seconds of some runs, and the result."""
    seconds, found = [], None
    for _ in range(repeats):
        started = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[repeats // 2], found


def both_thresholds(recording: Recording) -> tuple[float, list[Any]]:
    """The first threshold, and the second by every method."""
    half = len(recording) // 2
    pilot, sample = recording[:half], recording[half:]
    local = first_threshold(pilot, First("remote_fraction", 0.5))
    return local, [
        paper_rule(sample, local, RATE),
        clopper_pearson(sample, local, RATE, DELTA),
        learn_then_test(pilot, sample, local, ERROR, DELTA),
    ]


def loop_seconds(recording: Recording, local: float, found: float) -> tuple[float, int]:
    """The loop's seconds until it reaches `found`, and the number of candidates. Checks that it would stop there."""
    deferred = recording.local.scores < local
    scores, right = recording.remote.scores[deferred], recording.remote.correct[deferred]
    kept = int(recording.local.correct[~deferred].sum())

    def rate(candidate: float) -> float:
        rejected = int((right & (scores < candidate)).sum())
        return rejected / (rejected + kept + int((right & (scores >= candidate)).sum()))

    candidates = np.sort(scores)
    place = int(np.searchsorted(candidates, found))
    assert rate(candidates[place - 1]) < RATE <= rate(candidates[place])  # noqa: S101  # timing a wrong answer would mean nothing
    seconds, _ = timed(lambda: [rate(candidate) for candidate in candidates[:TIMED]])
    return seconds / TIMED * (place + 1), place + 1


def measure(rows: int) -> dict[str, float]:
    """All figures of one run."""
    recording = drawn(rows)
    curve_s, _ = timed(lambda: request_accuracy(recording, 1001))
    thresholds_s, (local, found) = timed(lambda: both_thresholds(recording))
    sample = recording[rows // 2 :]
    paper_s, _ = timed(lambda: paper_rule(sample, local, RATE))
    if not isinstance(found[0], Feasible):
        raise SystemExit(f"nothing to compare: {found[0].reason}")
    loop_s, candidates = loop_seconds(sample, local, found[0].threshold)
    return {
        "rows": rows,
        "curve_s": curve_s,
        "thresholds_s": thresholds_s,
        "curve_and_thresholds_s": curve_s + thresholds_s,
        "paper_rule_s": paper_s,
        "loop_s": loop_s,
        "loop_candidates": candidates,
        "faster_than_loop": loop_s / paper_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("build/thresholds.json"))
    arguments = parser.parse_args()
    figures = measure(arguments.rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table(title="Curve and thresholds", title_justify="left", show_header=False)
    table.add_row("labelled inputs", f"{arguments.rows:,}")
    table.add_row("curve of 1,001 cutoffs", f"{figures['curve_s']:.3f} s")
    table.add_row("first threshold, and the second by three methods", f"{figures['thresholds_s']:.3f} s")
    table.add_row("the paper's rule, sorted once", f"{figures['paper_rule_s']:.3f} s")
    table.add_row(
        f"the paper's rule, a loop over {figures['loop_candidates']:,} candidates", f"{figures['loop_s']:,.0f} s"
    )
    table.add_row("times faster than the loop", f"{figures['faster_than_loop']:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
