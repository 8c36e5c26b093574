"""A whole run seen from outside: events go into `requests`, outcomes come out of `results` and `fallback`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rich.console import Console

from ...agents.tasks import begin
from ..console.output import progress_bar
from ..settings.broker import connection
from ..settings.tables import Settings
from .outcomes import EndToEndRun, MeterReading, Outcome, from_fallback, from_result
from .processes import Process, end

_STALLED_S = 60.0  # without any outcome: what is missing by then is lost
_QUIET_S = 2.0  # after the worker has ended, a late duplicate would be there by now


@dataclass(slots=True)
class Downstream:
    """What the services behind `results` and `fallback` have read."""

    outcomes: list[Outcome] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    at: float = field(default_factory=time.monotonic)  #: when the last new event had its outcome, monotonic
    closing: bool = False  #: read what is there, then stop

    def take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.id not in self.seen:
            self.seen.add(outcome.id)
            self.at = time.monotonic()


async def run_events(
    settings: Settings, events: Mapping[str, bytes], worker: Process, server_url: str, console: Console
) -> EndToEndRun:
    """Produce everything, read every outcome, stop the worker, read what may still come, and what the meter says.

    `events`: id -> value, in the order they are sent.
    """
    before = await _read_meter(server_url)
    outcomes, seconds = await _stream(settings, events, worker, console)
    return EndToEndRun(outcomes, seconds, (await _read_meter(server_url)).since(before))


async def _stream(
    settings: Settings, events: Mapping[str, bytes], worker: Process, console: Console
) -> tuple[list[Outcome], float]:
    """The outcomes, and the seconds from the first event produced to the last outcome read."""
    downstream, topics = Downstream(), settings.topics
    readers = [
        begin(_read(settings, topics.results, downstream, from_result), "reading results"),
        begin(_read(settings, topics.fallback, downstream, from_fallback), "reading fallback"),
    ]
    with progress_bar(console) as progress:
        produced = progress.add_task("produced", total=len(events))
        answered = progress.add_task("outcomes", total=len(events))
        began = downstream.at = time.monotonic()
        producing = begin(_produce(settings, events, lambda n: progress.advance(produced, n)), "producing")
        try:
            while _goes_on(len(events), downstream, worker, producing, readers):
                progress.update(answered, completed=len(downstream.seen))
                await asyncio.sleep(0.1)
            progress.update(answered, completed=len(downstream.seen))
            seconds = downstream.at - began
            await producing
            await asyncio.to_thread(end, worker)
            downstream.closing = True
            await asyncio.gather(*readers)
        finally:
            await _cancel(producing, *readers)
    return downstream.outcomes, seconds


def _goes_on(
    events: int,
    downstream: Downstream,
    worker: Process,
    producing: asyncio.Task[None],
    readers: list[asyncio.Task[None]],
) -> bool:
    """Whether there is still something to wait for."""
    if len(downstream.seen) >= events or worker.poll() is not None:
        return False
    stalled = producing.done() and time.monotonic() - downstream.at > _STALLED_S
    return not stalled and not any(reader.done() for reader in readers)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """End the tasks in order, while the loop and their connections still live."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _produce(settings: Settings, events: Mapping[str, bytes], sent: Callable[[int], object]) -> None:
    """Produce as any service would: keyed JSON events, acknowledged by the broker."""
    producer = AIOKafkaProducer(**connection(settings.kafka).options(), enable_idempotence=True, linger_ms=5)
    async with producer:
        for identity, value in events.items():
            await producer.send(settings.topics.requests, value, key=identity.encode())
            sent(1)
        await producer.flush()


async def _read(settings: Settings, topic: str, downstream: Downstream, read: Callable[[Any], Outcome]) -> None:
    """Read one topic as the service behind it would: committed records only, what is aborted never happened."""
    consumer = AIOKafkaConsumer(
        topic,
        **connection(settings.kafka).options(),
        group_id=f"service-behind-{topic}",
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    async with consumer:
        quiet_since = time.monotonic()
        while not downstream.closing or time.monotonic() - quiet_since < _QUIET_S:
            fetched = await consumer.getmany(timeout_ms=200)
            for record in (record for records in fetched.values() for record in records):
                downstream.take(read(record))
            if fetched or not downstream.closing:
                quiet_since = time.monotonic()


async def _read_meter(url: str) -> MeterReading:
    """The bill of a `model_server`, or of another server with the same meter."""
    async with ClientSession() as session, session.get(f"{url}/meter") as response:
        meter: dict[str, float] = await response.json()
    batches, batched = int(meter.get("batches", 0)), int(meter.get("batched", 0))
    return MeterReading(int(meter["calls"]), int(meter["refused"]), meter["cost"], batches, batched)
