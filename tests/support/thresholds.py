"""Thresholds files, made by hand."""

from __future__ import annotations

from pathlib import Path

from bisupervised.agents.supervision.thresholds import Line, Part, Target, Thresholds, signed, write_thresholds


def thresholds(local: float = 0.8, remote: float = 0.7, score: str = "max_softmax", version: str = "new") -> Thresholds:
    """As `calibrate` would have made them."""
    return signed(
        Thresholds(
            version=version,
            local=Line(local, "max_softmax"),
            remote=Line(remote, score),
            first="by hand",
            method="paper",
            target=Target("false_positive_rate", 0.05),
            seed=0,
            parts={"report": Part(100, 0.3, 0.9, 0.95, 0.05, None)},
            made="2026-11-25T00:00:00Z",
        )
    )


def thresholds_file(folder: Path, local: float = 0.8, remote: float = 0.7) -> Path:
    """The same in a file."""
    path = folder / f"thresholds-{local}-{remote}.json"
    write_thresholds(path, thresholds(local, remote))
    return path
