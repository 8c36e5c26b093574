"""What the clients say of things that are not allowed, and what is made of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidTxnState,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.errors import Lost, NotAllowed, denial
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.outbox import ExactlyOnce
from bisupervised.streams.plane.sending.routing import Router
from bisupervised.streams.plane.window.marks import Progress
from support.coordination import NewGroup
from support.records import record_batch


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TopicAuthorizationFailedError("results"), ("Write", "topic", "results")),
        (TopicAuthorizationFailedError({"results"}), ("Write", "topic", "results")),
        (TopicAuthorizationFailedError("requests"), ("Read", "topic", "requests")),
        (TopicAuthorizationFailedError(), ("Read", "topic", "requests")),
        (GroupAuthorizationFailedError("shop-local"), ("Read", "group", "shop-local")),
        (GroupAuthorizationFailedError(), ("Read", "group", "ours")),
        (TransactionalIdAuthorizationFailed("shop-local:in:0"), ("Write", "transactional-id", "shop-local:in:0")),
        (ClusterAuthorizationFailedError(), ("IdempotentWrite", "cluster", "kafka-cluster")),
    ],
)
def test_it_says_what_to_grant(error: KafkaError, told: tuple[str, str, str]) -> None:
    found = denial(error, reads="requests", group="ours")
    assert found is not None
    assert (found.operation, found.resource, found.name) == told
    assert str(found).startswith(f"the broker does not allow {told[0]} on the {told[1]} {told[2]!r}")
    assert "bisupervised topics acls" in str(found)


def test_who_writes_one_topic_alone_needs_that() -> None:
    found = denial(ClusterAuthorizationFailedError(), writes="budget")
    assert found is not None
    assert (found.operation, found.name) == ("Write", "budget")


def test_what_it_was_raised_from_is_looked_at() -> None:
    """The client's sender wraps what it did not expect."""
    error = KafkaError("Unexpected error during batch delivery")
    error.__cause__ = TopicAuthorizationFailedError()
    found = denial(error, reads="requests")
    assert found is not None
    assert found.name == "requests"


def test_other_errors_are_about_something_else() -> None:
    assert denial(KafkaError("gone")) is None


class RefusingProducer:
    """Its transaction fails for two topics: as the client does, the one that is not allowed spoils the other."""

    def __init__(self, errors: dict[str, KafkaError]) -> None:
        self._errors = errors
        self.commits = 0
        self._sender = SimpleNamespace(_coordinators={}, _maybe_do_transactional_request=lambda: None)
        self._txn_manager = SimpleNamespace(
            has_pid=lambda: False, is_empty_transaction=lambda: True, partitions_to_add=list, consumer_group_to_add=list
        )
        connection = SimpleNamespace(connected=lambda: True)
        connections = SimpleNamespace(get=lambda _node: connection)
        self.client = SimpleNamespace(
            _conns=connections, cluster=SimpleNamespace(leader_for_partition=lambda _place: None)
        )

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def begin_transaction(self) -> None: ...

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> Any:
        return record_batch()

    async def send_batch(self, _batch: object, topic: str, *, partition: int) -> asyncio.Future[None]:
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ack.set_exception(self._errors[topic])
        return ack

    async def send_offsets_to_transaction(self, _offsets: object, _group: str) -> None:
        self.commits += 1

    commit_transaction = begin_transaction


async def sent(errors: dict[str, KafkaError]) -> None:
    policy = OutboxPolicy(Connection("nowhere:1"), "shop-local", 15.0, 10.0, 30.0)
    router, coordinator = Router({"results": "out", "fallback": "left"}, "requests"), NewGroup()
    outbox = ExactlyOnce(policy, TopicPartition("in", 0), router, coordinator)
    outbox.sender._make_producer = lambda: RefusingProducer(errors)  # type: ignore[method-assign]  # a played one
    await outbox.open()
    try:
        outcomes = [Outgoing("results", None, b"1", (), 0), Outgoing("fallback", None, b"2", (), 0)]
        await outbox.send(outcomes, Progress(2))
    finally:
        await outbox.close()


async def test_what_is_not_allowed_is_told_and_not_what_it_spoils() -> None:
    with pytest.raises(NotAllowed, match="Write on the topic 'left'"):
        await sent({"out": InvalidTxnState(), "left": TopicAuthorizationFailedError("left")})


async def test_what_is_lost_may_be_tried_again() -> None:
    with pytest.raises(Lost):
        await sent({"out": InvalidTxnState(), "left": InvalidTxnState()})
