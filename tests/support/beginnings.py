"""How a pipeline begins on a cluster: after a death before the first commit, and in partitions that are added later."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer
from bisupervised.streams.flow import AGENTS
from bisupervised.streams.sandbox.cluster import COPIES, IN_SYNC
from support.pipeline import check_exactly_once, mixed, remote_and_pipeline

_BEFORE, _AFTER = 2, 4
_ROLES = ("requests", "doubtful", "answers", "results", "fallback")
_COPIES = {"replication_factor": COPIES, "min_insync_replicas": IN_SYNC}
_PATIENCE_S = 90.0


def beginnings(servers: str, folder: Path) -> dict[str, float]:
    """Seconds from the start of a worker, and from the new partitions, until each request has its one outcome."""
    with remote_and_pipeline(servers, folder, delay_s=0.02, partitions=_BEFORE, topics=_COPIES) as (_, pipeline):
        owned = f"{pipeline.group('local')}:{pipeline.topic('requests')}"
        for number in range(_BEFORE):
            asyncio.run(_open_and_die(servers, f"{owned}:{number}"))
        sent = pipeline.send(mixed(100))
        began = time.monotonic()
        worker = pipeline.worker()
        pipeline.wait_for_outcomes(sent, _PATIENCE_S)
        died = time.monotonic() - began
        worker.stop()

        # it sees within a second what others see within five minutes
        worker = pipeline.start(["support.impatient_worker", "worker", "--config", str(pipeline.config)])
        worker.wait_for("partition_acquired", len(AGENTS) * _BEFORE, _PATIENCE_S)
        began = time.monotonic()
        pipeline.grow(dict.fromkeys(_ROLES, _AFTER))
        pipeline.partitions = _AFTER  # of each topic that is read from here on
        sent += pipeline.send([record._replace(partition=n % _AFTER) for n, record in enumerate(mixed(200))])
        pipeline.wait_for_outcomes(sent, _PATIENCE_S)
        grown = time.monotonic() - began
        check_exactly_once(sent, pipeline.settle(sent))
    return {"a death between the first producer and the first commit": died, "partitions added while running": grown}


async def _open_and_die(servers: str, transactional_id: str) -> None:
    """As far as a first owner gets that dies before it has committed."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=transactional_id)
    await producer.start()
    await producer.stop()
