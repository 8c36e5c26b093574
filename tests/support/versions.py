"""Versions of the thresholds: a ladder of four rungs, and entries of the topic, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.agents.supervision.thresholds import Rung, Target, Thresholds, signed, write_thresholds
from bisupervised.agents.terms import Ladder, Terms
from bisupervised.schemas.versions import Reason, ThresholdsEntry
from bisupervised.streams.versions.entries import next_entry
from bisupervised.streams.versions.fold import Standing, fold
from support.thresholds import thresholds

PIPELINE = "shop"
#: from lax to strict: first threshold, second threshold, error
PAIRS = ((0.5, 0.1, 0.3), (0.7, 0.3, 0.2), (0.8, 0.7, 0.1), (0.9, 0.8, 0.05))
RUNGS = tuple(Rung(*pair, pair[2], 1 - pair[0], 0.9, certified=pair[0] == 0.8) for pair in PAIRS)
LADDER = Ladder("file", "made", 3, RUNGS, "small@1", "scored")
#: what a worker's configuration says, whose file has that ladder
TERMS = Terms(
    "made",
    Supervisor("a", 0.8),
    Supervisor("b", 0.7),
    None,
    arbitration=False,
    local_model="small@1",
    limits=LimitsPolicy(0.0, 0.0, 16),
    ladder=LADDER,
)


def laddered(version: str = "made") -> Thresholds:
    """What `fit` would have made: the third rung is the certified pair."""
    return signed(msgspec.structs.replace(thresholds(0.8, 0.7, version=version), rungs=RUNGS, digest=""))


def laddered_file(folder: Path, version: str = "made", promise: float | None = None) -> Path:
    """The same in a file. `promise`: error among the trusted answers; None promises another rate."""
    path, made = folder / f"{version}.json", laddered(version)
    if promise is not None:
        made = signed(msgspec.structs.replace(made, target=Target("error", promise, 0.1), digest=""))
    write_thresholds(path, made)
    return path


def chosen(entries: Sequence[ThresholdsEntry], rung: int, reason: Reason = "set", **more: Any) -> ThresholdsEntry:
    """The entry that somebody writes after he has read those."""
    standing: Standing = fold(entries, PIPELINE, more.get("ladder", LADDER))
    said: dict[str, Any] = {"pipeline": PIPELINE, "ladder": LADDER, "by": "ann", "at_ms": 1000} | more
    return next_entry(standing, said.pop("pipeline"), said.pop("ladder"), rung, reason, **said)
