"""The auditor: follows `audits` and `labels`, and closes every few seconds where something changed.

    open (nobody else appends from here on) ─▶ take over ─▶ look ─▶ close ─▶ look ─▶ close ─▶ …

Time is the broker's: a closing bears the time at which the one before it was written, or that of a later record, and
never before every label up to then has been read. Our own clock only decides when to close. Whatever fails, this one
ends, and another one takes over from what the topic says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from ...agents.auditing.ledger.ledger import Ledger, Rules
from ...schemas.closings import LadderTold, VersionTold
from ...schemas.errors import BiSupervisedError
from ...schemas.versions import ThresholdsEntry
from ..versions.log import VersionsLog
from .choosing import chosen_of, entry_of
from .feed import Feed
from .standing import Standing
from .taking_over import Recomputing, TopicsShorter, lost_before
from .trust import Trust

if TYPE_CHECKING:
    from ..kafka.connection import Connection

log = logging.getLogger(__name__)

#: records that are taken in at once, at most
_MOST = 20_000
#: records after which others on the event loop have their turn
_BREATH = 100
#: closings after which one stands for itself
_WHOLE_EVERY = 50
#: how much rarer closings are that no label asks for
_SLOWER = 12.0
#: seconds between two looks whether `audits` has more partitions
_GROWN_S = 60.0


@dataclass(frozen=True, slots=True)
class AuditorPolicy:
    """What an auditor reads and writes, and how often."""

    connection: Connection
    pipeline: str
    audits: str  #: topic
    labels: str  #: topic
    trust: str  #: topic
    transactional_id: str
    transaction_timeout_s: float
    request_timeout_s: float
    close_every_s: float  #: at least
    by: str  #: which worker we are, for people
    thresholds: str = ""  #: topic of versions; '' where nobody follows them


class TopicGone(BiSupervisedError):
    """A topic is not there any more, as far as the client knows. Whoever begins again asks the broker."""


class Again(Exception):
    """It is to be begun again, and nothing failed."""


class Auditor:
    """One that owns the labels, until it fails or is cancelled."""

    def __init__(
        self,
        policy: AuditorPolicy,
        rules: Callable[[], Rules],
        standing: Standing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rules`: those of now. `standing` is kept up to date. `clock` measures waits."""
        self._policy = policy
        self._rules = rules
        self._standing = standing
        self._clock = clock
        self._feed = Feed(policy.connection, policy.audits, policy.labels)
        self._trust = Trust(
            policy.connection,
            policy.trust,
            policy.pipeline,
            policy.transactional_id,
            (policy.transaction_timeout_s, policy.request_timeout_s),
        )
        self._versions = VersionsLog(policy.connection, policy.thresholds) if policy.thresholds else None
        self._ledger: Ledger | None = None
        self._number = 0  # of the last closing
        self._written_ms = 0  # when that was written, by the broker's clock
        self._closed_at = 0.0  # the same by ours
        self._raised: dict[tuple[str, str], int] = {}  # alarms that were told, by version and promise

    async def run(self) -> None:
        """Audit. Raises `KafkaError`, `ProducerFenced` among them, `TimeoutError`, `Again`, `ConfigurationError`."""
        try:
            await self._trust.start()
            await self._feed.start()
            await self._tell_unread()
            if self._versions is not None:
                await self._versions.start()
            await self._take_over()
            await self._follow()
        finally:
            self._standing.auditing = False
            with suppress(KafkaError):
                await self._feed.close()
            if self._versions is not None:
                with suppress(KafkaError):
                    await self._versions.close()
            await self._trust.close()

    async def _tell_unread(self) -> None:
        if unread := await self._feed.unread():
            text = (
                "%s has %d partitions, and only labels in partition 0 count: write them there, or make the topic anew"
            )
            topic = self._policy.labels
            log.warning(text, topic, unread + 1, extra={"action": "labels_unread", "topic": topic, "unread": unread})

    # taking over

    async def _take_over(self) -> None:
        """What differs is told, and the topics count: who reckons them again from here on finds the same."""
        closings = [one.closing for one in await self._trust.from_last_whole()]
        if not closings:
            await self._begin("there was no closing")
            return
        self._number = closings[-1].number
        lost = lost_before(closings[0], await self._feed.begins())
        found = Recomputing(self._feed, self._versions)
        try:
            for closing in closings:
                await found.take(closing)
        except TopicsShorter as error:
            log.error("the audit begins anew: %s", error, extra={"action": "audit_differs"})
            await self._begin(f"the topics do not hold what was taken in: {error}")
            return
        why = "; ".join([*(f"records are gone from {topic}" for topic in lost), *found.differing])
        if why:
            log.error("the audit goes on from what the topics say: %s", why, extra={"action": "audit_differs"})
        self._ledger = found.ledger
        self._remember_alarms()
        if self._ledger.ascending is not None:
            self._ledger.ascending.quiet()
        facts = {"action": "audit_taken_over", "number": self._number, "recomputed": found.closings}
        log.info("the audit goes on from closing %d, by %s", self._number, closings[-1].by, extra=facts)
        await self._append(whole=True, why=why)

    async def _begin(self, why: str) -> None:
        """From where the topics begin, with a closing that knows nothing."""
        begins = await self._feed.begins()
        await self._feed.seek(begins)
        self._ledger = Ledger(self._policy.pipeline, self._rules(), begins)
        log.info("the audit begins: %s", why, extra={"action": "audit_begun"})
        await self._append(whole=True, why=why)

    # following

    async def _follow(self) -> None:
        looked_at = self._clock()
        while True:
            if self._feed.waiting < _MOST:
                await self._feed.look()
            else:
                await asyncio.sleep(0)
            self._check_topics()
            if self._is_due():
                await self._close()
            if self._clock() - looked_at >= _GROWN_S:
                looked_at = self._clock()
                if await self._feed.grown():
                    raise Again("audits has more partitions")

    def _check_topics(self) -> None:
        """Raises `TopicGone`: a client says nothing of it, and waits for ever."""
        gone = [*self._feed.gone, *self._trust.gone, *(self._versions.gone if self._versions is not None else ())]
        if gone:
            raise TopicGone(f"the topic {', '.join(gone)} is not there any more: was it deleted?")

    def _is_due(self) -> bool:
        waited_s = self._clock() - self._closed_at
        every_s = self._policy.close_every_s
        if self._feed.waiting_labels or self._feed.waiting >= _MOST or self._raise_ends(waited_s):
            return waited_s >= every_s
        return waited_s >= every_s * _SLOWER and (self._feed.waiting > 0 or self._is_late(waited_s))

    def _raise_ends(self, waited_s: float) -> bool:
        """More requests are drawn than before the alarm, and that may have to end: before more labels are wanted."""
        ledger = self._known
        if ledger.ascending is None:
            return False
        more = self._feed.waiting - self._feed.waiting_labels
        return ledger.ascending.raise_ends(ledger.rules.alarm_share, more, self._written_ms + waited_s * 1000)

    def _is_late(self, waited_s: float) -> bool:
        """A request may be late by now."""
        late_ms = self._known.late_at_ms
        return late_ms is not None and late_ms <= self._written_ms + waited_s * 1000

    async def _close(self) -> None:
        """Take in what waits, and say what is known then. Where labels are behind, they are read first."""
        at_ms = await self._time()
        if at_ms is None:
            return
        audits, labels, taken = await self._feed.take()
        ledger = self._known
        await _breathing(audits, ledger.take_audit)
        await _breathing(labels, ledger.take_label)
        # after the records that a version judged, that version is there, too
        versions = 0 if self._versions is None else await self._versions.to_end()
        entries = [] if self._versions is None else await self._versions.up_to(versions)
        rules = self._rules()
        ledger.close(taken, at_ms, rules, chosen_of(entries, versions, self._policy.pipeline, rules))
        await self._append(whole=(self._number + 1) % _WHOLE_EVERY == 0, chosen=entry_of(ledger, entries))

    async def _time(self) -> int | None:
        """The broker's time of the closing. None where there is more to read before."""
        known_ms = self._known.at_ms
        lagging = await self._feed.lagging(await self._feed.ends())
        newest = [ms for place in self._feed.places if (ms := self._feed.newest_ms(place)) is not None]
        if not lagging:
            return max(known_ms, self._written_ms, *newest)
        if self._feed.waiting < _MOST:
            return None
        return max(known_ms, min(self._feed.newest_ms(place) or known_ms for place in lagging))

    async def _append(self, *, whole: bool, why: str = "", chosen: ThresholdsEntry | None = None) -> None:
        ledger = self._known
        if ledger.ascending is not None:
            ledger.ascending.chose = "" if chosen is None else chosen.version
        closing = ledger.closing(self._number + 1, whole=whole, by=self._policy.by, why=why)
        appended = await self._trust.append(closing, None if chosen is None else (self._policy.thresholds, chosen))
        self._number, self._written_ms, self._closed_at = closing.number, appended.written_ms, self._clock()
        self._standing.auditing, self._standing.failure = True, ""
        self._tell_alarms()
        self._tell_ladder(closing.ladder)

    # what is told

    @property
    def _known(self) -> Ledger:
        if self._ledger is None:
            raise Again("nothing was taken over yet")
        return self._ledger

    def _remember_alarms(self) -> list[VersionTold]:
        told = self._known.told()
        self._raised = {(one.version, alarm.promise.kind): alarm.raised for one in told for alarm in one.alarms}
        return told

    def _tell_alarms(self) -> None:
        before = self._raised
        for one in self._remember_alarms():
            for alarm in one.alarms:
                if alarm.raised > before.get((one.version, alarm.promise.kind), 0):
                    text = "ALARM: %s of at most %g is promised by the thresholds %s, and the labels say otherwise"
                    facts = {"action": "audit_alarm", "version": one.version, "last": alarm.last}
                    log.error(text, alarm.promise.kind, alarm.promise.value, one.version, extra=facts)

    def _tell_ladder(self, told: LadderTold | None) -> None:
        if told is not None and told.chose and not told.says:
            _tell_share(told)
        if told is None or not told.says:
            return
        facts = {"action": "ladder_says", "says": told.says, "rung": told.to, "thresholds": told.chose}
        if told.chose:
            log.warning("chose version %s, rung %d: %s: %s", told.chose, told.to, told.says, told.why, extra=facts)
            return
        pinned = "; a person pins the rung, and nothing was changed" if told.pinned else "; nothing was changed"
        log.warning("the ladder says %s, to rung %d: %s%s", told.says, told.to, told.why, pinned, extra=facts)


def _tell_share(told: LadderTold) -> None:
    facts = {"action": "share_falls", "thresholds": told.chose, "labels": told.raised_labels}
    text = "chose version %s: as many requests are drawn as before the alarm; it has cost %d labels more"
    log.info(text, told.chose, told.raised_labels, extra=facts)


async def _breathing(records: Sequence[Any], take: Callable[[Any], None]) -> None:
    """A worker answers on the same event loop."""
    for number, record in enumerate(records, start=1):
        take(record)
        if number % _BREATH == 0:
            await asyncio.sleep(0)
