"""A coordinator that is played: of a group that has done nothing yet. Tests give it what theirs should tell."""

from __future__ import annotations

from collections.abc import Collection

from aiokafka import TopicPartition
from bisupervised.streams.kafka.last_transaction import LastTransaction, Reachable
from bisupervised.streams.kafka.requests import Bounds
from bisupervised.streams.plane.window.marks import Progress


class NewGroup:
    """Nothing is committed, no transaction was before; topics have one partition and no id."""

    async def progress(self, tp: TopicPartition) -> Progress | None:
        return None

    async def siblings(self, topic: str) -> dict[int, Progress]:
        return {}

    async def topic_id(self, topic: str) -> str:
        return ""

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    async def bounds(self, places: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        return dict.fromkeys(places, Bounds(0, 0))

    async def end_again(self, last: LastTransaction, reachable: Reachable) -> None: ...

    async def close(self) -> None: ...
