"""What a data plane asks of its agent, answered by an agent, its channel and what counts its outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ...agents.agents import Agent
from ...schemas.codec import requested_ms
from ...schemas.records import Facts, Incoming, Outgoing
from ..flow import Step
from ..plane.ports import Inbox, Substitute
from ..plane.sending.companions import Companions
from ..plane.sending.substitute import FallbackSubstitute
from ..telemetry.observation import Observation


class ServedAgent:
    """An `AgentPort`."""

    def __init__(
        self,
        agent: Agent,
        inbox: Inbox,
        step: Step,
        observation: Observation,
        auditing: Callable[[Callable[[Incoming], Facts]], Companions] | None = None,
        substitute: Substitute | None = None,
    ) -> None:
        """`auditing` makes what leaves with the outcomes, told what is known about a record of the step's topic.
        `substitute` speaks in the agent's place; where none is given, by fallback records.
        """
        self._agent = agent
        self._observation = observation
        self._facts_of = step.facts
        self._topic_ids: dict[int, str] = {}  # of the topic that each partition belongs to
        self.inbox = inbox
        self.substitute = substitute or FallbackSubstitute(step.agent, self._facts)
        self.companions = None if auditing is None else auditing(self._facts)
        self._wrote = step.wrote
        self.unreadable: Callable[[Incoming], str | None] | None = step.unreadable

    @property
    def hungry(self) -> bool:
        """More is to be fetched."""
        return self._agent.hungry

    @property
    def probing(self) -> bool:
        """What is fetched now only shows whether it can go on."""
        return self._agent.probing

    @property
    def appetite(self) -> int | None:
        """Most records that it wants at once."""
        return self._agent.appetite

    def wrote(self, record: Incoming) -> bool:
        """This record is an outcome of this agent, or of who comes after it."""
        return self._wrote(record)

    def reads(self, partition: int, topic_id: str) -> None:
        """Records of this partition come from now on."""
        self._topic_ids[partition] = topic_id
        self._agent.reads(partition, topic_id)

    def requested_ms(self, record: Incoming) -> int:
        """When the request was made that a record is about."""
        return requested_ms(record, self._facts_of(record))

    def _facts(self, record: Incoming) -> Facts:
        """What is known about a record of its topic; where that is no more than its place, of which topic."""
        facts = self._facts_of(record)
        if facts.topic_id or facts.source.topic != record.topic:
            return facts
        return msgspec.structs.replace(facts, topic_id=self._topic_ids.get(record.partition, ""))

    def leaves(self) -> None:
        """Partitions are about to go."""
        self._agent.leaves()

    def owns(self, owned: int, partitions: int) -> None:
        """So many partitions of how many in all are owned now."""
        self._agent.owns(owned, partitions)

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        """These outcomes left in one transaction."""
        self._observation.committed(outcomes)
