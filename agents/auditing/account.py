"""What the labels of drawn requests say about a promise: estimates, intervals, and the alarm.

Evidence is taken in the order of the requests, not of their labels. If wrong answers take longer to be labelled than
right ones, what is labelled first looks better than it is: so a request waits for those before it, until they are
labelled, or late. What is late is never evidence; where it is much, the account says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...schemas.audits import Ended
from .detector import Detector
from .interval import interval
from .losses import Kind
from .votes import Ballot

#: share of late requests above which what is labelled may not stand for all
MUCH_LATE = 0.2

#: whether a prediction is right: `matches(prediction, truth)`
Matches = Callable[[Any, Any], bool]
#: whether the local model's answer is right, and whether the remote's is; None where there is none
Rights = tuple[bool | None, bool | None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drawn request, when it has ended."""

    source: str  #: topic-partition-offset
    at_ms: int  #: when it ended, by the broker's clock
    ended: Ended
    local: tuple[Any] | None  #: the local model's answer; None where there is none
    remote: tuple[Any] | None  #: the remote's; None where it was not asked, or did not answer
    answered_by: Literal["local", "remote"] | None  #: whose answer was trusted
    missing: bool = False  #: the answers are not here: the record was too large
    label: bool = True  #: a label is wanted; else it was drawn for both answers alone, and a label is no evidence
    doubtful: bool | None = None  #: the local answer was not trusted; None where there is none
    unshadowed: bool = False  #: the remote was to be asked all the same, and said nothing


def judged(one: Drawn, ballot: Ballot | None, matches: Matches, *, late: bool = False) -> Rights | None:
    """What the votes about a request say of its answers. None while that is not decided.

    A slip of one person must not count against a promise: a vote that does, and asks for it, waits for a second person.
    `late`: no longer. If it were left out then, wrong answers would be missing rather than right ones.
    """
    if ballot is None:
        return None
    rights = ballot.most(lambda truth: _rights(one, truth, matches))
    if rights is None or (ballot.wants_second and not late and speaks_against(one, rights)):
        return None
    return rights


def _rights(one: Drawn, truth: Any, matches: Matches) -> Rights:  # noqa: ANN401  # any JSON value
    local, remote = (None if said is None else matches(said[0], truth) for said in (one.local, one.remote))
    return local, remote


def speaks_against(one: Drawn, rights: Rights) -> bool:
    """The request counts against a promise: its answer is wrong and was trusted, or is right and was rejected."""
    right = rights[0] if one.answered_by == "local" else rights[1]
    return (one.ended == "trusted" and not right) or (one.ended == "rejected" and bool(right))


@dataclass(frozen=True, slots=True)
class Promise:
    """A rate that is promised."""

    kind: Kind
    value: float  #: 0..1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of labelled requests, with an interval that may be looked at any time."""

    wrong: int  #: of those that count, what the share is about
    labels: int  #: those that count
    lower: float  #: 0..1
    upper: float  #: 0..1

    @property
    def value(self) -> float | None:
        """The share, 0..1; None of nothing."""
        return self.wrong / self.labels if self.labels else None


@dataclass(frozen=True, slots=True)
class Alarm:
    """How one promise stands."""

    promise: Promise
    level: float  #: the alarm is at 1; below 0 there is no evidence against the promise
    raised: tuple[str, ...] = ()  #: the requests whose labels raised it; evidence began anew after each


@dataclass(frozen=True, slots=True)
class Account:
    """What is known about the requests that one version of the thresholds judged."""

    drawn: int  #: requests that were drawn and have ended
    labelled: int  #: with a decided label
    evidence: int  #: of these, taken in: nothing before them is waited for
    outstanding: int  #: without a decided label, and not late
    disputed: int  #: of those, with as many votes for one thing as for another
    seen_once: int  #: of those, with one vote that waits for a second person's
    late: int  #: without a label when one was expected
    missing: int  #: drawn, and the record was too large to carry the answers
    error: Estimate  #: wrong among the trusted
    false_positive_rate: Estimate  #: rejected among those with a right answer
    local_error: Estimate  #: of the local model alone
    remote_error_where_asked: Estimate  #: of the remote, on what it was asked about: no sample of all requests
    alarms: tuple[Alarm, ...] = ()

    @property
    def labels_late(self) -> bool:
        """What is labelled may not stand for all."""
        due = self.labelled + self.late
        return bool(due) and self.late / due > MUCH_LATE


@dataclass(frozen=True, slots=True)
class Terms:
    """How an account is made."""

    promises: tuple[Promise, ...] = ()
    label_within_ms: float = 0.0  #: after so long a missing label is late
    labels_to_false_alarm: float = 10_000.0
    alpha: float = 0.05  #: of the intervals


def account(
    drawn: Sequence[Drawn], ballots: dict[str, Ballot], now_ms: float, terms: Terms, matches: Matches
) -> Account:
    """The account of requests in their order. `ballots`: by source."""
    drawn = [one for one in drawn if one.label]
    counts = _Counts(terms)
    waiting = False
    for one in drawn:
        ballot = ballots.get(one.source)
        late = one.at_ms + terms.label_within_ms <= now_ms
        rights = judged(one, ballot, matches, late=late)
        if one.missing:
            counts.missing += 1
        elif rights is not None:
            counts.labelled += 1
            if not waiting:
                counts.take(one, rights)
        elif late:
            counts.late += 1
        else:
            waiting = True
            counts.outstanding += 1
            votes = 0 if ballot is None else len(ballot.by)
            counts.seen_once += votes == 1
            counts.disputed += votes > 1
    return counts.made(len(drawn))


class _Counts:
    """Evidence, one labelled request after the other."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._detectors = [Detector(promise.value, terms.labels_to_false_alarm) for promise in terms.promises]
        self._log_r = [detector.fresh() for detector in self._detectors]
        self._raised: list[list[str]] = [[] for _ in self._detectors]
        self._shares = {name: [0, 0] for name in ("error", "false_positive_rate", "local", "remote")}
        self.labelled = self.late = self.outstanding = self.missing = self.evidence = 0
        self.disputed = self.seen_once = 0

    def take(self, one: Drawn, rights: Rights) -> None:
        self.evidence += 1
        local, remote = rights
        self._count("local", counts=local is not None, wrong=not local)
        self._count("remote", counts=remote is not None, wrong=not remote)
        self._judge(one, right=local if one.answered_by == "local" else remote)

    def _judge(self, one: Drawn, *, right: bool | None) -> None:
        """`right`: whether the answer that the second supervisor saw, or the trusted local one, is right."""
        trusted, judged = one.ended == "trusted", one.ended in ("trusted", "rejected")
        losses: dict[Kind, tuple[bool, bool]] = {
            "error": (trusted, not right),
            "false_positive_rate": (judged and bool(right), not trusted),
        }
        for kind, (counts, wrong) in losses.items():
            self._count(kind, counts=counts, wrong=wrong)
            if counts:
                self._watch(one.source, kind, wrong=wrong)

    def _count(self, name: str, *, counts: bool, wrong: bool) -> None:
        if counts:
            self._shares[name][0] += wrong
            self._shares[name][1] += 1

    def _watch(self, source: str, kind: Kind, *, wrong: bool) -> None:
        for number, (promise, detector) in enumerate(zip(self._terms.promises, self._detectors, strict=True)):
            if promise.kind != kind:
                continue
            log_r = detector.after(self._log_r[number], wrong)
            if detector.alarms(log_r):
                self._raised[number].append(source)
                log_r = detector.fresh()
            self._log_r[number] = log_r

    def made(self, drawn: int) -> Account:
        error, rejected, local, remote = (self._estimate(name) for name in self._shares)
        alarms = tuple(
            Alarm(promise, float(detector.level(log_r)), tuple(raised))
            for promise, detector, log_r, raised in zip(
                self._terms.promises, self._detectors, self._log_r, self._raised, strict=True
            )
        )
        return Account(
            drawn=drawn,
            labelled=self.labelled,
            evidence=self.evidence,
            outstanding=self.outstanding,
            disputed=self.disputed,
            seen_once=self.seen_once,
            late=self.late,
            missing=self.missing,
            error=error,
            false_positive_rate=rejected,
            local_error=local,
            remote_error_where_asked=remote,
            alarms=alarms,
        )

    def _estimate(self, name: str) -> Estimate:
        wrong, labels = self._shares[name]
        return Estimate(wrong, labels, *interval(wrong, labels, self._terms.alpha))
