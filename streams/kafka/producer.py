"""Producers: how they are made and thrown away, and what they have no call for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.producer import sender

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


def coordinator_connection(producer: AIOKafkaProducer) -> object:
    """The connection to the transaction coordinator, another one after each loss; None while there is none."""
    node = producer._sender._coordinators.get(CoordinationType.TRANSACTION)  # noqa: SLF001  # nothing public tells
    found = producer.client._conns.get((node, ConnectionGroup.COORDINATION))  # noqa: SLF001  # as above
    return found if found is not None and found.connected() else None


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
