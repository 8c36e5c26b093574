"""Feedback that comes back rather for wrong answers, and labels that take longer for them: neither moves the estimate.

A part of `make audit-trust`. In every stream users complain of 30 % of the wrong answers that were not drawn, and
praise 5 % of the right ones; and the labels of drawn requests take three days where the answer is wrong, and one where
it is right, half of that more or less. What the auditor's ledger says, closing once a day, is held beside two figures
that anybody would take: the share among all that came back, and the share among the labels that have come.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np
from bisupervised.agents.auditing.ledger.ledger import Ledger, Rules
from bisupervised.agents.auditing.matching import exact
from bisupervised.agents.supervision.evaluation import decide
from bisupervised.agents.supervision.recording import Recording
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.audits import Audit, Label, audit_record, encode_label
from bisupervised.schemas.closings import Share, Taken, TermsTold
from bisupervised.schemas.records import Facts, Source, Verdict
from numpy.typing import NDArray

from scripts.logged import Logged

_REQUESTS, _SHARE, _DAYS = 8_000, 0.05, 10
_REPORTED = {"wrong": 0.3, "right": 0.05}
_TAKES = {"wrong": 3.0, "right": 1.0}  #: days, 0.5 to 1.5 times as long
_MS_PER_DAY = 86_400_000
_ALPHA = 0.05
#: what the mean over all streams may be off by, in its own standard errors
_SIGMAS = 4.0
_TRUTH = 1  #: the right answer to every request; 0 is a wrong one
_PIPELINE = "bisupervised"
_RULES = Rules(TermsTold(7 * _MS_PER_DAY, 10_000.0, _ALPHA, "exact", thresholds=("medians",)), exact)


@dataclass(frozen=True, slots=True)
class Heard:
    """What many streams of one recorded case showed about the error among trusted answers."""

    case: str
    streams: int
    true: float
    audited: float  #: mean of what the audit says
    chance: float  #: standard error of that mean
    labels: float  #: that it rests on, mean
    missed: float  #: share of streams whose interval misses the true rate
    as_they_come: float  #: mean over the labels of drawn requests that have come
    all_feedback: float  #: mean over everything that has come back

    def faults(self) -> list[str]:
        """Where the feedback moves the estimate, or would move nothing, so that nothing is shown."""
        found = []
        # what is waited for is rather a wrong one, and the evidence ends before it: that is one label at most
        if abs(self.audited - self.true) > 1.0 / self.labels + _SIGMAS * self.chance:
            found.append(f"biased feedback moves the estimate from {self.true:.2%} to {self.audited:.2%}")
        if self.missed > _ALPHA:
            found.append(f"with biased feedback the interval misses in {self.missed:.1%}")
        if self.all_feedback < 1.2 * self.true or self.as_they_come > 0.98 * self.true:
            found.append("the feedback is not biased: nothing is shown")
        return found


@dataclass(frozen=True, slots=True)
class _Population:
    """What became of the recorded inputs, (n,) each."""

    by_local: NDArray[np.bool_]
    rejected: NDArray[np.bool_]
    wrong: NDArray[np.bool_]  #: the answer that was trusted, or that the second supervisor saw

    @classmethod
    def of(cls, recording: Recording) -> _Population:
        """Judged by the medians of both scores."""
        lines = [Supervisor("", float(np.median(side.scores))) for side in (recording.local, recording.remote)]
        made = decide(recording, *lines)
        right = np.where(made.by_local, recording.local.correct, recording.remote.correct)
        return cls(made.by_local, made.rejected, ~right)

    @property
    def error(self) -> float:
        """Share of wrong ones among the trusted."""
        return float(self.wrong[~self.rejected].mean())

    def ended(self, number: int, row: int, at_ms: int, offset: int) -> Logged:
        """The record of a request that is like this row, and ended at this time."""
        local, rejected, right = bool(self.by_local[row]), bool(self.rejected[row]), not self.wrong[row]
        answer = Verdict(_TRUTH if right else 1 - _TRUTH, 1.0, trusted=not rejected)
        facts = Facts(
            Source("requests", 0, number),
            local=answer if local else None,
            remote=None if local else answer,
            thresholds="medians",
        )
        by: Literal["local", "remote"] = "local" if local else "remote"
        said = Audit(_PIPELINE, "rejected" if rejected else "trusted", _SHARE, None if rejected else by)
        made = audit_record(Logged("requests", number, at_ms, b"1"), facts, said)
        return Logged("audits", offset, at_ms, made.value, made.headers)


def heard(case: str, recording: Recording, streams: int, seed: int) -> Heard:
    """Play so many streams of a recorded case."""
    population, rng = _Population.of(recording), np.random.default_rng(seed)
    said, lower, upper, labels, came, back = np.array([_stream(population, rng) for _ in range(streams)]).T
    true = population.error
    return Heard(
        case,
        streams,
        true,
        float(said.mean()),
        float(said.std(ddof=1)) / math.sqrt(streams),
        float(labels.mean()),
        float(((true < lower) | (true > upper)).mean()),
        float(came.mean()),
        float(back.mean()),
    )


def _stream(population: _Population, rng: np.random.Generator) -> tuple[float, ...]:
    """What the audit says of one stream, the ends of its interval, its labels, and both other shares."""
    rows = rng.integers(len(population.wrong), size=_REQUESTS)
    wrong, trusted = population.wrong[rows], ~population.rejected[rows]
    drawn = rng.random(_REQUESTS) < _SHARE
    ended = np.arange(_REQUESTS) * (_DAYS / _REQUESTS)
    labelled = ended + np.where(wrong, _TAKES["wrong"], _TAKES["right"]) * rng.uniform(0.5, 1.5, _REQUESTS)
    reported = rng.random(_REQUESTS) < np.where(wrong, _REPORTED["wrong"], _REPORTED["right"])
    came = np.where(drawn, labelled <= _DAYS, reported & trusted)
    ended_ms, labelled_ms = (np.rint(np.minimum(days, _DAYS) * _MS_PER_DAY).astype(int) for days in (ended, labelled))
    audits = [
        population.ended(int(number), rows[number], int(ended_ms[number]), offset)
        for offset, number in enumerate(np.flatnonzero(drawn))
    ]
    numbers = np.flatnonzero(came)
    labels = [
        _label(int(number), int(labelled_ms[number]), offset)
        for offset, number in enumerate(numbers[np.argsort(labelled_ms[numbers], kind="stable")])
    ]
    error = _said(audits, labels)
    others = (wrong[trusted & came & drawn].mean(), wrong[trusted & came].mean())
    return error.value or 0.0, error.lower, error.upper, error.labels, *map(float, others)


def _label(number: int, at_ms: int, offset: int) -> Logged:
    """A vote about a request, drawn or not."""
    return Logged("labels", offset, at_ms, encode_label(Label(f"requests-0-{number}", _TRUTH, "somebody")))


def _said(audits: list[Logged], labels: list[Logged]) -> Share:
    """The error among trusted answers, after a closing at the end of each day."""
    ledger = Ledger(_PIPELINE, _RULES, Taken({"0": 0}, 0))
    for day in range(1, _DAYS + 1):
        read = ledger.taken
        taken = Taken({"0": _until(audits, day)}, _until(labels, day))
        for record in audits[read.audits["0"] : taken.audits["0"]]:
            ledger.take_audit(record)
        for record in labels[read.labels : taken.labels]:
            ledger.take_label(record)
        ledger.close(taken, day * _MS_PER_DAY, _RULES)
    (told,) = ledger.told()
    return told.error


def _until(records: list[Logged], day: int) -> int:
    """How many records there were when this day ended."""
    return bisect_right(records, day * _MS_PER_DAY, key=lambda record: record.timestamp)


def as_markdown(found: list[Heard]) -> str:
    """The table of the page."""
    lines = [
        "| recorded case | streams | true error | the audit says | from labels | its interval misses in "
        "| labels as they come say | all that came back says |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.case} | {one.streams:,} | {one.true:.2%} | {one.audited:.2%} | {one.labels:.0f} "
        f"| {one.missed:.1%} | {one.as_they_come:.1%} | {one.all_feedback:.1%} |"
        for one in found
    ]
    return "\n".join(lines)
