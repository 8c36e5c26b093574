"""Counts of the committed outcomes of one agent, for the page and the metrics.

Outcomes that were rolled back or discarded are not counted, so the counts are those of the output topics.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...agents.clock import wall_ms
from ...agents.histogram import Histogram, between
from ...schemas.budget import NANO
from ...schemas.errors import REJECTED
from ...schemas.records import Facts, Outgoing, Result

#: fallback records that are kept
LAST_FALLBACKS = 50
#: bytes of a fallback record's value that are kept: enough for a small picture
VALUE_BYTES = 64 * 1024
#: bounds of the latency histogram as the metrics show it, seconds
LATENCY_S = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
)  # fmt: skip
#: those in which latencies are counted: the page shows percentiles of a few records
_FINE_S = between((0.001, *LATENCY_S, 86_400.0), 1.2)


class Fallback(NamedTuple):
    """A fallback record as it is kept."""

    at_ms: float  #: when its transaction was committed, milliseconds since epoch
    facts: Facts  #: from its header
    value: bytes  #: the first `VALUE_BYTES` of its value
    value_bytes: int  #: length of the whole value

    def as_document(self) -> dict[str, Any]:
        """The record as a document; `value` stays bytes."""
        rest = {"value": self.value, "value_bytes": self.value_bytes, "source": str(self.facts.source)}
        return {"at_ms": self.at_ms, "detail": "", **msgspec.to_builtins(self.facts), **rest}


class Observation:
    """Counts what one agent has committed.

    Latency is from the request's timestamp to the commit of its last outcome, in `results` or `fallback`.
    """

    def __init__(self, agent: str, now_ms: Callable[[], float] = wall_ms) -> None:
        self.agent = agent
        self._now_ms = now_ms
        self._routes: Counter[str] = Counter()
        self._answered_by: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._untrusted = 0
        self._cost_nano = 0  # whole numbers: a sum of decimal fractions drifts
        self._shadows: Counter[str] = Counter()
        self._calls = 0
        self._asked = 0
        self._latency = {kind: Histogram(_FINE_S) for kind in ("local", "remote", "fallback")}
        self._fallbacks: deque[Fallback] = deque(maxlen=LAST_FALLBACKS)
        self._last_ms: float | None = None

    def __repr__(self) -> str:
        return f"<Observation {self.agent} {dict(self._routes)}>"

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        """Count the outcomes of a committed transaction. It is called once per transaction, so it counts in bulk."""
        if not outcomes:
            return
        now_ms = self._last_ms = self._now_ms()
        routes = Counter([outcome.to for outcome in outcomes])
        self._routes.update(routes)
        if routes["results"]:
            self._count_results([outcome for outcome in outcomes if outcome.to == "results"], now_ms)
        if routes["fallback"]:
            self._count_fallbacks([outcome for outcome in outcomes if outcome.to == "fallback"], now_ms)
        if self.agent in ("remote", "shadow"):
            self._count_calls(outcomes)
        if self.agent == "shadow":
            known = [outcome.about for outcome in outcomes if isinstance(outcome.about, Facts)]
            self._shadows.update([facts.reason or "" for facts in known])

    def _count_results(self, outcomes: Sequence[Outgoing], now_ms: float) -> None:
        results = [outcome.about for outcome in outcomes if isinstance(outcome.about, Result)]
        answered_by = Counter([result.answered_by for result in results])
        self._answered_by.update(answered_by)
        self._untrusted += len(results) - sum([result.trusted for result in results])
        if len(answered_by) == 1:
            self._latency[next(iter(answered_by))].observe_all(_ages_s(outcomes, now_ms))
            return
        for kind in answered_by:
            those = [o for o in outcomes if isinstance(o.about, Result) and o.about.answered_by == kind]
            self._latency[kind].observe_all(_ages_s(those, now_ms))

    def _count_fallbacks(self, outcomes: Sequence[Outgoing], now_ms: float) -> None:
        facts = [outcome.about for outcome in outcomes if isinstance(outcome.about, Facts)]
        self._reasons.update([str(known.reason) for known in facts])
        self._latency["fallback"].observe_all(_ages_s(outcomes, now_ms))
        for outcome in outcomes[-LAST_FALLBACKS:]:
            if isinstance(outcome.about, Facts):
                value = outcome.value or b""
                self._fallbacks.append(Fallback(now_ms, outcome.about, value[:VALUE_BYTES], len(value)))

    def _count_calls(self, outcomes: Sequence[Outgoing]) -> None:
        """Count what was paid. Only the remote agent counts it: the agents after it pass the same verdict on."""
        for outcome in outcomes:
            about = outcome.about
            if isinstance(about, Facts) and about.remote is not None and about.remote.calls:
                self._asked += 1
                self._calls += about.remote.calls
                self._cost_nano += round(about.remote.cost * NANO)

    def snapshot(self) -> dict[str, Any]:
        """All counts.

        `routes`, `reasons`, `answered_by`: records by each; `trusted` and `rejected`: judgements of this agent's
        supervisor; `untrusted`: results that no supervisor trusts; `asked`: records that the remote was asked about;
        `calls` and `cost`: of these records, where a call about several inputs counts for each; `shadows`: trusted
        requests that the remote was asked about as well, by the reason where it has said nothing, else ''; `latency`:
        `Buckets` by answering model, or `fallback`; `fallbacks`: the last ones, the newest first; `last_ms`: of the
        last commit.
        """
        return {
            "agent": self.agent,
            "routes": dict(self._routes),
            "reasons": dict(self._reasons),
            "answered_by": dict(self._answered_by),
            "trusted": self._routes["results"] - self._untrusted,
            "rejected": self._rejected,
            "untrusted": self._untrusted,
            "asked": self._asked,
            "calls": self._calls,
            "cost": self._cost_nano / NANO,
            "shadows": dict(self._shadows),
            "latency": {kind: histogram.snapshot() for kind, histogram in self._latency.items()},
            "fallbacks": [fallback.as_document() for fallback in reversed(self._fallbacks)],
            "last_ms": self._last_ms,
        }

    @property
    def _rejected(self) -> int:
        if self.agent == "local":
            return self._routes["doubtful"]
        return sum(self._reasons[reason] for reason in REJECTED)


def _ages_s(outcomes: Sequence[Outgoing], now_ms: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Seconds since the request of each outcome, at least 0: clocks differ."""
    stamps = np.array([outcome.timestamp for outcome in outcomes], np.float64)
    return np.maximum((now_ms - stamps) / 1000.0, 0.0)
