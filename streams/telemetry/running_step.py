"""A step of the flow as it runs in this worker: its agent, the plane that serves it, and what is seen of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...agents.agents import Agent
from ..plane.plane import DataPlane
from ..plane.standing import End, Standing
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

    def lag(self, standing: Standing) -> int | None:
        """Records of this partition without a committed outcome, fetched or not; None until both ends are known.

        Offsets that hold no record (transaction markers, compaction) count until the consumer has passed them. Records
        of a transaction that is open count, and those behind it, which nobody can read before it ends.
        """
        end = self.ends.get((standing.topic, standing.partition))
        if end is None or standing.position is None:
            return None
        return standing.unfinished + max(0, end.high - standing.position)

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

    async def measure(self, clock: Callable[[], float]) -> dict[Place, Wait]:
        """Ask the broker where the partitions end. Returns where it is to be said that readers wait. Raises `Lost`."""
        self.ends = {(tp.topic, tp.partition): end for tp, end in (await self.plane.ends()).items()}
        return self.held_back.seen(self.ends, clock())

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
        )
