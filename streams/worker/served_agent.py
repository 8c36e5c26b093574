"""What a data plane asks of its agent, answered by an agent, its channel and what counts its outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...agents.agents import Agent
from ...schemas.records import Incoming, Outgoing
from ..flow import Step
from ..plane.ports import Inbox
from ..telemetry.observation import Observation
from .substitute import FallbackSubstitute


class ServedAgent:
    """An `AgentPort`."""

    def __init__(self, agent: Agent, inbox: Inbox, step: Step, observation: Observation) -> None:
        self._agent = agent
        self._observation = observation
        self.inbox = inbox
        self.substitute = FallbackSubstitute(step.agent, step.facts)
        self.unreadable: Callable[[Incoming], str | None] | None = step.unreadable

    @property
    def hungry(self) -> bool:
        """More is to be fetched."""
        return self._agent.hungry

    @property
    def appetite(self) -> int | None:
        """Most records that it wants at once."""
        return self._agent.appetite

    def leaves(self) -> None:
        """Partitions are about to go."""
        self._agent.leaves()

    def owns(self, owned: int, partitions: int) -> None:
        """So many partitions of how many in all are owned now."""
        self._agent.owns(owned, partitions)

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        """These outcomes left in one transaction."""
        self._observation.committed(outcomes)
