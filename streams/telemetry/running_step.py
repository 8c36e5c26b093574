"""A step of the flow as it runs in this worker: its agent, the plane that serves it, and what is seen of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...agents.agents import Agent
from ..plane.plane import DataPlane
from ..plane.standing import Standing
from .observation import Observation


class StepView(NamedTuple):
    """A step at one moment."""

    agent: str
    outcomes: Mapping[str, Any]  #: `Observation.snapshot`
    plane: Mapping[str, Any]  #: `DataPlane.statistics`
    standings: list[Standing]  #: every assigned partition
    ends: Mapping[tuple[str, int], int]  #: where they end, topic and partition to offset; of a moment ago
    told: Mapping[str, Any]  #: `Agent.statistics`
    measured: Mapping[str, Any]  #: `Agent.measurements`
    restarts: int  #: of the agent

    def lag(self, standing: Standing) -> int | None:
        """Records of this partition without a committed outcome, fetched or not; None until both ends are known.

        Offsets that hold no record (transaction markers, compaction) count until the consumer has passed them.
        """
        end = self.ends.get((standing.topic, standing.partition))
        if end is None or standing.position is None:
            return None
        return standing.unfinished + max(0, end - standing.position)


@dataclass(slots=True)
class RunningStep:
    """One agent and the plane that serves it."""

    plane: DataPlane
    agent: Agent
    observation: Observation
    restarts: Callable[[], int] = lambda: 0  #: of the agent
    ends: Mapping[tuple[str, int], int] = field(default_factory=dict)  #: where its partitions ended when last asked

    async def measure(self) -> None:
        """Ask the broker where the partitions end. Raises `Lost`."""
        self.ends = {(tp.topic, tp.partition): offset for tp, offset in (await self.plane.ends()).items()}

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
        )
