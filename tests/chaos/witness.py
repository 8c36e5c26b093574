"""Produces and watches through outages of any broker, counts all afresh at the end, and takes a sample a second.

A client of aiokafka may stand still when brokers come and go. It is not what is tested here: the witness takes a new
one every few seconds, and goes on where the last one was.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from nodes import ThreeNodes
from rig import PARTITIONS
from watch import Outcomes, Watch

_LIFE_S = 10.0
_SILENT_S = 3.0
_STOP_S = 5.0
_COUNT_S = 120.0
#: lines of its log, and questions who leads what, that a worker should have in a second at most
MOST_LINES, MOST_METADATA = 20.0, 50.0
#: seconds over which the CPU time of a worker is averaged
_SUSTAINED_S = 3


class Witness(Watch):
    """Watches a cluster."""

    def __init__(self, rig: ThreeNodes) -> None:
        super().__init__(rig)
        self.unacknowledged = 0  #: requests of which nobody knows whether they are there; the last count does
        self._places = [TopicPartition(topic, p) for topic in ("results", "fallback") for p in range(PARTITIONS)]
        self._positions = dict.fromkeys(self._places, 0)

    def _acknowledged(self, ack: asyncio.Future[Any]) -> None:
        if ack.exception() is not None:
            self.unacknowledged += 1
            return
        super()._acknowledged(ack)

    async def follow(self) -> None:
        """Consume results and fallback, read committed, for ever."""
        while True:
            life = asyncio.create_task(self._live())
            await asyncio.wait({life}, timeout=_LIFE_S + _STOP_S)
            life.cancel()  # neither its start nor its stop need end

    async def _live(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            isolation_level="read_committed",
            request_timeout_ms=8_000,
            metadata_max_age_ms=5_000,
            enable_auto_commit=False,
        )
        try:
            await consumer.start()
            consumer.assign(self._places)
            for tp, position in self._positions.items():
                consumer.seek(tp, position)
            await self._consume(consumer)
        except (KafkaError, OSError):
            await asyncio.sleep(0.5)
        finally:
            await consumer.stop()

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        began = heard = time.monotonic()
        while (now := time.monotonic()) - began < _LIFE_S and now - heard < _SILENT_S:
            with suppress(KafkaError):
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    for record in records:
                        if record.offset >= self._positions[tp]:  # the life before may have ended late
                            self.outcomes.add(record)
                            self._positions[tp] = record.offset + 1
                    heard = time.monotonic()
            self._look_for_stuck()


@dataclass
class Count:
    """What the brokers have at the end, whatever anybody remembers."""

    inputs: int
    outcomes: int
    lost: int
    duplicated: int  #: outcomes beyond the first
    foreign: int  #: outcomes of nothing that was asked
    out_of_order: int


async def count(servers: str) -> Count:
    """Read every topic from its first record on."""
    inputs: set[tuple[int, int]] = set()
    outcomes = Outcomes()
    async with asyncio.timeout(_COUNT_S):
        for topic in ("requests", "results", "fallback"):
            consumer = AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed")
            await consumer.start()
            try:
                places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
                consumer.assign(places)
                await consumer.seek_to_beginning()
                ends = await consumer.end_offsets(places)
                while [tp for tp in places if await consumer.position(tp) < ends[tp]]:
                    for record in (r for records in (await consumer.getmany(timeout_ms=300)).values() for r in records):
                        if topic == "requests":
                            inputs.add((record.partition, record.offset))
                        else:
                            outcomes.add(record)
            finally:
                await consumer.stop()
    seen = outcomes.seen
    return Count(
        len(inputs),
        seen.total(),
        len(inputs - seen.keys()),
        seen.total() - len(seen),
        len(seen.keys() - inputs),
        # of several outcomes of a request, it is not known here which was the first: they may be in two topics
        sum(seen[place] == 1 for place in outcomes.late),
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """One worker in one second."""

    doing: str  #: the fault that went on
    slot: int
    lines: float  #: of its log, a second
    metadata: float  #: questions who leads what, a second
    cpu: float  #: cores


@dataclass(frozen=True, slots=True)
class Load:
    """The most of any worker while something went on."""

    lines: float = 0.0
    metadata: float = 0.0
    cpu: float = 0.0  #: mean of three seconds
    lines_over: int = 0  #: seconds in which a worker wrote more than the aim
    metadata_over: int = 0  #: seconds in which it asked more often


class Sampler:
    """Looks at every worker once a second."""

    def __init__(self, rig: ThreeNodes) -> None:
        self.samples: list[Sample] = []
        self._rig = rig
        self._read: dict[Path, int] = {}
        self._used: dict[int, float] = {}
        self._asked: Counter[int] = Counter()

    async def run(self) -> None:
        """Until it is cancelled."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            seconds = time.monotonic() - before
            before += seconds
            for worker in self._rig.workers:
                slot = self._rig.slot_of(worker)
                asked = self._rig.metadata_requests(slot) - self._asked[slot]
                self._asked[slot] += asked
                lines = self._new_lines(self._rig.log_of(worker))
                cpu = self._new_cpu(worker.pid)
                doing = self._rig.doing
                self.samples.append(Sample(doing, slot, lines / seconds, asked / seconds, cpu / seconds))

    def _new_lines(self, log: Path) -> int:
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            data = file.read()
        self._read[log] = self._read.get(log, 0) + len(data)
        return data.count(b"\n")

    def _new_cpu(self, pid: int) -> float:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:  # it has just ended
            return 0.0
        used = times.user + times.system
        before = self._used.get(pid, used)
        self._used[pid] = used
        return float(used - before)

    def during(self, doing: str) -> Load:
        """While this fault went on."""
        by_slot = [[s for s in self.samples if (s.doing, s.slot) == (doing, slot)] for slot in range(self._rig.slots)]
        found = [sample for samples in by_slot for sample in samples]
        if not found:
            return Load()
        windows = (
            samples[start : start + _SUSTAINED_S]
            for samples in by_slot
            for start in range(max(1, len(samples) - _SUSTAINED_S + 1))
        )
        cpu = max(sum(sample.cpu for sample in window) / len(window) for window in windows if window)
        return Load(
            max(s.lines for s in found),
            max(s.metadata for s in found),
            cpu,
            sum(s.lines > MOST_LINES for s in found),
            sum(s.metadata > MOST_METADATA for s in found),
        )
