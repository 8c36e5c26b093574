"""Which partition of which topic an outcome goes to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from ....schemas.records import Outgoing, Route
from ...kafka.batches import Place
from ...kafka.producer import DEFAULT_MESSAGE_BYTES

log = logging.getLogger(__name__)


class Topics(Protocol):
    """Knows how many partitions topics have: a producer, or a `Coordination`."""

    async def partitions_for(self, topic: str) -> set[int]: ...


@dataclass(frozen=True, slots=True)
class Routing:
    """Keys to partitions, by how many partitions the topics had when somebody asked.

    A topic with as many partitions as the input keeps the record's partition, which keeps the order of its key
    whatever partitioner the user has, and costs nothing. Any other topic gets the partition that Kafka's own
    default partitioner would choose; records without a key are spread by the partition they came from.
    """

    source: int  #: partitions of the input
    outputs: Mapping[Route, int]  #: and of the topic of each route

    def partition(self, outcome: Outgoing, source_partition: int) -> int:
        """The output partition."""
        count = self.outputs[outcome.to]
        if count == self.source:
            return source_partition
        if outcome.key is None:
            return source_partition % count
        return hash_of_key(outcome.key) % count

    def places(self, outcomes: Iterable[Outgoing], topics: Mapping[Route, str], source_partition: int) -> list[Place]:
        """Topic and partition of each."""
        kept: dict[Route, Place] = {
            route: (topic, source_partition) for route, topic in topics.items() if self.outputs[route] == self.source
        }
        return [
            kept.get(outcome.to) or (topics[outcome.to], self.partition(outcome, source_partition))
            for outcome in outcomes
        ]

    def numbers(self, route: Route, source_partition: int) -> set[int]:
        """Every partition of a route that an outcome of this input partition can go to."""
        count = self.outputs[route]
        return {source_partition} if count == self.source else set(range(count))


class Router:
    """Routes to topics, and how their partitions are counted. One for all partitions of an input."""

    def __init__(
        self,
        topics: Mapping[Route, str],
        source: str,
        limits: Mapping[Route, int] | None = None,
        own_ms: Mapping[str, int] | None = None,
    ) -> None:
        """`source`: the topic that is read."""
        self.topics = topics
        self.limits = limits or dict.fromkeys(topics, DEFAULT_MESSAGE_BYTES)  #: bytes a topic accepts
        #: milliseconds for which a record of each topic, by its name, bears the time of its request
        self.own_ms = dict.fromkeys(topics.values(), 0) if own_ms is None else own_ms
        self._source = source
        self._used: list[Routing] = []  # a few: it grows when somebody adds partitions

    @property
    def limits_by_topic(self) -> dict[str, int]:
        """Bytes that each topic accepts, by its name."""
        return {topic: self.limits[route] for route, topic in self.topics.items()}

    async def learn(self, topics: Topics) -> Routing:
        """Ask how many partitions each topic has now, the input too: some may be added. Raises what `topics` raises."""
        asked = map(topics.partitions_for, (self._source, *self.topics.values()))
        source, *counted = map(len, await asyncio.gather(*asked))  # a client asks for all of them at once
        return Routing(source, dict(zip(self.topics, counted, strict=True)))

    def use(self, routing: Routing) -> Routing:
        """The same, from now on in use. Says so where the topics differ, once."""
        if routing not in self._used:
            self._used.append(routing)
            self._tell(routing)
        return routing

    def _tell(self, routing: Routing) -> None:
        differ = [
            f"{self.topics[route]} {count}" for route, count in routing.outputs.items() if count != routing.source
        ]
        if differ:
            text = (
                "%s has %d partitions, %s: outcomes for these go to the partition of their key's hash. To add "
                "partitions, see docs/sizing.md"
            )
            log.warning(text, self._source, routing.source, ", ".join(differ), extra={"action": "partitions_differ"})

    def reachable(self, routing: Routing, source_partition: int) -> list[TopicPartition]:
        """Every output partition that there is, and that an outcome of this input partition went to or can go to."""
        found = []
        for route, topic in self.topics.items():
            ever = set[int]().union(*(each.numbers(route, source_partition) for each in (routing, *self._used)))
            found += [TopicPartition(topic, number) for number in sorted(ever) if number < routing.outputs[route]]
        return found


@lru_cache(maxsize=65_536)
def hash_of_key(key: bytes) -> int:
    """By which Kafka's own default partitioner chooses a partition: the rest of its division by how many there are."""
    return int(murmur2(key)) & 0x7FFFFFFF
