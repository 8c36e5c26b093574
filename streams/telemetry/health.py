"""Whether a worker is ready: its models are loaded, the broker answers, no partition stands still.

No I/O and no clock: callers pass `now`, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..plane.standing import Standing
from .held_back import SAID_AFTER_S, Place, Wait


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How long a silence may last before the worker is not ready."""

    stalled_s: float  #: seconds in which a partition with unfinished records must finish one
    silent_s: float = 20.0  #: seconds in which the broker must answer; it is asked every few seconds


@dataclass(slots=True)
class _Trace:
    """A partition, and when it last made progress."""

    sent: int
    moved_at: float
    standing: Standing


class Health:
    """Collects what is known about models, broker and partitions, and says why the worker is not ready."""

    def __init__(self, policy: HealthPolicy, agents: Iterable[str]) -> None:
        self._policy = policy
        self._loading = set(agents)
        self._heard: dict[str, float | None] = dict.fromkeys(agents)
        self._traces: dict[tuple[str, int], _Trace] = {}
        self._waits: Mapping[Place, Wait] = {}
        self._failed: str | None = None
        self._refusal = ""
        self._undecided = ""
        self._missing: Mapping[str, str] = {}
        self._troubles: list[str] = []

    def __repr__(self) -> str:
        return f"<Health loading={sorted(self._loading)} partitions={len(self._traces)} failed={self._failed}>"

    def loaded(self, agent: str) -> None:
        """The agent's model is loaded and has answered once. For an agent without a model it is called at once."""
        self._loading.discard(agent)

    def answered(self, agent: str, now: float) -> None:
        """The broker has answered the plane of this agent."""
        self._heard[agent] = now

    def waiting(self, waits: Mapping[Place, Wait]) -> None:
        """Where readers stand before an open transaction, since when on the clock."""
        self._waits = waits

    def refused(self, why: str) -> None:
        """The broker did not let our last connection in; '' where it did."""
        self._refusal = why

    def troubled(self, why: Iterable[str]) -> None:
        """Why an agent can answer nothing now; '' where it can."""
        self._troubles = [each for each in why if each]

    def undecided(self, why: str) -> None:
        """Nothing can be judged yet, for no version of the thresholds is known; '' once one is."""
        self._undecided = why

    def missing(self, topics: Mapping[str, str]) -> None:
        """By agent: the topic that it reads, where the broker has none of that name."""
        self._missing = topics

    def failed(self, reason: str) -> None:
        """A plane has failed, and the worker ends."""
        self._failed = reason

    def seen(self, standings: Iterable[Standing], now: float) -> None:
        """The standing of every assigned partition. A partition that is missing is no longer assigned."""
        self._traces = {(new.topic, new.partition): self._trace(new, now) for new in standings}

    def _trace(self, new: Standing, now: float) -> _Trace:
        old = self._traces.get((new.topic, new.partition))
        idle = new.state != "acquiring" and not new.unfinished
        if (
            old is None
            or idle
            or new.sent != old.sent
            or (old.standing.state == "acquiring") != (new.state == "acquiring")
        ):
            return _Trace(new.sent, now, new)
        return _Trace(old.sent, old.moved_at, new)

    @property
    def alive(self) -> bool:
        """False once a plane has failed, for then a new process is needed."""
        return self._failed is None

    def reasons(self, now: float) -> list[str]:
        """Why the worker is not ready; empty when it is."""
        found = [self._failed] if self._failed is not None else []
        found += [f"the broker does not let us in: {self._refusal}"] * bool(self._refusal)
        found += [f"the model of {agent} is not loaded yet" for agent in sorted(self._loading)]
        found += [self._undecided] if self._undecided else []
        found += self._troubles
        if not self._loading and not self._undecided:
            found += self._silence(now)
        found += [
            f"the broker has no topic {topic}, which {agent} reads, or does not show it: was it deleted?"
            for agent, topic in self._missing.items()
        ]
        found += [reason for trace in self._traces.values() for reason in self._stall(trace, now)]
        return found + [
            f"{topic}-{number} has {wait.records} records behind a transaction that somebody has had open for "
            f"{now - wait.since:.0f} s"
            for (topic, number), wait in self._waits.items()
            if now - wait.since > max(SAID_AFTER_S, self._policy.stalled_s)
        ]

    def _silence(self, now: float) -> list[str]:
        found = [f"the broker has not answered {agent} yet" for agent, at in self._heard.items() if at is None]
        silent = {agent: now - at for agent, at in self._heard.items() if at is not None}
        return found + [
            f"the broker has not answered {agent} for {seconds:.0f} s"
            for agent, seconds in silent.items()
            if seconds > self._policy.silent_s
        ]

    def _stall(self, trace: _Trace, now: float) -> list[str]:
        standing, seconds = trace.standing, now - trace.moved_at
        name = f"{standing.topic}-{standing.partition}"
        if standing.stopped is not None:
            return [f"{name} is stopped: {standing.stopped}"]
        if seconds <= self._policy.stalled_s:
            return []
        if standing.state == "acquiring":
            return [f"{name} could not be acquired for {seconds:.0f} s"]
        return [f"{name} has {standing.unfinished} unfinished records and has finished none for {seconds:.0f} s"]
