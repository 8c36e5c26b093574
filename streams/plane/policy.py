"""Everything a plane needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..kafka.sender import OutboxPolicy
from .partition import PartitionPolicy


@dataclass(frozen=True, slots=True)
class PlanePolicy:
    """How one plane moves records."""

    name: str  #: the agent it serves
    topic: str  #: input topic
    outbox: OutboxPolicy  #: where and how to send
    partition: PartitionPolicy  #: bounds and pace of each partition
    delivery: Literal["exactly_once", "at_least_once"]
    start: Literal["earliest", "latest"]  #: where a group begins that has never committed
    batch_records: int  #: most records in a batch
    batch_wait_s: float  #: seconds the first record of a batch may wait for more
    fetch_records: int  #: most records in one fetch
    session_timeout_s: float  #: seconds without a heartbeat after which partitions are given away
    rebalance_timeout_s: float  #: seconds a member has to rejoin, draining included
    request_timeout_s: float  #: seconds for one request
