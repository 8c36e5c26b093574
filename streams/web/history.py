"""Rates and latencies of the last seconds, computed from counters. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

from ...agents.histogram import Buckets
from ..telemetry.monitor import WorkerView

#: seconds between two samples, and seconds that a rate is averaged over
TICK_S, RATE_S = 1.0, 5.0
#: seconds that the chart and the percentiles cover
CHART_S, LATENCY_S = 120, 60.0
#: the kinds of outcomes whose latencies are counted
KINDS = ("local", "remote", "fallback")


@dataclass(frozen=True, slots=True)
class Sample:
    """The counts at one moment."""

    now: float  #: seconds of a monotonic clock
    edges: Mapping[str, int]  #: records over each edge of the flow, such as `local_doubtful`
    outcomes: Mapping[str, int]  #: finished requests, by `KINDS`
    latency: Mapping[str, Buckets]  #: by `KINDS`; a kind without latencies is not there


def sample(view: WorkerView, now: float) -> Sample:
    """The sample of a view: what the agents have committed."""
    by_agent = {step.agent: step.outcomes for step in view.steps}
    latency = {kind: buckets for kind in KINDS if (buckets := _latency(by_agent, kind)) is not None}
    return Sample(now, edges(view), {kind: _ended(by_agent, kind) for kind in KINDS}, latency)


def edges(view: WorkerView) -> dict[str, int]:
    """Records over each edge of the flow, named `<agent>_<route>`; the edge into the local agent is `requests`."""
    found = {f"{step.agent}_{route}": n for step in view.steps for route, n in step.outcomes["routes"].items()}
    requests = [sum(step.outcomes["routes"].values()) for step in view.steps if step.agent == "local"]
    return found | {"requests": requests[0]} if requests else found


def _ended(by_agent: Mapping[str, Mapping[str, Any]], kind: str) -> int:
    key, name = ("routes", "fallback") if kind == "fallback" else ("answered_by", kind)
    return sum(outcomes[key].get(name, 0) for outcomes in by_agent.values())


def _latency(by_agent: Mapping[str, Mapping[str, Any]], kind: str) -> Buckets | None:
    """The latencies of all agents together."""
    found = [outcomes["latency"][kind] for outcomes in by_agent.values() if kind in outcomes["latency"]]
    return reduce(Buckets.plus, found) if found else None


class History:
    """Samples of the last two minutes."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=CHART_S + 1)

    def __repr__(self) -> str:
        return f"<History of {len(self._samples)} samples>"

    def add(self, new: Sample) -> None:
        """Add the newest sample."""
        self._samples.append(new)

    def rates(self) -> dict[str, float]:
        """Records per second over each edge."""
        if len(self._samples) < 2:
            return {}
        last, first = self._samples[-1], self._before(RATE_S)
        seconds = last.now - first.now
        return {edge: (n - first.edges.get(edge, 0)) / seconds for edge, n in last.edges.items()}

    def chart(self) -> list[list[float]]:
        """Finished requests per second, a column for each of `KINDS`, a row for each tick, the oldest first."""
        samples = list(self._samples)
        return [
            [round((new.outcomes[kind] - old.outcomes[kind]) / (new.now - old.now), 2) for kind in KINDS]
            for old, new in pairwise(samples)
        ]

    def percentiles(self) -> dict[str, dict[str, float | int | None]]:
        """The 50th, 95th and 99th percentile of the last minute's latencies in seconds, and their number."""
        if not self._samples:
            return {}
        last, first = self._samples[-1], self._before(LATENCY_S)
        return {kind: _percentiles(last.latency[kind].since(first.latency[kind])) for kind in last.latency}

    def _before(self, seconds: float) -> Sample:
        """The youngest sample that is at least so many seconds older than the last one, or else the oldest."""
        last = self._samples[-1].now
        old = [earlier for earlier in self._samples if last - earlier.now >= seconds - TICK_S / 2]
        return old[-1] if old else self._samples[0]


def _percentiles(buckets: Buckets) -> dict[str, float | int | None]:
    return {"count": buckets.count} | {f"p{q}": buckets.quantile(q / 100) for q in (50, 95, 99)}
