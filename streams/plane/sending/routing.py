"""Which partition of which topic an outcome goes to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from ....schemas.records import Outgoing, Route
from ...kafka.producer import DEFAULT_MESSAGE_BYTES


class Topics(Protocol):
    """Knows how many partitions topics have: a producer, or a `Coordination`."""

    async def partitions_for(self, topic: str) -> set[int]: ...


class Router:
    """Routes to topics, keys to partitions.

    A topic with as many partitions as the input keeps the record's partition, which keeps the order of its key
    whatever partitioner the user has, and costs nothing. Any other topic gets the partition that Kafka's own
    default partitioner would choose; records without a key are spread by the partition they came from.
    """

    def __init__(
        self,
        topics: Mapping[Route, str],
        source_partitions: int,
        limits: Mapping[Route, int] | None = None,
        own_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.topics = topics
        self.limits = limits or dict.fromkeys(topics, DEFAULT_MESSAGE_BYTES)  #: bytes a topic accepts
        #: milliseconds for which a record of each topic, by its name, bears the time of its request
        self.own_ms = dict.fromkeys(topics.values(), 0) if own_ms is None else own_ms
        self._source_partitions = source_partitions
        self._partitions: dict[Route, int] = {}

    @property
    def limits_by_topic(self) -> dict[str, int]:
        """Bytes that each topic accepts, by its name."""
        return {topic: self.limits[route] for route, topic in self.topics.items()}

    async def learn(self, topics: Topics) -> None:
        """Ask how many partitions each topic has. Raises what `topics` raises."""
        for route, topic in self.topics.items():
            self._partitions[route] = len(await topics.partitions_for(topic))

    def partition(self, outcome: Outgoing, source_partition: int) -> int:
        """The output partition."""
        count = self._partitions[outcome.to]
        if count == self._source_partitions:
            return source_partition
        if outcome.key is None:
            return source_partition % count
        return hash_of_key(outcome.key) % count

    def reachable(self, source_partition: int) -> list[TopicPartition]:
        """Every output partition that an outcome of this input partition can go to."""
        found = []
        for route, topic in self.topics.items():
            count = self._partitions[route]
            numbers = [source_partition] if count == self._source_partitions else range(count)
            found += [TopicPartition(topic, number) for number in numbers]
        return found


@lru_cache(maxsize=65_536)
def hash_of_key(key: bytes) -> int:
    """By which Kafka's own default partitioner chooses a partition: the rest of its division by how many there are."""
    return int(murmur2(key)) & 0x7FFFFFFF
