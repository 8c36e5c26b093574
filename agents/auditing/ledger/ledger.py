"""The ledger: takes records of `audits` and `labels` in, and closes.

    take_audit, take_label ─▶ close ─▶ closing
    closing (whole) and the records since ─▶ resumed: the same ledger again

Nothing here reads a clock. What is late is decided by the time that a closing bears; what a person said counts if it
was written within `label_within_ms` after the request had ended, by the broker's clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from ....schemas.audits import AUDIT_HEADER, Audit, Label, decode_audit, decode_label, judged_by, place_of
from ....schemas.closings import Closing, Taken, TermsTold, VersionTold
from ....schemas.codec import decode_facts, header
from ....schemas.errors import InvalidRequest
from ....schemas.records import Facts, Incoming, Verdict
from ..alarm_share import AlarmShare
from ..ascent import Chosen, Climber, climber_of
from ..drawn import Drawn, Matches, Rights, judged
from .ascending import Ascending, Moment
from .memory import Memory, Request, Vote
from .tally import Tally

_TOTALS = ("votes", "unknown_sources", "unknown_classes", "unjudged", "replaced", "unreadable", "foreign")


@dataclass(frozen=True, slots=True)
class Rules:
    """By which terms a closing is reckoned, and what compares answers by these."""

    terms: TermsTold
    matches: Matches

    @property
    def alarm_share(self) -> AlarmShare | None:
        """For how long more requests are drawn after an alarm; None where they never are."""
        told = self.terms.alarm_share
        return None if told is None else AlarmShare(told.within_ms, told.labels)

    def is_class(self, truth: Any) -> bool:  # noqa: ANN401  # any JSON value
        """There is such a label, or any may be right."""
        classes = self.terms.classes
        return not classes or any(self.matches(one, truth) for one in classes)

    def counts(self, label: Label) -> bool:
        """It says something: that a vote is taken back, or which label is right."""
        return label.withdrawn or self.is_class(label.truth)


class Ledger:
    """What is known after some closing."""

    def __init__(self, pipeline: str, rules: Rules, begin: Taken) -> None:
        """Nothing yet: the topics are read from `begin`."""
        self.pipeline = pipeline
        self.rules = rules
        self.taken = begin
        self.at_ms = 0  #: the time of the last closing
        self.changed = False  #: since the last closing
        self._told_terms: TermsTold | None = None  # as the last closing has them
        self._totals = dict.fromkeys(_TOTALS, 0)
        self._tallies: dict[str, Tally] = {}
        self._memory = Memory()
        self.ascending = _ascending(rules)  #: the ladder, where there is one
        self._new: list[Request] = []  # taken in since the last closing
        self._climbers: list[Climber] = []  # the same, for the ladder
        self._extra = 0  # labels that were wanted since for a raised share alone
        self._touched: dict[str, None] = {}  # sources about which something was said since

    def __repr__(self) -> str:
        return f"<Ledger of {self.pipeline} at {self.taken}, {len(self._memory.requests)} remembered>"

    # what comes

    def take_audit(self, record: Incoming) -> None:
        """Take a record of `audits`."""
        self.changed = True
        request = self._read_audit(record)
        if request is None:
            return
        if request.drawn is not None:
            self._new.append(request)
        self._totals["unjudged"] += not request.version

    def _read_audit(self, record: Incoming) -> Request | None:
        try:
            audit, facts = decode_audit(header(record.headers, AUDIT_HEADER) or b""), decode_facts(record)
        except (msgspec.DecodeError, InvalidRequest):
            self._totals["unreadable"] += 1
            return None
        if audit.pipeline != self.pipeline:
            self._totals["foreign"] += 1
            return None
        drawn = drawn_of(audit, facts, record.timestamp)
        climber = climber_of(audit, facts, drawn, (record.partition, record.offset))
        self._climbers += [] if climber is None else [climber]
        self._extra += audit.extra
        request = Request(
            source=drawn.source,
            partition=record.partition,
            offset=record.offset,
            at_ms=record.timestamp,
            version=judged_by(facts),
            drawn=drawn if facts.thresholds else None,
        )
        replaced = self._memory.add(request)
        self._touched[request.source] = None
        if replaced is not None:
            self._totals["replaced"] += 1
            self._replace(replaced)
        return request

    def _replace(self, request: Request) -> None:
        """The topic of requests was made anew: this is a former request of the same place."""
        if request.waits:
            self._tallies[request.version].forgo(request)
        request.drawn = None

    def take_label(self, record: Incoming) -> None:
        """Take a record of `labels`."""
        self.changed = True
        vote = self._read_label(record)
        if vote is None:
            return
        self._totals["votes"] += 1
        self._totals["unknown_classes"] += not vote.counts

    def _read_label(self, record: Incoming) -> Vote | None:
        try:
            label = decode_label(record.value or b"")
        except msgspec.DecodeError:
            self._totals["unreadable"] += 1
            return None
        place = place_of(label.source)
        if place is None or not label.by:
            self._totals["unreadable"] += 1
            return None
        vote = Vote(str(place), record.offset, record.timestamp, label, self.rules.counts(label))
        self._memory.hold(vote)
        self._touched[vote.source] = None
        return vote

    # a closing

    def close(self, taken: Taken, at_ms: int, rules: Rules, chosen: Chosen | None = None) -> None:
        """Close at this time: all records before `taken` are in. `chosen`: which version is in force by now."""
        if rules.terms != self.rules.terms:
            self._change(rules)
        later = at_ms > self.at_ms
        self.rules, self.taken, self.at_ms = rules, taken, at_ms
        terms = rules.terms
        for request in self._new:
            self._begin(request)
        self._new = []
        promised = set(terms.thresholds) | (set() if chosen is None else chosen.versions)
        for version in self._tallies.keys() & promised:
            self._tallies[version].watch(terms)
        self._judge_touched()
        for tally in self._tallies.values():
            tally.settle(self._judge_late, at_ms, terms.label_within_ms)
        self._climb(chosen, later=later)
        before_ms = at_ms - terms.label_within_ms
        for vote in self._memory.forget_votes(before_ms):
            self._touched[vote.source] = None
            self._totals["unknown_sources"] += not vote.known
        self._judge_touched()
        self._memory.forget_requests(before_ms)

    def _climb(self, chosen: Chosen | None, *, later: bool) -> None:
        """The ladder takes in what is decided, of all versions together."""
        climbers, self._climbers = self._climbers, []
        extra, self._extra = self._extra, 0
        if self.ascending is None:
            return
        for climber in climbers:
            self.ascending.ascent.add(climber)
        now = Moment(self.at_ms, self.rules.terms.label_within_ms, self.rules.alarm_share, extra, later)
        self.ascending.settle(chosen, self._judge_climber, self._is_gone, now)
        self.changed = self.changed or self.ascending.decision is not None or self.ascending.falls

    def _judge_climber(self, climber: Climber, late: bool) -> Rights | None:  # noqa: FBT001  # as the ascent calls it
        request = self._memory.requests[climber.drawn.source]
        ballot = self._memory.ballot(request, self.rules.terms.label_within_ms)
        return judged(climber.drawn, ballot, self.rules.matches, late=late)

    def _is_gone(self, climber: Climber) -> bool:
        known = self._memory.requests.get(climber.drawn.source)
        return known is None or (known.partition, known.offset) != (climber.partition, climber.offset)

    def _change(self, rules: Rules) -> None:
        """Other terms: what waits is judged by them anew."""
        self.changed = True
        ladders = (self.rules.terms.ladder, self.rules.terms.labels_to_false_alarm)
        if ladders != (rules.terms.ladder, rules.terms.labels_to_false_alarm):
            former, self.ascending = self.ascending, _ascending(rules)
            if former is not None and self.ascending is not None:
                self.ascending.take_over(former)
        for vote in self._memory.votes:
            vote.counts = rules.counts(vote.label)
            self._touched[vote.source] = None

    def _begin(self, request: Request) -> None:
        if request.drawn is None:
            return  # replaced meanwhile
        tally = self._tally(request.version)
        tally.take(request.drawn, self.rules.matches)
        if is_wanted(request.drawn):
            tally.waits(request)
        else:
            request.drawn = None

    def _tally(self, version: str) -> Tally:
        found = self._tallies.get(version)
        if found is None:
            found = Tally(VersionTold(version), self.rules.terms.labels_to_false_alarm)
            self._tallies[version] = found
        return found

    def _judge_touched(self) -> None:
        within_ms = self.rules.terms.label_within_ms
        for source in self._touched:
            request = self._memory.requests.get(source)
            if request is None or request.drawn is None or not request.waits:
                continue
            ballot = self._memory.ballot(request, within_ms)
            rights = judged(request.drawn, ballot, self.rules.matches)
            people = 0 if ballot is None else len(ballot.by)
            self._tallies[request.version].told_of(request, rights, people)
        self._touched = {}

    def _judge_late(self, request: Request) -> Rights | None:
        ballot = self._memory.ballot(request, self.rules.terms.label_within_ms)
        return None if request.drawn is None else judged(request.drawn, ballot, self.rules.matches, late=True)

    @property
    def late_at_ms(self) -> int | None:
        """The time at which the next request is late; None where none is waited for."""
        oldest = [ms for tally in self._tallies.values() if (ms := tally.oldest_ms) is not None]
        return min(oldest) + self.rules.terms.label_within_ms if oldest else None

    # what is told

    def closing(self, number: int, *, whole: bool = False, by: str = "", why: str = "") -> Closing:
        """The record of the last closing, and the changes since the one before it are told."""
        every = {version: tally.told(self.rules.terms.alpha) for version, tally in self._tallies.items()}
        changed = [told for version, told in every.items() if whole or self._tallies[version].changed]
        totals = self._totals | {"unknown_sources": self._totals["unknown_sources"] + self._memory.strangers}
        since = self._memory.since(self.taken)
        terms = self.rules.terms
        made = Closing(
            number=number,
            pipeline=self.pipeline,
            at_ms=self.at_ms,
            taken=self.taken,
            since=since,
            digest=_digest(self.at_ms, self.taken, since, totals, every.values(), self.ascending),
            versions=tuple(changed),
            whole=whole,
            ladder=None if self.ascending is None else self.ascending.told(whole=whole),
            terms=terms if whole or terms != self._told_terms else None,
            by=by,
            why=why,
            **totals,
        )
        self._told_terms = terms
        self._told_all()
        return made

    def _resume(self, closing: Closing, audits: Iterable[Incoming], labels: Iterable[Incoming]) -> None:
        self.at_ms, self._told_terms = closing.at_ms, self.rules.terms
        read = [request for record in audits if (request := self._read_audit(record)) is not None]
        for record in labels:
            self._read_label(record)
        told = {one.version: one for one in closing.versions}
        self._tallies = {version: Tally(one, self.rules.terms.labels_to_false_alarm) for version, one in told.items()}
        for request in read:
            if request.drawn is None:
                continue
            tally = told.get(request.version)
            begins = None if tally is None else tally.open_from.get(str(request.partition))
            if is_wanted(request.drawn) and begins is not None and request.offset >= begins:
                self._tallies[request.version].waits(request)
            else:
                request.drawn = None
        self._resume_climbing(closing)
        self._judge_touched()
        self._totals = {name: getattr(closing, name) for name in _TOTALS}
        self._totals["unknown_sources"] -= self._memory.strangers
        self._told_all()

    def _resume_climbing(self, closing: Closing) -> None:
        climbers, self._climbers = self._climbers, []
        self._extra = 0
        ladder, told = self.rules.terms.ladder, closing.ladder
        if ladder is None or told is None:
            return
        self.ascending = Ascending(self.rules.terms, ladder, told)
        for climber in climbers:
            begins = told.open_from.get(str(climber.partition))
            if begins is not None and climber.offset >= begins:
                self.ascending.ascent.add(climber)

    def _told_all(self) -> None:
        self.changed = False
        for tally in self._tallies.values():
            tally.changed = False

    def told(self) -> list[VersionTold]:
        """All versions, as they stand."""
        return [tally.told(self.rules.terms.alpha) for tally in self._tallies.values()]


def resumed(closing: Closing, rules: Rules, audits: Iterable[Incoming], labels: Iterable[Incoming]) -> Ledger:
    """The ledger as it was at a whole closing; `audits`, `labels`: their records from `since` up to `taken`.

    `rules`: those of the closing.
    """
    ledger = Ledger(closing.pipeline, rules, closing.taken)
    ledger._resume(closing, audits, labels)  # noqa: SLF001  # a way to make one
    return ledger


def _ascending(rules: Rules) -> Ascending | None:
    return None if rules.terms.ladder is None else Ascending(rules.terms, rules.terms.ladder)


def _digest(
    at_ms: int,
    taken: Taken,
    since: Taken,
    totals: dict[str, int],
    versions: Iterable[VersionTold],
    ascending: Ascending | None,
) -> str:
    """32 hex digits. The ends of intervals are left out: they follow from the counts, but for the last bit."""
    exact = [_exact(told) for told in sorted(versions, key=lambda told: told.version)]
    climbed = [] if ascending is None else [ascending.exact()]
    document = msgspec.json.encode([at_ms, taken, since, totals, exact, *climbed], order="sorted")
    return hashlib.blake2b(document, digest_size=16).hexdigest()


def _exact(told: VersionTold) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(told)
    for value in document.values():
        if isinstance(value, dict) and "lower" in value:
            del value["lower"], value["upper"]
    return document


def is_wanted(one: Drawn) -> bool:
    """A label is waited for."""
    return one.label and not one.missing


def drawn_of(audit: Audit, facts: Facts, at_ms: int) -> Drawn:
    """The drawn request of a record of `audits`, which was written at `at_ms`."""
    return Drawn(
        source=str(facts.source),
        at_ms=at_ms,
        ended=audit.ended,
        local=_said(facts.local),
        remote=_said(facts.remote),
        answered_by="local" if audit.judged is not None and audit.judged.local else audit.answered_by,
        missing=bool(audit.missing),
        label=audit.label,
        doubtful=None if facts.local is None else not facts.local.trusted,
        unshadowed=audit.shadow == "missing",
    )


def _said(verdict: Verdict | None) -> tuple[Any] | None:
    """A failed call leaves only its cost."""
    return None if verdict is None or verdict.prediction is None else (verdict.prediction,)
