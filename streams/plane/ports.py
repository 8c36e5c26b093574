"""What the parts of a plane ask of each other, and of who stands around it.

    AgentPort   what a plane asks of the agent that it serves
    PlanePort   what a partition asks of its plane
    Clients     the Kafka clients of a plane: its consumer, its outboxes, what knows committed progress

The worker gives a plane its agent and its clients (`worker/`); tests give it fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition

from ...schemas.records import Incoming, Outgoing
from ..kafka.consumer import Dealing
from .sending.companions import Companions
from .sending.coordinator import Coordination
from .sending.outbox import Outbox
from .window.batch import Batch
from .witness import Author


class Inbox(Protocol):
    """Where batches go. A full inbox says no."""

    def offer(self, batch: Batch) -> bool:
        """Take the batch and answer True, or leave it and answer False."""

    @property
    def full(self) -> bool:
        """True when `offer` would say no."""

    on_taken: Callable[[], None]  #: called when the agent has taken a batch


class Substitute(Protocol):
    """Makes the fallback record for a record that no agent can answer, or that the broker refuses."""

    def failed(self, record: Incoming, detail: str) -> Outgoing:
        """After the last try: `model_error`."""

    def too_large(self, record: Incoming, detail: str) -> Outgoing:
        """For an outcome larger than its topic accepts: `too_large`, without the value."""

    def refused(self, record: Incoming, detail: str) -> Outgoing:
        """For an outcome the broker refuses for another cause: `invalid_request`."""


class AgentPort(Author, Protocol):
    """What a plane asks of the agent that it serves."""

    @property
    def inbox(self) -> Inbox:
        """Where its batches go."""

    @property
    def substitute(self) -> Substitute:
        """Who answers in its place."""

    @property
    def companions(self) -> Companions | None:
        """What leaves with its outcomes; None for nothing."""

    @property
    def hungry(self) -> bool:
        """More is to be fetched. False: partitions are paused, and the backlog stays in Kafka."""

    @property
    def probing(self) -> bool:
        """What it takes in now only shows whether it can go on: nobody is told that it does."""

    @property
    def appetite(self) -> int | None:
        """Most records that it wants at once; None for as many as the policy says."""

    @property
    def unreadable(self) -> Callable[[Incoming], str | None] | None:
        """Says why a record is another worker's to read, None where it is ours. None: all are ours."""

    def reads(self, partition: int, topic_id: str) -> None:
        """Records of this partition come from now on, of the topic with this id; '' where none is known."""

    def requested_ms(self, record: Incoming) -> int:
        """When the request was made that a record of its topic is about, milliseconds since epoch."""

    def leaves(self) -> None:
        """Partitions are about to go: what only waits may be given back."""

    def owns(self, owned: int, partitions: int) -> None:
        """So many partitions of how many in all are owned now."""

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        """These outcomes left in one transaction."""


class PlanePort(Protocol):
    """What a partition asks of its plane."""

    @property
    def skips_backlog(self) -> bool:
        """What was there when the group began is passed over."""

    async def worked_before(self, reachable: Sequence[TopicPartition]) -> bool:
        """Outcomes of this agent are in one of these partitions, or were. Raises `Lost`."""

    def acquired(self, tp: TopicPartition, topic_id: str) -> None:
        """It may be fetched from its position on. It belongs to the topic with this id."""

    def requested_ms(self, record: Incoming) -> int:
        """When the request was made that a record is about, milliseconds since epoch."""

    def unwanted(self, tp: TopicPartition) -> None:
        """Nothing more is to be fetched of it: it has stopped, or is being released."""

    def progressed(self) -> None:
        """Something is committed: more may be handed out."""

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        """These outcomes left in one transaction."""

    def failed(self, error: BaseException) -> None:
        """Its task raised what cannot be mended here."""


class Clients(Protocol):
    """The Kafka clients of one plane. Making one does no I/O."""

    @property
    def coordinator(self) -> Coordination:
        """Tells what the group has committed."""

    def make_consumer(self, dealing: Dealing) -> Any:  # noqa: ANN401  # AIOKafkaConsumer, which has no types
        """The consumer of this plane; `dealing` gives partitions out. Called once, in a running event loop."""

    async def high_watermarks(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where these partitions end, with what is not committed yet. Raises `KafkaError`."""

    def make_reader(self) -> Any:  # noqa: ANN401  # AIOKafkaConsumer, which has no types
        """A consumer without a group, to look at outcomes. Whoever makes it starts and stops it."""

    def make_outbox(self, tp: TopicPartition) -> Outbox:
        """An outbox for one partition. Called after `make_consumer`."""
