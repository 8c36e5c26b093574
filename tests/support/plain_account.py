"""What the labels of drawn requests say, reckoned from all records at once: what the ledger reckons step by step.

It is short and slow, and a test holds the ledger against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bisupervised.agents.auditing.detector import Detector
from bisupervised.agents.auditing.drawn import Drawn, Matches, Rights, judged
from bisupervised.agents.auditing.interval import interval
from bisupervised.agents.auditing.losses import Kind
from bisupervised.agents.auditing.votes import Ballot


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
    disputed: int  #: of those, with votes that decide nothing
    late: int  #: without a label when one was expected
    missing: int  #: drawn, and the record was too large to carry the answers
    error: Estimate  #: wrong among the trusted
    false_positive_rate: Estimate  #: rejected among those with a right answer
    local_error: Estimate  #: of the local model alone
    remote_error_where_asked: Estimate  #: of the remote, on what it was asked about: no sample of all requests
    alarms: tuple[Alarm, ...] = ()


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
            counts.disputed += ballot is not None and bool(ballot.by)
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
        self.disputed = 0

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
