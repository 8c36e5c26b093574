"""How what closings say is reckoned again, by whom takes over and by `audit report`: both must find the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...agents.auditing.ledger.ledger import Ledger, Rules, resumed
from ...schemas.closings import Closing, Taken, TermsTold
from ...schemas.errors import BiSupervisedError
from ...schemas.versions import ThresholdsEntry
from .choosing import chosen_of, entry_of
from .rules import rules_told

if TYPE_CHECKING:
    from ..versions.log import VersionsLog
    from .feed import Feed


class TopicsShorter(BiSupervisedError):
    """A closing has taken in more than the topics hold: they were made anew, or have lost records."""


class Recomputing:
    """Takes closings, one after the other; the first is whole, and is believed."""

    def __init__(
        self, feed: Feed, versions: VersionsLog | None = None, rules: Callable[[TermsTold], Rules] = rules_told
    ) -> None:
        """`versions`: None where nobody follows versions of the thresholds."""
        self.differing: list[str] = []  #: what was found otherwise than a closing says
        self.closings = 0  #: that were reckoned again
        self.first: Closing | None = None
        self.last: Closing | None = None
        self._feed = feed
        self._versions = versions
        self._rules = rules
        self._ledger: Ledger | None = None
        self._ends: Taken | None = None

    def __repr__(self) -> str:
        return f"<Recomputing {self.closings} closings, {len(self.differing)} differ>"

    @property
    def ledger(self) -> Ledger:
        """As it is after the last closing. Raises `ValueError` before any."""
        if self._ledger is None:
            raise ValueError("nothing was reckoned yet")
        return self._ledger

    async def take(self, closing: Closing) -> None:
        """Reckon it again, and compare.

        Raises `TopicsShorter`, `KafkaError`, and `ConfigurationError` where what compared answers cannot be had here.
        """
        await self._check_reach(closing)
        if self._ledger is None or (closing.whole and closing.why):
            self._ledger = await self._resume(closing)
            made = self._ledger.closing(closing.number, whole=True)
        else:
            made = await self._again(self._ledger, closing)
        if self.last is not None and closing.number != self.last.number + 1:
            self.differing.append(f"closing {closing.number:,} follows {self.last.number:,}: some are missing")
        if made.digest != closing.digest:
            says = f"closing {closing.number:,} has the digest {closing.digest}, and the topics give {made.digest}"
            self.differing.append(says)
        self.first = self.first or closing
        self.last = closing
        self.closings += 1

    async def _again(self, ledger: Ledger, closing: Closing) -> Closing:
        audits, labels = await self._feed.take_to(closing.taken)
        rules = ledger.rules if closing.terms in (None, ledger.rules.terms) else self._told(closing)
        entries: list[ThresholdsEntry] = []
        if self._versions is not None and closing.ladder is not None:
            entries = await self._versions.up_to(closing.ladder.taken)
        return fold(ledger, (audits, labels, entries), closing, rules)

    async def _resume(self, closing: Closing) -> Ledger:
        await self._feed.seek(closing.since)
        audits, labels = await self._feed.take_to(closing.taken)
        return resumed(closing, self._told(closing), audits, labels)

    def _told(self, closing: Closing) -> Rules:
        if closing.terms is None:
            raise TopicsShorter(f"closing {closing.number} tells no terms, and those before it are gone")
        return self._rules(closing.terms)

    async def _check_reach(self, closing: Closing) -> None:
        """Where its records are not there, nobody could read up to them."""
        if self._ends is None or reaches_beyond(closing, self._ends):
            self._ends = await self._feed.ends()
        if beyond := reaches_beyond(closing, self._ends):
            raise TopicsShorter(f"closing {closing.number:,}: {'; '.join(beyond)}")


def fold(
    ledger: Ledger,
    records: tuple[Sequence[Any], Sequence[Any], Sequence[ThresholdsEntry]],
    closing: Closing,
    rules: Rules,
) -> Closing:
    """Take these records in, of `audits`, `labels` and `thresholds`, and close as this closing did."""
    audits, labels, entries = records
    for record in audits:
        ledger.take_audit(record)
    for record in labels:
        ledger.take_label(record)
    taken = 0 if closing.ladder is None else closing.ladder.taken
    chosen = chosen_of(entries, taken, ledger.pipeline, rules)
    ledger.close(closing.taken, closing.at_ms, rules, chosen)
    entry = entry_of(ledger, entries)
    if ledger.ascending is not None:
        ledger.ascending.chose = "" if entry is None else entry.version
    return ledger.closing(closing.number, whole=closing.whole)


def begins_anew(closing: Closing) -> bool:
    """It knows nothing, and says why: the topics, or the closings before it, were lost."""
    return closing.whole and bool(closing.why) and closing.taken == closing.since and not closing.versions


def reaches_beyond(closing: Closing, ends: Taken) -> list[str]:
    """What it has taken in and the topics do not hold."""
    said = [
        f"audits {number} ends at {ends.audits.get(number, 0):,}, and {offset:,} are taken in"
        for number, offset in closing.taken.audits.items()
        if ends.audits.get(number, 0) < offset
    ]
    if ends.labels < closing.taken.labels:
        said.append(f"labels ends at {ends.labels:,}, and {closing.taken.labels:,} are taken in")
    return said


def lost_before(closing: Closing, begins: Taken) -> list[str]:
    """What a closing needs to be gone on from, and the topics do not have any more."""
    needed = closing.since.audits.items()
    lost = [f"audits {number}" for number, offset in needed if begins.audits.get(number, 0) > offset]
    return [*lost, *(["labels"] if begins.labels > closing.since.labels else [])]
