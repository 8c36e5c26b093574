"""A share of audits that rises after alarms: intervals and alarms are what they are without it.

A part of `make audit-trust`. The error is just the promised one, so every alarm is a false one, and each raises the
share. Requests are drawn, taken in and closed by the functions that workers and the auditor call, and the auditor's
versions of the thresholds are in force from the next request on. Where it stands on the strictest rung with the usual
share, a person sets the laxest one again, so that alarms go on raising the share.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from bisupervised.agents.auditing.draw import Draw
from bisupervised.agents.auditing.ledger.ledger import Ledger, Rules
from bisupervised.agents.auditing.matching import exact
from bisupervised.agents.supervision.thresholds import Rung
from bisupervised.agents.terms import Ladder
from bisupervised.schemas.audits import Audit, Label, audit_record, encode_label
from bisupervised.schemas.closings import AlarmShareTold, LadderTerms, PromiseTold, Taken, TermsTold
from bisupervised.schemas.records import Facts, Source, Verdict
from bisupervised.schemas.versions import ThresholdsEntry, is_raised
from bisupervised.streams.auditor.choosing import chosen_of, entry_of
from bisupervised.streams.versions.entries import next_entry
from bisupervised.streams.versions.fold import fold

from scripts.logged import Logged

_PIPELINE, _TOPIC, _SECRET = "audited", "requests", b"only the fleet knows"
PROMISE, ALPHA, LABELS_TO_FALSE_ALARM = 0.1, 0.05, 200.0
#: of the requests: usually, and after an alarm
SHARES = (0.2, 0.6)
#: labels that a raise may want beside the usual ones, and requests that it lasts, at most
LABELS, WITHIN = 100, 1_000
#: of a stream, and between two closings
REQUESTS, CLOSING = 4_000, 25
_PAIRS = ((0.5, 0.5), (0.6, 0.6), (0.7, 0.7))
_RUNGS = tuple(Rung(*pair, PROMISE, None, None, None) for pair in _PAIRS)
#: all requests are trusted at every rung
_SCORE = 0.9
#: what the mean may be off by, in its own standard errors
_SIGMAS = 4.0


@dataclass(slots=True)
class Raised:
    """What many streams showed."""

    streams: int = 0
    versions: int = 0  #: of the thresholds, in all streams
    raised: int = 0  #: of these, by which more requests were drawn
    missed: int = 0  #: of all, whose interval ever missed the true rate
    alarms: int = 0
    #: labels and wrong ones by the share that drew them: usual, raised
    labels: list[int] = field(default_factory=lambda: [0, 0])
    wrong: list[int] = field(default_factory=lambda: [0, 0])
    most: int = 0  #: labels that a raise wanted beside the usual ones, at most

    def faults(self) -> list[str]:
        """The promises that are broken, or are not put to the test."""
        found = []
        if self.missed > ALPHA * self.versions:
            found.append(f"the interval misses for {self.missed / self.versions:.1%} of the versions")
        if self.per_false_alarm > 1.0:
            found.append(f"{self.per_false_alarm:.2f} false alarms per {LABELS_TO_FALSE_ALARM:g} labels")
        for name, labels, wrong in zip(("usual", "raised"), self.labels, self.wrong, strict=True):
            error = (PROMISE * (1.0 - PROMISE) / max(1, labels)) ** 0.5
            if not labels or abs(wrong / labels - PROMISE) > _SIGMAS * error:
                found.append(
                    f"with the {name} share {wrong:,} of {labels:,} labels are wrong, and {PROMISE:.0%} is true"
                )
        if self.most > LABELS + CLOSING:
            found.append(
                f"a raise has wanted {self.most:,} labels more, and may want {LABELS:,} and those of a closing"
            )
        return found

    @property
    def per_false_alarm(self) -> float:
        """False alarms per so many labels as are asked for between two."""
        return self.alarms * LABELS_TO_FALSE_ALARM / max(1, sum(self.labels))


def raises(streams: int, seed: int) -> Raised:
    """Play so many streams."""
    found = Raised()
    for number in range(streams):
        _Stream(np.random.default_rng((seed, number)), b"%d %d" % (seed, number)).play(found)
    return found


class _Stream:
    """One stream, its topics, its auditor."""

    def __init__(self, rng: np.random.Generator, secret: bytes) -> None:
        rungs = LadderTerms("file", "made", 1, _PAIRS, "", "", PROMISE, 0.1, tightens=True)
        terms = TermsTold(
            label_within_ms=10 * REQUESTS,
            labels_to_false_alarm=LABELS_TO_FALSE_ALARM,
            alpha=ALPHA,
            matches="exact",
            thresholds=("made",),
            promises=(PromiseTold("error", PROMISE),),
            ladder=rungs,
            alarm_share=AlarmShareTold(SHARES[1], WITHIN, LABELS),
        )
        self._rules = Rules(terms, exact)
        self._ladder = Ladder("file", "made", 1, _RUNGS, "", "")
        self._rng = rng
        self._draws = [Draw(share, _SECRET + secret, _PIPELINE, share) for share in SHARES]
        self._ledger = Ledger(_PIPELINE, self._rules, Taken({"0": 0}, 0))
        self._versions: list[ThresholdsEntry] = []
        self._audits = self._labels = 0
        self._in_force = "made"
        self._missed: set[str] = set()

    def play(self, found: Raised) -> None:
        """Add what it shows."""
        for offset in range(REQUESTS):
            self._ends(offset, found)
            if offset % CLOSING == CLOSING - 1:
                self._close(offset, found)
        told = self._ledger.told()
        found.streams += 1
        found.versions += len(told)
        found.raised += sum(is_raised(one.version) for one in told)
        found.missed += len(self._missed)

    def _ends(self, offset: int, found: Raised) -> None:
        raised = is_raised(self._in_force)
        draw = self._draws[raised]
        if offset not in draw.drawn(_TOPIC, 0, offset, offset):
            return
        wrong = bool(self._rng.random() < PROMISE)
        found.labels[raised] += 1
        found.wrong[raised] += wrong
        said = Verdict(int(wrong), _SCORE, trusted=True)
        facts = Facts(Source(_TOPIC, 0, offset), local=said, remote=said, thresholds=self._in_force)
        extra = raised and not self._draws[0].wants_label(_TOPIC, 0, offset)
        audit = Audit(_PIPELINE, "trusted", draw.share, "local", shadow_share=draw.share, extra=extra)
        made = audit_record(Logged(_TOPIC, offset, offset, b"1"), facts, audit)
        self._ledger.take_audit(Logged("audits", self._audits, offset + 1, made.value, made.headers))
        vote = encode_label(Label(str(facts.source), 0, "ann"))
        self._ledger.take_label(Logged("labels", self._labels, offset + 1, vote))
        self._audits, self._labels = self._audits + 1, self._labels + 1

    def _close(self, offset: int, found: Raised) -> None:
        taken, entries = Taken({"0": self._audits}, self._labels), list(self._versions)
        chosen = chosen_of(entries, len(entries), _PIPELINE, self._rules)
        self._ledger.close(taken, offset + 2, self._rules, chosen)
        entry = entry_of(self._ledger, entries)
        told = self._ledger.closing(1)
        if told.ladder is not None:
            found.alarms += told.ladder.says == "tighten"
            found.most = max(found.most, told.ladder.raised_labels)
        self._missed |= {one.version for one in told.versions if not one.error.lower <= PROMISE <= one.error.upper}
        self._versions += [entry] if entry is not None else []
        self._go_on(offset)

    def _go_on(self, offset: int) -> None:
        standing = fold(self._versions, _PIPELINE, self._ladder)
        if standing.rung == len(_PAIRS) and not is_raised(standing.version):
            self._versions.append(next_entry(standing, _PIPELINE, self._ladder, 1, "set", by="ann", at_ms=offset + 2))
        self._in_force = fold(self._versions, _PIPELINE, self._ladder).version


def as_markdown(made: Raised) -> str:
    """The table of the page."""
    usual, raised = (wrong / max(1, labels) for wrong, labels in zip(made.wrong, made.labels, strict=True))
    figures = {
        "streams": f"{made.streams:,}",
        "versions, of these with a raised share": f"{made.versions:,}, {made.raised:,}",
        "true error": f"{PROMISE:.1%}",
        "drawn by the usual share: labels, wrong": f"{made.labels[0]:,}, {usual:.2%}",
        "by the raised share": f"{made.labels[1]:,}, {raised:.2%}",
        "interval of a version ever misses": f"{made.missed / max(1, made.versions):.1%}",
        f"false alarms per {LABELS_TO_FALSE_ALARM:g} labels": f"{made.per_false_alarm:.2f}",
        "labels that a raise wanted at most": f"{made.most} of {LABELS}",
    }
    head, row = (f"| {' | '.join(cells)} |" for cells in (figures, figures.values()))
    return f"{head}\n{'|---' * len(figures)}|\n{row}"
