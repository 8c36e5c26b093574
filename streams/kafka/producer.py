"""Producers: how they are made and thrown away, and what they have no call for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeAlias

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import OutOfOrderSequenceNumber
from aiokafka.producer import sender

from .batches import Place
from .connection import Connection
from .last_transaction import Producer
from .refusals import hear_refusals

#: bytes of the largest record batch that a broker takes unless told otherwise (`message.max.bytes`)
DEFAULT_MESSAGE_BYTES = 1_048_588
#: seconds a producer that is thrown away may take to close its connections
DISCARD_S = 2.0
#: seconds until the client asks again whether its last transaction has ended, so that the next may begin. With its
#: own 20 ms a transaction at low load took 28 ms, with these 22; a broker has ended the last one within a few
_ENDED_YET_S = 0.003

#: what a transaction went over: who leads a partition that it wrote to, or a coordinator; each with its connection
Ties: TypeAlias = dict[Place | CoordinationType, object]


class TieBroken(OutOfOrderSequenceNumber):  # type: ignore[misc]  # aiokafka has no types
    """A connection of the last transaction is gone, and of the next one nothing was sent.

    It looks like an error that ends the sending task of the client for good, and without a traceback in the log.
    """


def idempotent_producer(connection: Connection, request_timeout_s: float, batch_bytes: int) -> AIOKafkaProducer:
    """One whose retries repeat nothing."""
    hear_refusals()
    return AIOKafkaProducer(
        **connection.options(),
        enable_idempotence=True,
        request_timeout_ms=int(request_timeout_s * 1000),
        max_batch_size=batch_bytes,
    )


def transactional_producer(
    connection: Connection, transactional_id: str, timeout_ms: int, request_timeout_s: float, batch_bytes: int
) -> AIOKafkaProducer:
    """One with transactions. `timeout_ms`: after which the broker aborts an open one."""
    hear_refusals()
    sender.BACKOFF_OVERRIDE = _ENDED_YET_S  # for all producers of the process: the client has no option
    return AIOKafkaProducer(
        **connection.options(),
        transactional_id=transactional_id,
        transaction_timeout_ms=timeout_ms,
        request_timeout_ms=int(request_timeout_s * 1000),
        max_batch_size=batch_bytes,
    )


def identity_of(producer: AIOKafkaProducer) -> Producer | None:
    """Who it is to the broker; None until that has let it in."""
    ours = producer._txn_manager  # noqa: SLF001  # no public call tells
    return Producer(ours.producer_id, ours.producer_epoch) if ours.has_pid() else None


def ties_of(producer: AIOKafkaProducer, keys: Iterable[Place | CoordinationType]) -> Ties:
    """The connection to each of these as it is now, another one after each loss; None while there is none."""
    return {key: _tie(producer, key) for key in keys}


def _tie(producer: AIOKafkaProducer, key: Place | CoordinationType) -> object:
    if isinstance(key, CoordinationType):
        node, group = producer._sender._coordinators.get(key), ConnectionGroup.COORDINATION  # noqa: SLF001  # nothing public tells
    else:
        node, group = producer.client.cluster.leader_for_partition(TopicPartition(*key)), ConnectionGroup.DEFAULT
    found = producer.client._conns.get((node, group))  # noqa: SLF001  # as above
    return found if found is not None and found.connected() else None


def before_it_begins(producer: AIOKafkaProducer, check: Callable[[], None]) -> None:
    """From now on, `check` is called before each request that may begin a transaction at the broker.

    Raising `TieBroken`, it ends the producer: it sends nothing more.
    """
    sending, state = producer._sender, producer._txn_manager  # noqa: SLF001  # the client has no hook
    next_request = sending._maybe_do_transactional_request  # noqa: SLF001  # as above

    def checked() -> object:
        if state.is_empty_transaction() and (state.partitions_to_add() or state.consumer_group_to_add()):
            check()
        return next_request()

    sending._maybe_do_transactional_request = checked  # noqa: SLF001  # as above


async def put_away(producer: AIOKafkaProducer) -> None:
    """Close it without an abort: it flushes, which may wait for a broker that is gone, and is cut off then."""
    with suppress(Exception):  # whatever a broken producer raises on its way out, it is thrown away
        async with asyncio.timeout(DISCARD_S):
            await producer.stop()
            return
    with suppress(Exception):
        task = producer._sender.sender_task  # noqa: SLF001  # no public call ends a sender that cannot flush
        if task is not None:
            task.cancel()
        await producer.client.close()
