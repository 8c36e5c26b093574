"""Entries of the topic `thresholds`, made: what a person or the auditor chose, after what is in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...agents.terms import Ladder
from ...schemas.versions import Reason, ThresholdsEntry, named
from .fold import Standing


def next_entry(
    standing: Standing,
    pipeline: str,
    ladder: Ladder,
    rung: int,
    reason: Reason,
    *,
    by: str,
    at_ms: int,
    why: str = "",
    evidence: Mapping[str, Any] | None = None,
    raised: bool = False,
) -> ThresholdsEntry:
    """The entry that chooses this rung, counted from 1, if nobody is quicker. A pure function of what it is given.

    Raises `ValueError` where there is no such rung.
    """
    if not 1 <= rung <= len(ladder.rungs):
        raise ValueError(f"there is no rung {rung}: the file has 1 to {len(ladder.rungs)}")
    pair = ladder.rungs[rung - 1]
    entry = ThresholdsEntry(
        version="",
        pipeline=pipeline,
        ladder=ladder.digest,
        model=ladder.model,
        score=ladder.score,
        rung=rung,
        local=pair.local,
        remote=pair.remote,
        reason=reason,
        previous=standing.version,
        by=by,
        at_ms=at_ms,
        why=why,
        evidence=dict(evidence or {}),
        raised=raised,
    )
    return named(entry, standing.number)
