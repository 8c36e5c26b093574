"""A step of the flow as it runs in this worker: its agent, the plane that serves it, and what is seen of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from ...agents.agents import Agent
from ..plane.plane import DataPlane
from ..plane.standing import End, Standing
from .ageing import Ageing, Nearing
from .held_back import HeldBack, Place, Wait
from .observation import Observation


class StepView(NamedTuple):
    """A step at one moment."""

    agent: str
    outcomes: Mapping[str, Any]  #: `Observation.snapshot`
    plane: Mapping[str, Any]  #: `DataPlane.statistics`
    standings: list[Standing]  #: every assigned partition
    ends: Mapping[Place, End]  #: where they end; of a moment ago
    told: Mapping[str, Any]  #: `Agent.statistics`
    measured: Mapping[str, Any]  #: `Agent.measurements`
    restarts: int  #: of the agent
    waits: Mapping[Place, Wait] = {}  #: where readers stand before an open transaction
    ageing: Ageing = Ageing()  #: how long its topic keeps what waits

    def lag(self, standing: Standing) -> int | None:
        """Records of this partition without a committed outcome, fetched or not; None until both ends are known.

        Offsets that hold no record (transaction markers, compaction) count until the consumer has passed them. Records
        of a transaction that is open count, and those behind it, which nobody can read before it ends.
        """
        end = self.ends.get((standing.topic, standing.partition))
        if end is None or standing.position is None:
            return None
        return standing.unfinished + max(0, end.high - standing.position)

    @property
    def waiting(self) -> int:
        """Records of all its partitions without a committed outcome, as far as their ends are known."""
        return sum(self.lag(standing) or 0 for standing in self.standings)

    def held_back(self, standing: Standing) -> int | None:
        """Those of `lag` that nobody can read yet, for an open transaction; None until the end is known."""
        end = self.ends.get((standing.topic, standing.partition))
        return None if end is None else end.high - end.readable


@dataclass(slots=True)
class RunningStep:
    """One agent and the plane that serves it."""

    plane: DataPlane
    agent: Agent
    observation: Observation
    restarts: Callable[[], int] = lambda: 0  #: of the agent
    ends: Mapping[Place, End] = field(default_factory=dict)  #: where its partitions ended when last asked
    held_back: HeldBack = field(default_factory=HeldBack)
    kept_ms: Callable[[], int | None] = lambda: None  #: for how long its topic keeps records; None for ever
    ageing: Ageing = field(default_factory=Ageing)
    near: frozenset[Place] = frozenset()  #: partitions of which it was told that they are near the end of the retention

    async def measure(self, clock: Callable[[], float]) -> dict[Place, Wait]:
        """Ask the broker where the partitions end. Returns where it is to be said that readers wait. Raises `Lost`."""
        self.ends = {(tp.topic, tp.partition): end for tp, end in (await self.plane.ends()).items()}
        return self.held_back.seen(self.ends, clock())

    async def look_ahead(self, now_ms: float) -> list[Nearing]:
        """See how long what waits is kept. Returns the partitions that have come near the end since. Raises `Lost`."""
        standings = self.plane.standings()
        ageing = Ageing(self.kept_ms())
        moment_ms, unread = ageing.near_ms(now_ms), self._unread(standings)
        if moment_ms is not None and unread:  # as while the agent takes nothing: the first record is not known
            old = await self.plane.unread_before(unread, moment_ms)
            ageing = replace(ageing, unread_ms={(tp.topic, tp.partition): moment_ms for tp in old})
        nearing, told, self.ageing = ageing.nearing(standings, now_ms), self.near, ageing
        self.near = frozenset((one.topic, one.partition) for one in nearing)
        return [one for one in nearing if (one.topic, one.partition) not in told]

    def _unread(self, standings: Sequence[Standing]) -> dict[TopicPartition, int]:
        """Partitions with records of which none is fetched, and the offset of the next."""
        found = {}
        for standing in standings:
            end = self.ends.get((standing.topic, standing.partition))
            at = standing.position
            if end is not None and at is not None and not standing.unfinished and at < end.readable:
                found[TopicPartition(standing.topic, standing.partition)] = at
        return found

    def view(self) -> StepView:
        """As it is now."""
        return StepView(
            self.plane.policy.name,
            self.observation.snapshot(),
            self.plane.statistics(),
            self.plane.standings(),
            self.ends,
            self.agent.statistics(),
            self.agent.measurements(),
            self.restarts(),
            self.held_back.waits,
            self.ageing,
        )
