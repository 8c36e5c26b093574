"""`python -m benchmarks.path`: the CPU time of an event on the local path, step by step, without a broker.

One thread does what a worker with the agent `local` does to a backlog of the contest's requests: it unpacks fetches,
takes records into windows, hands them out, decides, plans transactions, fills record batches, and counts what is
committed. No socket, no loop of a plane. Use it for two versions in turns: the CPU time of a step changes little where
a machine is busy, the rate of the contest does.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from bisupervised.agents.answers import ClassReading
from bisupervised.agents.heap import settle_heap
from bisupervised.agents.local.agent import Local
from bisupervised.agents.local.appetite import Appetite, AppetitePolicy
from bisupervised.agents.local.model import Model
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.codec import RequestFormat
from bisupervised.schemas.records import Route
from bisupervised.streams.kafka.batches import Stamps, fill
from bisupervised.streams.kafka.records import fetch_lean
from bisupervised.streams.plane.sending.routing import Routing
from bisupervised.streams.plane.window.batch import Batch
from bisupervised.streams.plane.window.caution import Caution, CautionPolicy
from bisupervised.streams.plane.window.marks import Progress
from bisupervised.streams.plane.window.window import Window, WindowPolicy
from bisupervised.streams.telemetry.observation import Observation

from . import job

PARTITIONS, EVENTS = 4, 100_000
#: records of a fetch, of a batch for the agent, and of a transaction
FETCHED, BATCH = 2_000, 1_000
#: records of a batch as they were sent
_SENT = 200
_BATCH_BYTES = 512 * 1024
_ROUTES: dict[Route, str] = {"results": "results", "doubtful": "doubtful", "fallback": "fallback"}
_LIMITS = dict.fromkeys(_ROUTES.values(), 2**20)


@dataclass
class _Assignment:
    """What the client asks of a partition that is assigned and not paused."""

    records: Any
    active: bool = True
    paused: bool = False

    def state_value(self, tp: TopicPartition) -> _Assignment:
        return self

    @property
    def position(self) -> int:
        return int(self.records.next_fetch_offset)

    def consumed_to(self, offset: int) -> None:
        return


class Steps:
    """CPU time by step, of the whole process."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is done within."""
        began = time.process_time()
        yield
        self.spent[name] += time.process_time() - began


def backlog(events: int) -> list[bytes]:
    """What a fetch of each partition would bring: all its record batches, one after the other."""
    requests = list(job.requests(events))
    return [_partition(requests[number::PARTITIONS]) for number in range(PARTITIONS)]


def _partition(requests: Sequence[tuple[bytes, bytes]]) -> bytes:
    whole, now_ms = bytearray(), int(time.time() * 1000)
    for first in range(0, len(requests), _SENT):
        builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 2**20)
        for place, (key, value) in enumerate(requests[first : first + _SENT]):
            builder.append(place, now_ms, key, value, [])
        batch = bytearray(builder.build())
        batch[:8] = first.to_bytes(8)  # the broker says where it begins
        whole += batch
    return bytes(whole)


class Path:
    """One worker's steps."""

    def __init__(self, data: Sequence[bytes]) -> None:
        self._data = data
        policy = WindowPolicy(records=10_000, bytes=2**28, pending=8_000, max_tries=3)
        caution = CautionPolicy(tries=3, batch=BATCH, suspects=16 * BATCH)
        start = Progress(0, topic_id="Xn2d0pPQTqyqZ5lO9p8b2w")
        self._windows = [Window(policy, start, Caution(caution), _never) for _ in data]
        model = Model(job.FreeModel(), "benchmarks.job:FreeModel", "probabilities", ClassReading(logits=False))
        self._local = Local(
            model,
            Supervisor("max_softmax", job.THRESHOLD),
            RequestFormat(),
            batch_timeout_s=60.0,
            appetite=Appetite(AppetitePolicy(BATCH, 1.0)),
            thresholds_version="",
            on_hang=lambda: None,
        )
        self._routing = Routing(PARTITIONS, dict.fromkeys(_ROUTES, PARTITIONS))
        self._observation = Observation("local")

    async def run(self, steps: Steps) -> int:
        """All of the backlog. Returns how many events it held."""
        results = [self._fetch_result(number) for number in range(PARTITIONS)]
        done = 0
        while any(result.has_more() for result in results):
            for number, (result, window) in enumerate(zip(results, self._windows, strict=True)):
                with steps.step("1 unpack fetches"):
                    records = result.getall(FETCHED)
                with steps.step("2 take records in"):
                    window.add(records)
                done += len(records)
                while window.pending:
                    await self._answer(window, steps)
                    self._send(number, window, steps)
        self._local.close()
        return done

    def _fetch_result(self, number: int) -> Any:  # noqa: ANN401  # the client's, which has no types
        tp = TopicPartition("requests", number)
        records = fetcher.PartitionRecords(
            tp, MemoryRecords(self._data[number]), [], 0, None, None, True, fetcher.READ_COMMITTED
        )
        return fetcher.FetchResult(tp, assignment=_Assignment(records), partition_records=records, backoff=0)

    async def _answer(self, window: Window, steps: Steps) -> None:
        with steps.step("3 hand out"):
            lease = window.take(BATCH, 0.0)
            assert lease is not None  # noqa: S101  # a benchmark
            batch = Batch([lease], time.monotonic, lambda: None)
        with steps.step("4 decide"):
            outcomes = await self._local.decide(batch.records)
        with steps.step("5 take outcomes in"):
            batch.resolve(outcomes)

    def _send(self, number: int, window: Window, steps: Steps) -> None:
        with steps.step("6 plan"):
            plan = window.plan()
            outcomes = plan.outcomes
        with steps.step("7 route"):
            places = self._routing.places(outcomes, _ROUTES, number)
        with steps.step("8 fill record batches"):
            stamps = Stamps(int(time.time() * 1000), dict.fromkeys(_ROUTES.values(), 86_400_000))
            fill(lambda: BatchBuilder(_BATCH_BYTES, 0, is_transactional=1), outcomes, places, _LIMITS, stamps=stamps)
        with steps.step("count"):
            self._observation.committed(plan.outcomes)
        with steps.step("forget"):
            window.committed(plan)


def _never(record: object) -> Any:  # noqa: ANN401  # nothing is given up
    raise AssertionError(record)


def measured(data: Sequence[bytes]) -> dict[str, float]:
    """µs of CPU time an event, by step."""
    steps = Steps()
    path = Path(data)
    events = asyncio.run(path.run(steps))
    return {name: spent / events * 1e6 for name, spent in steps.spent.items()}


def main() -> None:
    """Print a row for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--only", action="store_true", help="print the sum alone")
    asked = parser.parse_args()
    fetch_lean(2**28)
    data = backlog(asked.events)
    settle_heap()
    runs = [measured(data) for _ in range(asked.runs)]
    for name in [] if asked.only else runs[0]:
        print(f"{median(run[name] for run in runs):6.2f} µs  {name.lstrip('0123456789 ')}")
    print(f"{median(sum(run.values()) for run in runs):6.2f} µs  in all")


if __name__ == "__main__":
    main()
