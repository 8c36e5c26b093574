"""The broker of the benchmarks: the embedded one, warmed up as if it had been in service for long.

A broker that has just started takes twice as long for everything, because its code is still being compiled, on the
cores that the measured processes need. Therefore it gets work first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bisupervised.streams.sandbox.broker import Broker
from rich.console import Console

from . import topics

#: seconds of work after which the broker gets no faster
_WARM_UP_S = 60.0
_PARTITIONS = 4
_NAME = "warm-up"


@contextmanager
def in_service(say: Console, *, smoke: bool) -> Iterator[Broker]:
    """A broker that has warmed up; for a smoke run, one that has just started."""
    with Broker(lasting=not smoke) as broker:
        if not smoke:
            say.print(f"{_WARM_UP_S:g} s for the broker to warm up …")
            asyncio.run(_busy(broker.bootstrap_servers))
        yield broker


async def _busy(servers: str) -> None:
    """Give it work: small transactions and plain commits in every partition, one after the other, and reading them."""
    async with topics.admin(servers) as client:
        await topics.make(client, _PARTITIONS, _NAME)
    until = time.monotonic() + _WARM_UP_S
    writing = [_in_transactions(servers, number, until) for number in range(_PARTITIONS)]
    await asyncio.gather(_plainly(servers, until), *writing)
    async with topics.admin(servers) as client:
        await client.delete_topics([_NAME])


async def _in_transactions(servers: str, number: int, until: float) -> None:
    place = TopicPartition(_NAME, number)
    async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{_NAME}-{number}") as producer:
        sent = 0
        while time.monotonic() < until:
            async with producer.transaction():
                await producer.send_and_wait(_NAME, b"x" * 300, partition=number)
                sent += 1
                await producer.send_offsets_to_transaction({place: sent}, f"{_NAME}-{number}")


async def _plainly(servers: str, until: float) -> None:
    reader = AIOKafkaConsumer(
        _NAME,
        bootstrap_servers=servers,
        group_id=_NAME,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    async with reader, AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        while time.monotonic() < until:
            await producer.send_and_wait(_NAME, b"x" * 300, partition=0)
            await reader.getmany(timeout_ms=10)
            await reader.commit()
