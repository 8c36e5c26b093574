"""The records of the topic `trust`: the auditor's closings, each of which says what is known up to there.

A closing says which records of `audits` and `labels` are taken in, and the broker's time that decides what is late. All
else in it follows from these, from the closings before it, and from both topics: so it can be reckoned again.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .decoding import decoded

#: version of the structs below
VERSION = 1


def _version() -> int:
    return VERSION


class Share(msgspec.Struct, frozen=True):
    """A share of requests, with an interval that may be looked at any time."""

    wrong: int  #: of those that count, what the share is about
    labels: int  #: those that count
    lower: float  #: lower end of the interval, 0..1
    upper: float  #: upper end of the interval, 0..1

    @property
    def value(self) -> float | None:
        """The share, 0..1; None of nothing."""
        return self.wrong / self.labels if self.labels else None


#: before anything is known
NOTHING = Share(0, 0, 0.0, 1.0)


class PromiseTold(msgspec.Struct, frozen=True):
    """A rate that is promised."""

    kind: Literal["error", "false_positive_rate"]  #: of the trusted answers, wrong; of the right answers, rejected
    value: float  #: the rate, 0..1


class AlarmTold(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one promise stands."""

    promise: PromiseTold  #: what is promised
    level: float = 0.0  #: how near the alarm is: it is raised at 1
    raised: int = 0  #: how often it was raised; evidence began anew after each
    last: str = ""  #: the request whose label raised it last; '' while none did
    last_ms: int = 0  #: the broker's time of the closing that raised it last, milliseconds since epoch
    log_r: tuple[float | None, ...] = ()  #: evidence of each bet, as a logarithm; null before any label


class VersionTold(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known about the requests that one version of the thresholds judged."""

    version: str  #: of the thresholds
    drawn: int = 0  #: requests that were drawn and have ended
    wanted: int = 0  #: of these, those of which a label is wanted, and whose answers are here
    missing: int = 0  #: drawn, and too large to carry, so that their answers are not here
    unshadowed: int = 0  #: trusted local answers of which the remote was to be asked all the same, and said nothing
    evidence: int = 0  #: labels that are taken in, in the order of the requests
    labelled: int = 0  #: requests with a decided label, those that are not taken in yet included
    outstanding: int = 0  #: without a decided label, and not late
    disputed: int = 0  #: of those, with votes that decide nothing
    late: int = 0  #: without a decided label when one was expected
    labels_late: bool = False  #: so many are late that what is labelled may not stand for all
    error: Share = NOTHING  #: wrong among the trusted
    false_positive_rate: Share = NOTHING  #: rejected among those with a right answer
    local_error: Share = NOTHING  #: wrong answers of the local model alone
    remote_error: Share = NOTHING  #: wrong answers of the remote alone, where it was asked
    remote_unasked: int = 0  #: evidence without an answer of the remote: at 0, `remote_error` is about all requests
    doubtful: Share = NOTHING  #: early word, without labels: answers of the local model that were not trusted
    disagreement: Share = NOTHING  #: early word, without labels: of those that both models answered, differing ones
    alarms: tuple[AlarmTold, ...] = ()  #: one for each promise that is known of these thresholds
    open_from: dict[str, int] = {}  #: by partition of `audits`, the first request that waits for a label


class LadderTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rungs that there are, and what evidence for another one is about."""

    digest: str  #: of the thresholds file whose rungs these are
    version: str  #: of that file, in force before any other
    start: int  #: rung of that version, counted from 1, the laxest
    rungs: tuple[tuple[float, float], ...]  #: first and second threshold of each, from lax to strict
    model: str  #: local model that the file was made for; '' for any
    score: str  #: digest of all that makes the scores
    promise: float  #: error among the trusted answers that is promised, 0..1
    delta: float  #: probability that a rung is certified although its error is above
    tightens: bool = False  #: what the evidence says is done


class LadderTold(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the ladder stands."""

    version: str  #: of the thresholds, in force
    rung: int  #: counted from 1, the laxest
    taken: int = 0  #: of `thresholds`, the offset of the next record
    pinned: bool = False  #: a person pins the rung
    requests: int = 0  #: taken in since evidence began anew
    against: float = 0.0  #: evidence against the promise at this rung; `labels_to_false_alarm` is the alarm
    says: Literal["", "tighten", "loosen"] = ""  #: what the evidence said in this closing
    to: int = 0  #: the rung that it said
    why: str = ""  #: in words
    chose: str = ""  #: version that was written to `thresholds` in the transaction of this closing; '' for none
    cheaper: int = 0  #: rung by which the remote could be asked less at the same promise; 0 where none is known
    calls: float | None = None  #: share of the requests that this rung asks the remote about
    cheaper_calls: float | None = None  #: the same of that one
    open_from: dict[str, int] = {}  #: by partition of `audits`, the first request that waits
    raised: bool = False  #: more requests are drawn by the version in force
    raised_ms: int = 0  #: when that last began, milliseconds since epoch; 0 for never
    raised_labels: int = 0  #: labels that were wanted since for that alone
    state: dict[str, Any] | None = None  #: all that the ladder knows, where the closing is whole


class AlarmShareTold(msgspec.Struct, frozen=True):
    """How many more requests are drawn after an alarm, and for how long."""

    share: float  #: of all requests, 0..1
    within_ms: int  #: for so long at most
    labels: int  #: so many more labels are wanted in that time; a few seconds' worth may come on top


class TermsTold(msgspec.Struct, frozen=True, omit_defaults=True):
    """By which rules it was reckoned: the auditor's settings."""

    label_within_ms: int  #: after so long a missing label is late
    labels_to_false_alarm: float  #: on average, at least
    alpha: float  #: the intervals miss with this probability at most
    matches: str  #: when an answer is right: exact, normalised, or module:callable
    classes: tuple[Any, ...] = ()  #: the labels that there are; none where any may be right
    thresholds: tuple[str, ...] = ()  #: versions of the thresholds that make the promises
    promises: tuple[PromiseTold, ...] = ()  #: what these promise
    ladder: LadderTerms | None = None  #: the rungs of the thresholds file, where both answers of requests are audited
    alarm_share: AlarmShareTold | None = None  #: where more requests are drawn after an alarm


class Taken(msgspec.Struct, frozen=True):
    """A place in both topics."""

    audits: dict[str, int]  #: by partition, the offset of the next record
    labels: int  #: the offset of the next record


class Closing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a record in `trust`. Its key is the pipeline's name."""

    number: int  #: from 1; each follows the one before it
    pipeline: str  #: name of the pipeline
    at_ms: int  #: the broker's time that decides what is late, milliseconds since epoch
    taken: Taken  #: what is taken in: everything before it
    since: Taken  #: what is remembered: nothing before it is needed to go on from here
    digest: str  #: of all that is known here; who reckons it again finds the same
    versions: tuple[VersionTold, ...] = ()  #: those that changed; all of them where `whole`
    whole: bool = False  #: it stands for itself: all versions and the terms are told
    terms: TermsTold | None = None  #: where they changed, or it is whole
    ladder: LadderTold | None = None  #: how the ladder stands, where there is one
    votes: int = 0  #: records of `labels` that are votes
    unknown_sources: int = 0  #: votes about requests that were not drawn, or had been late too long: no evidence
    unknown_classes: int = 0  #: votes for a label that there is not: no evidence
    unjudged: int = 0  #: drawn requests that failed before any thresholds judged them
    replaced: int = 0  #: audits of a topic of requests that was made anew since
    unreadable: int = 0  #: records that are no audit or no vote
    foreign: int = 0  #: audits of other pipelines
    by: str = ""  #: which worker wrote it, for people
    why: str = ""  #: why it does not follow from the one before it; '' where it does
    v: int = msgspec.field(default_factory=_version)  #: version of this struct


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Closing)


def encode_closing(closing: Closing) -> bytes:
    """The value of a record of `trust`."""
    return _encoder.encode(closing)


def decode_closing(value: bytes) -> Closing:
    """The value of a record of `trust`. Raises `msgspec.DecodeError`, also for another version."""
    closing = decoded(_decoder, value)
    if closing.v != VERSION:
        raise msgspec.ValidationError(f"the closing is of version {closing.v}, and {VERSION} is read here")
    return closing
