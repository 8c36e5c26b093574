"""The benchmark of many partitions, in seconds: that it runs and what it writes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.benchmarks import smoke
from support.records import record_batch

from benchmarks.worker import put, settings_for


@pytest.mark.long(20)
def test_it_measures_each_number_of_partitions_and_one_alone(tmp_path: Path) -> None:
    report, _ = smoke("partitions", tmp_path)
    costs = report["partition_costs"]
    assert [(cost["partitions"], cost["filled"]) for cost in costs] == [(4, 4), (8, 8), (4, 1)]
    for cost in costs:
        assert min(cost["owned_s"], cost["per_s"], cost["memory_mb"]) > 0, cost
        assert cost["connections"] > cost["partitions"], "each has a producer"


class Producer:
    """Notes which partitions are written to."""

    def __init__(self) -> None:
        self.written: dict[int, int] = {}

    def create_batch(self) -> Any:
        return record_batch()

    async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Future[None]:
        self.written[partition] = batch.record_count()
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ack.set_result(None)
        return ack


@pytest.mark.parametrize(("partitions", "written"), [(None, {0: 2, 1: 2, 2: 2, 3: 2}), (1, {0: 8})])
def test_a_backlog_lies_in_as_many_partitions_as_were_asked_for(
    partitions: int | None, written: dict[int, int], tmp_path: Path
) -> None:
    producer: Any = Producer()
    _, settings = settings_for("nowhere:9092", tmp_path, 4)
    asyncio.run(put(producer, settings, [b"{}"] * 8, partitions))
    assert producer.written == written
