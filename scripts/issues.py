"""How right the two models of the issue demo are, by cross-validation: `python scripts/issues.py DIR`."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from bisupervised.streams.demo.issues import TRAINING_FILE, IssueReport, read_reports
from bisupervised.streams.demo.run_issues import accuracy
from bisupervised.streams.demo.triage import learn_reports, learn_titles

FOLDS = 5


def folds(reports: Sequence[IssueReport], seed: int) -> list[list[IssueReport]]:
    """Parts of equal size, with as many of each project and kind in each."""
    groups = defaultdict(list)
    for report in random.Random(seed).sample(reports, len(reports)):
        groups[report.repo, report.label].append(report)
    parts: list[list[IssueReport]] = [[] for _ in range(FOLDS)]
    for group in groups.values():
        for number, report in enumerate(group):
            parts[number % FOLDS].append(report)
    return parts


def main(folder: Path, seeds: int) -> None:
    reports = read_reports(folder / TRAINING_FILE)
    right: dict[str, list[float]] = {"local": [], "remote": []}
    for seed in range(seeds):
        parts = folds(reports, seed)
        for held_out in parts:
            learned = [report for part in parts if part is not held_out for report in part]
            right["local"].append(accuracy(learn_titles(learned, seed), held_out))
            right["remote"].append(accuracy(learn_reports(learned), held_out))
    for name, shares in right.items():
        sys.stdout.write(f"{name}: {fmean(shares):.1%} right; folds from {min(shares):.1%} to {max(shares):.1%}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
