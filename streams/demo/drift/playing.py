"""The requests go in, alike for all pipelines; what comes out is read, and a scripted labeller answers the audits."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ....agents.tasks import begin
from ....schemas.audits import Label, encode_label
from ...settings.broker import connection
from ...settings.tables import Settings
from ...topics.reading import reader
from ..digits import LABELS
from ..pipeline import Pipeline
from .heard import Heard, Wanted
from .pictures import Course

#: seconds until a right answer is labelled, and a wrong one, of which people are less sure
DELAY_S, WRONG_DELAY_S = 0.5, 1.5
#: requests a second; where an outcome is so many behind, the next ones wait
RATE, _AHEAD = 105.0, 250
_STALLED_S = 60.0  # without any outcome: what is missing by then is lost
_TICK_S = 0.05


@dataclass(slots=True)
class Labeller:
    """Knows the truth about every request, and takes its time."""

    truth: Sequence[str]
    given: int = 0  #: labels so far
    _due: list[tuple[float, str, str]] = field(default_factory=list)

    def hear(self, wanted: Sequence[Wanted], now: float) -> None:
        """These labels are wanted. `now`: monotonic, seconds."""
        for one in wanted:
            right = self.truth[one.number]
            delay_s = DELAY_S if str(one.prediction) == right else WRONG_DELAY_S
            heapq.heappush(self._due, (now + delay_s, one.source, right))

    def due(self, now: float) -> list[Label]:
        """What it has decided by now."""
        found = []
        while self._due and self._due[0][0] <= now:
            _, source, right = heapq.heappop(self._due)
            found.append(Label(source, right, "the script"))
        self.given += len(found)
        return found


@dataclass(frozen=True, slots=True)
class Played:
    """One pipeline while the requests pass through."""

    settings: Settings
    heard: Heard
    labeller: Labeller


@dataclass(slots=True)
class Stage:
    """All pipelines, and how far the requests are."""

    played: Sequence[Played]
    course: Course
    sent_ms: list[float] = field(default_factory=list)  #: when each request was sent, since epoch

    @property
    def ended(self) -> int:
        """Requests that have ended in every pipeline."""
        return min(len(one.heard.ended) for one in self.played)

    @property
    def ended_in_order(self) -> int:
        """So many of the first requests have ended in every pipeline."""
        return min(one.heard.ended_in_order for one in self.played)

    @property
    def finished(self) -> bool:
        """Everything has come out."""
        return len(self.sent_ms) == self.ended == len(self.course)

    def next_ones(self, seconds: float) -> range:
        """The requests to send after so long."""
        begin_ = len(self.sent_ms)
        return range(begin_, max(begin_, min(int(seconds * RATE), self.ended + _AHEAD, len(self.course))))


def make_stage(
    pipelines: Mapping[str, Pipeline], course: Course, start: Mapping[str, int], say: Callable[[str, str], object]
) -> Stage:
    """Before the first request. `start`: the rung of the version that is in force. `say` hears what happens where."""
    truth = [LABELS[label] for label in course.pictures.labels.tolist()]
    return Stage(
        [
            Played(pipeline.settings, Heard(name, partial(say, name), rungs=dict(start)), Labeller(truth))
            for name, pipeline in pipelines.items()
        ],
        course,
    )


async def play(stage: Stage, running: Sequence[Callable[[], object]]) -> None:
    """Send every request to every pipeline, until all has come out. `running`: None while a worker is alive.

    Raises `BrokerUnreachable`.
    """
    settings = stage.played[0].settings  # they share a broker
    takes = takers(stage.played)
    producer = AIOKafkaProducer(**connection(settings.kafka).options(), enable_idempotence=True, linger_ms=5)
    async with producer, reader(settings, [TopicPartition(topic, 0) for topic in takes]) as consumer:
        reading = begin(_read(consumer, takes), "reading what comes out")
        try:
            await _send(stage, producer, reading, running)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def takers(played: Sequence[Played]) -> dict[str, Callable[[Any], None]]:
    """By topic, what takes its records. Topics that a pipeline does not have are left out."""
    found = {}
    for one in played:
        audited, follows = one.settings.audit.share > 0, one.settings.audit.on_alarm == "tighten"
        there = {"results": True, "fallback": True, "audits": audited, "trust": audited, "thresholds": follows}
        for kind, take in one.heard.takes().items():
            if there[kind]:
                found[getattr(one.settings.topics, kind)] = take
    return found


async def _read(consumer: AIOKafkaConsumer, takes: Mapping[str, Callable[[Any], None]]) -> None:
    while True:
        for place, records in (await consumer.getmany(timeout_ms=200)).items():
            for record in records:
                takes[place.topic](record)


async def _send(
    stage: Stage, producer: AIOKafkaProducer, reading: asyncio.Task[None], running: Sequence[Callable[[], object]]
) -> None:
    """Until everything has come out, or nothing comes any more."""
    began = moved = time.monotonic()
    out = 0
    while not stage.finished and not reading.done() and all(poll() is None for poll in running):
        now = time.monotonic()
        for number in stage.next_ones(now - began):
            await _send_one(stage, producer, number)
        for one in stage.played:
            await _label(one, producer, now)
        if stage.ended > out:
            out, moved = stage.ended, now
        elif now - moved > _STALLED_S:
            return
        await asyncio.sleep(_TICK_S)
    if reading.done():
        await reading


async def _send_one(stage: Stage, producer: AIOKafkaProducer, number: int) -> None:
    """The same picture to every pipeline, keyed by its number."""
    value = orjson.dumps({"id": str(number), "input": stage.course.pictures.inputs[number].tolist()})
    for one in stage.played:
        await producer.send(one.settings.topics.requests, value, key=str(number).encode())
    stage.sent_ms.append(time.time() * 1000)


async def _label(one: Played, producer: AIOKafkaProducer, now: float) -> None:
    wanted, one.heard.wanted = one.heard.wanted, []
    one.labeller.hear(wanted, now)
    for label in one.labeller.due(now):
        await producer.send(one.settings.topics.labels, encode_label(label), key=label.source.encode())
