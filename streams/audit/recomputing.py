"""The report: what the closings say, reckoned again from the topics, and what has come since."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...agents.auditing.ledger.ledger import Ledger
from ...agents.supervision.thresholds import read_thresholds
from ...schemas.closings import Closing, Taken
from ..auditor.choosing import chosen_of
from ..auditor.feed import Feed
from ..auditor.rules import rules_of
from ..auditor.taking_over import Recomputing, TopicsShorter, begins_anew, lost_before
from ..auditor.trust import Reader
from ..settings.broker import connection
from ..settings.tables import Settings
from ..topics.reading import partitions_of
from ..versions.log import VersionsLog

#: offsets of `trust` that are read at once
_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What the topics say."""

    now: Closing  #: as a closing of now would say it, all versions told
    closings: int  #: that were reckoned again
    first: Closing | None  #: from which on; None where there is none
    last: Closing | None  #: up to which
    differing: tuple[str, ...]  #: what was found otherwise than a closing says
    unread: int = 0  #: partitions of `labels` beyond the first, whose labels do not count

    @property
    def from_the_beginning(self) -> bool:
        """Nothing is believed: all was reckoned from the records."""
        return self.first is None or self.first.number == 1


async def recompute(settings: Settings, clock: Callable[[], float] = time.time) -> Recomputed:
    """Reckon all closings again, then take in what has come since. `clock`: seconds since epoch.

    Raises `BrokerUnreachable`, `TopicMissing`, `TopicsShorter` and `ConfigurationError`.
    """
    topics = settings.topics
    versions = (topics.thresholds,) if settings.follows else ()
    for topic in (topics.audits, topics.labels, topics.trust, *versions):
        await partitions_of(settings, topic)
    reach = connection(settings.kafka)
    feed, trust = Feed(reach, topics.audits, topics.labels), Reader(reach, topics.trust, settings.name)
    log = VersionsLog(reach, topics.thresholds) if settings.follows else None
    try:
        if log is not None:
            await log.start()
        await trust.start()
        await feed.start()
        return await _recompute(settings, feed, trust, log, clock)
    finally:
        if log is not None:
            await log.close()
        await feed.close()
        await trust.close()


async def _recompute(
    settings: Settings, feed: Feed, trust: Reader, log: VersionsLog | None, clock: Callable[[], float]
) -> Recomputed:
    rules = rules_of(settings, read_thresholds(Path(settings.thresholds.file)) if settings.thresholds.file else None)
    found, written_ms = Recomputing(feed, log), 0
    begins = await feed.begins()
    place, end = await trust.bounds()
    while place < end:
        for one in await trust.read(place, min(place + _AT_ONCE, end)):
            written_ms = one.written_ms
            found = await _taken(one.closing, found, feed, log, begins)
        place += _AT_ONCE
    ledger = Ledger(settings.name, rules, begins) if found.first is None else found.ledger
    audits, labels = await feed.take_to(await feed.ends())
    for record in audits:
        ledger.take_audit(record)
    for record in labels:
        ledger.take_label(record)
    versions = 0 if log is None else await log.to_end()
    entries = [] if log is None else await log.up_to(versions)
    chosen = chosen_of(entries, versions, settings.name, rules)
    ledger.close(feed.taken, max(ledger.at_ms, written_ms, round(clock() * 1000)), rules, chosen)
    now = ledger.closing(1 if found.last is None else found.last.number + 1, whole=True)
    return Recomputed(now, found.closings, found.first, found.last, tuple(found.differing), await feed.unread())


async def _taken(
    closing: Closing, found: Recomputing, feed: Feed, log: VersionsLog | None, begins: Taken
) -> Recomputing:
    """With this closing reckoned again, or skipped where its records are not there, as after a retention."""
    if found.first is None and (not closing.whole or lost_before(closing, begins)):
        return found
    if found.first is not None and begins_anew(closing):  # what was taken in before is there no more, says the auditor
        found = Recomputing(feed, log)
    try:
        await found.take(closing)
    except TopicsShorter:  # the topics were made anew since, and what follows begins anew as well
        await feed.seek(begins)
        return Recomputing(feed, log)
    return found
