"""From what the ladder says to a version in the topic: the same for the auditor, for who takes over, and offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from ...agents.auditing.ascent import Chosen
from ...agents.auditing.ladder import Tighten
from ...agents.auditing.ledger.ledger import Ledger, Rules
from ...agents.supervision.thresholds import Rung
from ...agents.terms import Ladder
from ...schemas.closings import LadderTerms
from ...schemas.versions import Reason, ThresholdsEntry
from ..versions.entries import next_entry
from ..versions.fold import Standing, fold, unfit

#: who chooses, in what it writes
AUDITOR = "auditor"
#: why the same rung is chosen again
_FALLS = "the time after the alarm is over, or its labels are spent: as many requests are drawn as before it"


def chosen_of(entries: Sequence[ThresholdsEntry], taken: int, pipeline: str, rules: Rules) -> Chosen | None:
    """Which version is in force after these entries, which end before `taken`, and what was judged by its ladder."""
    terms, share = rules.terms.ladder, rules.alarm_share
    if terms is None:
        return None
    ladder, standing = _standing(entries, pipeline, terms)
    own = {entry.version for entry in standing.chain if not unfit(entry, ladder)}
    pins = {f"{terms.version}-pin-{rung}" for rung in range(1, len(terms.rungs) + 1)}
    return Chosen(
        standing.version,
        standing.rung,
        frozenset({terms.version, *own, *pins}),
        taken,
        standing.pinned,
        by_labels=standing.entry is not None and standing.entry.reason in ("tighten", "loosen"),
        raised=_raises(standing.entry, ladder, terms),
        raised_ms=0 if share is None else share.begun_ms(one.at_ms for one in standing.chain if one.raised),
    )


def _raises(entry: ThresholdsEntry | None, ladder: Ladder, terms: LadderTerms) -> bool:
    """More requests are drawn by what is in force, and it is for us to say until when."""
    return entry is not None and entry.raised and terms.tightens and not unfit(entry, ladder)


def entry_of(ledger: Ledger, entries: Sequence[ThresholdsEntry]) -> ThresholdsEntry | None:
    """What the auditor writes after its last closing; None where it only says so, or nothing is to be said.

    `entries`: those that the closing has taken in.
    """
    ascending = ledger.ascending
    if ascending is None or not ascending.terms.tightens:
        return None
    ladder, standing = _standing(entries, ledger.pipeline, ascending.terms)
    if standing.pinned or (standing.entry is not None and unfit(standing.entry, ladder)):
        return None
    make = partial(next_entry, standing, ledger.pipeline, ladder, by=AUDITOR, at_ms=ledger.at_ms)
    decision = ascending.decision
    if decision is not None:
        reason: Reason = "tighten" if isinstance(decision, Tighten) else "loosen"
        evidence = asdict(decision.evidence)
        return make(decision.to + 1, reason, why=decision.why, evidence=evidence, raised=ascending.raises)
    return make(standing.rung, "set", why=_FALLS) if ascending.falls else None


def _standing(entries: Sequence[ThresholdsEntry], pipeline: str, terms: LadderTerms) -> tuple[Ladder, Standing]:
    rungs = tuple(Rung(*pair, 0.0, None, None, None) for pair in terms.rungs)
    ladder = Ladder(terms.digest, terms.version, terms.start, rungs, terms.model, terms.score)
    return ladder, fold(entries, pipeline, ladder)
