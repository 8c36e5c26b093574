"""A recording played as a stream of audited requests, many times over: what the alarm and the interval would say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...agents.auditing.detector import Detector
from ...agents.auditing.interval import log_evidence_against

#: labels that false alarms are told per
_PER = 10_000


@dataclass(frozen=True, slots=True)
class Phase:
    """What requests are like for a while."""

    wrong: NDArray[np.bool_]  #: (n,), of the inputs that are evidence about the promise: whether they speak against it
    evidence: float  #: share of all requests that is, 0..1
    by_local: float  #: share of all requests that the local model answers: a shadow of one is a further call

    @property
    def rate(self) -> float:
        """The true rate that is promised about, 0..1."""
        return int(self.wrong.sum()) / len(self.wrong)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the audit is set, and how long it is watched."""

    share: float  #: of the requests, audited: 0..1, above 0
    shadow_share: float = 0.0  #: of the requests, for which the remote is asked as well
    labels_to_false_alarm: float = 10_000.0
    alpha: float = 0.05  #: probability that the interval ever misses
    runs: int = 200  #: streams
    labels_before: int = 5_000  #: before the change
    labels_after: int = 20_000  #: most labels after it
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over many runs; None where so many runs never came so far."""

    median: float | None
    p90: float | None


@dataclass(frozen=True, slots=True)
class Simulated:
    """What many runs showed."""

    promise: float
    error_before: float  #: the true rate at first
    error_after: float | None  #: the true rate after the change; None without one
    false_alarms_per_10000_labels: float
    noticed_share: float | None  #: share of runs in which the alarm came after the change
    labels_to_notice: Spread | None  #: after the change
    requests_to_notice: Spread | None
    interval_missed_share: float  #: share of runs in which the interval missed at any time
    shadow_calls_share: float  #: further calls of the remote, as a share of the requests
    labels_share: float  #: labels that people give, as a share of the requests


class _Streams:
    """Many streams side by side, a label each at a time."""

    def __init__(self, detector: Detector, plan: Plan) -> None:
        self._detector, self._plan = detector, plan
        self._rng = np.random.default_rng(plan.seed)
        self._log_r = detector.fresh(plan.runs)
        self._wrong = np.zeros(plan.runs)
        self._labels = 0
        self._expected = 0.0  #: sum of the true rates so far
        self.missed = np.zeros(plan.runs, dtype=bool)

    def label(self, phase: Phase) -> NDArray[np.bool_]:
        """One more label in each. Returns which of them raise the alarm; in these, evidence begins anew."""
        wrong = phase.wrong[self._rng.integers(len(phase.wrong), size=self._plan.runs)]
        self._labels, self._expected = self._labels + 1, self._expected + phase.rate
        self._wrong += wrong
        against = log_evidence_against(self._expected / self._labels, self._wrong, self._labels)
        self.missed |= against >= -math.log(self._plan.alpha)
        self._log_r = self._detector.after(self._log_r, wrong)
        alarms = self._detector.alarms(self._log_r)
        self._log_r[alarms] = self._detector.fresh()
        return alarms

    def requests(self, labels: NDArray[np.float64], phase: Phase) -> NDArray[np.float64]:
        """Requests until so many labels were wanted: each request is evidence, and drawn, by itself."""
        drawn, came = self._plan.share * phase.evidence, np.isfinite(labels)
        requests = np.full(len(labels), math.inf)
        requests[came] = labels[came] + self._rng.negative_binomial(labels[came], drawn)
        return requests


def simulate(promise: float, before: Phase, after: Phase | None, plan: Plan) -> Simulated:
    """Play `plan.runs` streams through the alarm and the interval of the audit.

    Each has `labels_before` labels of the first phase, then, where there is one, labels of the second one until all
    have noticed, or `labels_after`. Raises `ValueError` for a promise that cannot be watched.
    """
    streams = _Streams(Detector(promise, plan.labels_to_false_alarm), plan)
    false_alarms = sum(int(streams.label(before).sum()) for _ in range(plan.labels_before))
    noticed = None if after is None else _until_noticed(streams, after, plan)
    labels = plan.labels_before * plan.runs
    return Simulated(
        promise=promise,
        error_before=before.rate,
        error_after=None if after is None else after.rate,
        false_alarms_per_10000_labels=false_alarms * _PER / labels if labels else 0.0,
        noticed_share=None if noticed is None else float(np.isfinite(noticed).mean()),
        labels_to_notice=None if noticed is None else _spread(noticed),
        requests_to_notice=None if noticed is None or after is None else _spread(streams.requests(noticed, after)),
        interval_missed_share=float(streams.missed.mean()),
        shadow_calls_share=plan.shadow_share * before.by_local,
        labels_share=plan.share * before.evidence,
    )


def _until_noticed(streams: _Streams, after: Phase, plan: Plan) -> NDArray[np.float64]:
    """Labels after the change until the alarm, (runs,); infinite where it did not come."""
    noticed = np.full(plan.runs, math.inf)
    for label in range(1, plan.labels_after + 1):
        alarms = streams.label(after)
        noticed[alarms & np.isinf(noticed)] = label
        if np.isfinite(noticed).all():
            break
    return noticed


def _spread(figures: NDArray[np.float64]) -> Spread:
    of = [float(np.quantile(figures, share, method="inverted_cdf")) for share in (0.5, 0.9)]
    median, p90 = (figure if math.isfinite(figure) else None for figure in of)
    return Spread(median, p90)
