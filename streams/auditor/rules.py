"""By which rules an auditor reckons: the settings of the audit, and what the thresholds file promises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...agents.auditing.ledger.ledger import Rules
from ...agents.auditing.matching import matching
from ...agents.supervision.thresholds import Target, Thresholds, read_thresholds
from ...schemas.closings import AlarmShareTold, LadderTerms, PromiseTold, TermsTold
from ...schemas.errors import ConfigurationError
from ..settings.terms import error_promised, ladder_of

if TYPE_CHECKING:
    from ..settings.tables import Settings

log = logging.getLogger(__name__)

_MS_PER_HOUR = 3_600_000
#: probability that a rung is certified and should not be, where the thresholds file names none
_DELTA = 0.1
#: of the intervals
_ALPHA = 0.05


def promises_of(thresholds: Thresholds) -> tuple[PromiseTold, ...]:
    """What a thresholds file promises, and an alarm can watch."""
    targets: list[Target] = [thresholds.target, *([thresholds.also] if thresholds.also else [])]
    return tuple(PromiseTold(target.kind, target.value) for target in targets if 0.0 < target.value < 1.0)


def rules_of(settings: Settings, thresholds: Thresholds | None) -> Rules:
    """The rules. Raises `ConfigurationError` where what compares answers cannot be had."""
    audit = settings.audit
    versions = () if thresholds is None else tuple(dict.fromkeys((thresholds.version, settings.thresholds.version)))
    terms = TermsTold(
        label_within_ms=round(audit.label_within_hours * _MS_PER_HOUR),
        labels_to_false_alarm=audit.labels_to_false_alarm,
        alpha=_ALPHA,
        matches=audit.matches,
        classes=_classes(settings),
        thresholds=tuple(version for version in versions if version),
        promises=() if thresholds is None else promises_of(thresholds),
        ladder=None if thresholds is None else _ladder_terms(settings, thresholds),
        alarm_share=_alarm_share(settings),
    )
    return Rules(terms, matching(audit.matches))


def _classes(settings: Settings) -> tuple[str, ...]:
    """What a label may say; empty where anything may be right.

    Reviewers may be offered more than the models answer, such as "none of these": it says that an answer is wrong.
    """
    local, remote, offered = settings.local.labels, settings.remote.labels, settings.review.classes
    return tuple(dict.fromkeys((*local, *remote, *offered))) if local else ()


def _alarm_share(settings: Settings) -> AlarmShareTold | None:
    audit = settings.audit
    if not audit.alarm_share:
        return None
    return AlarmShareTold(audit.alarm_share, round(audit.alarm_hours * _MS_PER_HOUR), audit.alarm_labels)


def _ladder_terms(settings: Settings, thresholds: Thresholds) -> LadderTerms | None:
    """The ladder, where evidence for other rungs can be had: both answers of audited requests, and their scores."""
    audit = settings.audit
    ladder, promised = ladder_of(settings, thresholds), error_promised(thresholds)
    unknown = audit.shadow_share < audit.share
    if ladder is None or promised is None or unknown or settings.thresholds.pin:
        return None
    return LadderTerms(
        digest=ladder.digest,
        version=ladder.version,
        start=ladder.start,
        rungs=tuple((rung.local, rung.remote) for rung in ladder.rungs),
        model=ladder.model,
        score=ladder.score,
        promise=promised.value,
        delta=promised.delta or _DELTA,
        tightens=audit.on_alarm == "tighten",
    )


def rules_told(terms: TermsTold) -> Rules:
    """Those of a closing. Raises `ConfigurationError` where what compared answers cannot be had here."""
    return Rules(terms, matching(terms.matches))


def current_rules(settings: Settings) -> Callable[[], Rules]:
    """The rules at any time: the thresholds file may change while we run."""
    file = Path(settings.thresholds.file) if settings.thresholds.file else None
    known: tuple[object, Rules] | None = None

    def rules() -> Rules:
        nonlocal known
        stamp = _stamp(file)
        if known is None or (stamp is not None and stamp != known[0]):
            known = (stamp, _read(settings, file, known))
        return known[1]

    return rules


def _read(settings: Settings, file: Path | None, known: tuple[object, Rules] | None) -> Rules:
    try:
        return rules_of(settings, None if file is None else read_thresholds(file))
    except ConfigurationError as error:
        if known is None:
            raise
        log.warning("the promises stay as they were: %s", error, extra={"action": "audit_rules_unread"})
        return known[1]


def _stamp(file: Path | None) -> object:
    try:
        found = None if file is None else file.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
