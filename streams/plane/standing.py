"""What is told of a plane and its partitions: a snapshot, and counts that only grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from aiokafka import TopicPartition


def name_of(tp: TopicPartition) -> str:
    """A partition as people write it: `requests-0`."""
    return f"{tp.topic}-{tp.partition}"


class End(NamedTuple):
    """Where one partition ends, as the broker said a moment ago."""

    readable: int  #: for those who read what is committed: there they stand before an open transaction, or at the end
    high: int  #: for all: what lies in between waits for that transaction


class Standing(NamedTuple):
    """How one assigned partition stands at one moment."""

    topic: str
    partition: int
    state: Literal["acquiring", "running", "paused", "stopped"]
    stopped: str | None  #: why it cannot go on, None while it can
    position: int | None  #: next offset to fetch, None until acquired
    unfinished: int  #: records fetched and without a committed outcome
    oldest_ms: int | None  #: when the first of them was requested, milliseconds since epoch
    sent: int  #: outcomes committed by this owner
    #: timestamp of the first unfinished record, by which its topic deletes it, milliseconds since epoch
    stored_ms: int | None = None


@dataclass(slots=True)
class Counters:
    """What has happened on a plane since it started."""

    fetched: int = 0  #: records fetched
    batches: int = 0  #: batches handed to the agent
    sent: int = 0  #: records sent, of partitions released since
    transactions: int = 0  #: transactions committed, of partitions released since
    faults: int = 0  #: times the agent raised
    recoveries: int = 0  #: times a lost producer was opened again, of partitions released since
    discarded: int = 0  #: outcomes that came for a closed lease
    abandoned: int = 0  #: records in flight when a drain deadline passed
    rebalances: int = 0  #: times partitions were taken away
