"""The Kafka clients of one plane: its consumer, its outboxes, and what knows committed progress."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from ..kafka.client import client_of
from ..kafka.consumer import Dealing, heartbeat_s
from ..kafka.records import fetch_lean
from ..kafka.requests import high_watermarks
from .policy import PlanePolicy
from .sending.coordinator import Coordinator
from .sending.outbox import AtLeastOnce, ExactlyOnce, Outbox
from .sending.routing import Router

#: milliseconds that a fetch may wait at the broker for records
FETCH_WAIT_MS = 500


class KafkaClients:
    """Makes the real ones. Nothing connects before it is started."""

    def __init__(self, policy: PlanePolicy, router: Router) -> None:
        self._policy = policy
        self._router = router
        self._consumer: AIOKafkaConsumer | None = None
        self.coordinator = Coordinator(policy.outbox.connection, policy.outbox.group)

    def make_consumer(self, dealing: Dealing) -> AIOKafkaConsumer:
        """The consumer of this plane; `dealing` gives partitions out. Called once, in a running event loop."""
        policy = self._policy
        fetch_lean(policy.partition.window.bytes)
        self._consumer = AIOKafkaConsumer(
            **policy.outbox.connection.options(),
            group_id=policy.outbox.group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=int(policy.session_timeout_s * 1000),
            heartbeat_interval_ms=int(heartbeat_s(policy.session_timeout_s) * 1000),
            rebalance_timeout_ms=int(policy.rebalance_timeout_s * 1000),
            request_timeout_ms=int(policy.request_timeout_s * 1000),
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_poll_records=policy.fetch_records,
            partition_assignment_strategy=(dealing,),
        )
        return self._consumer

    async def high_watermarks(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where these partitions end, with what is not committed yet. Raises `KafkaError`."""
        return await high_watermarks(client_of(self._consumer), places)

    def make_reader(self) -> AIOKafkaConsumer:
        """A consumer without a group, to look at outcomes."""
        return AIOKafkaConsumer(
            **self._policy.outbox.connection.options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=int(self._policy.request_timeout_s * 1000),
        )

    def make_outbox(self, tp: TopicPartition) -> Outbox:
        """An outbox for one partition. At least once, it commits through the consumer."""
        if self._policy.delivery == "exactly_once":
            return ExactlyOnce(self._policy.outbox, tp, self._router, self.coordinator)
        return AtLeastOnce(self._policy.outbox, tp, self._router, self._consumer)
