"""From what the ladder says to a version in the topic: the same for the auditor, for who takes over, and offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ...agents.auditing.ascent import Chosen
from ...agents.auditing.ladder import Tighten
from ...agents.auditing.ledger.ledger import Ledger
from ...agents.supervision.thresholds import Rung
from ...agents.terms import Ladder
from ...schemas.closings import LadderTerms
from ...schemas.versions import ThresholdsEntry
from ..versions.entries import next_entry
from ..versions.fold import Standing, fold, unfit

#: who chooses, in what it writes
AUDITOR = "auditor"


def chosen_of(
    entries: Sequence[ThresholdsEntry], taken: int, pipeline: str, terms: LadderTerms | None
) -> Chosen | None:
    """Which version is in force after these entries, which end before `taken`, and what was judged by its ladder."""
    if terms is None:
        return None
    ladder, standing = _standing(entries, pipeline, terms)
    own = {entry.version for entry in standing.chain if not unfit(entry, ladder)}
    pins = {f"{terms.version}-pin-{rung}" for rung in range(1, len(terms.rungs) + 1)}
    return Chosen(standing.version, standing.rung, frozenset({terms.version, *own, *pins}), taken, standing.pinned)


def entry_of(ledger: Ledger, entries: Sequence[ThresholdsEntry]) -> ThresholdsEntry | None:
    """What the auditor writes after its last closing; None where it only says so, or nothing is to be said.

    `entries`: those that the closing has taken in.
    """
    ascending = ledger.ascending
    decision = None if ascending is None else ascending.decision
    if ascending is None or decision is None or not ascending.terms.tightens:
        return None
    ladder, standing = _standing(entries, ledger.pipeline, ascending.terms)
    if standing.pinned or (standing.entry is not None and unfit(standing.entry, ladder)):
        return None
    return next_entry(
        standing,
        ledger.pipeline,
        ladder,
        decision.to + 1,
        "tighten" if isinstance(decision, Tighten) else "loosen",
        by=AUDITOR,
        at_ms=ledger.at_ms,
        why=decision.why,
        evidence=asdict(decision.evidence),
    )


def _standing(entries: Sequence[ThresholdsEntry], pipeline: str, terms: LadderTerms) -> tuple[Ladder, Standing]:
    rungs = tuple(Rung(*pair, 0.0, None, None, None) for pair in terms.rungs)
    ladder = Ladder(terms.digest, terms.version, terms.start, rungs, terms.model, terms.score)
    return ladder, fold(entries, pipeline, ladder)
