"""What the topics say, given to the queue as it comes: the inputs, and the labels of whoever writes them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from ...agents.auditing.drawn import Drawn
from ...agents.auditing.ledger.ledger import drawn_of
from ...schemas.audits import AUDIT_HEADER, decode_audit, decode_label, place_of
from ...schemas.codec import decode_facts, header
from ...schemas.errors import REJECTED, BiSupervisedError, InvalidRequest
from ..auditor.rules import rules_of
from ..settings.tables import Settings
from ..topics.reading import partitions_of, reader, seek_to_time
from .queue import Item, Place, Queue

log = logging.getLogger(__name__)

_MS_PER_HOUR = 3_600_000
#: milliseconds to wait for records, and seconds until a lost broker is asked again
_WAIT_MS, _AGAIN_S = 500, 2.0
#: seconds between two looks at what is too old
_FORGET_S = 60.0
#: reasons of fallback records that nobody can label: there is no input in them
_NO_INPUT = frozenset({"invalid_request"})


class Feed:
    """Reads what is wanted, and `labels`; what is too old to be labelled is left out."""

    def __init__(self, settings: Settings, queue: Queue, *, fallback: bool) -> None:
        self.loaded = asyncio.Event()  #: the queue holds what there was when we began
        self._settings, self._queue = settings, queue
        topics = settings.topics
        self._takes: dict[str, Callable[[Any], None]] = {
            topics.fallback if fallback else topics.audits: self._fallen if fallback else self._drawn,
            topics.labels: self._label,
        }
        self._keep_ms = keep_ms(settings, fallback=fallback)
        self._rules = rules_of(settings, None)  # as an auditor has them

    def __repr__(self) -> str:
        return f"<Feed of {', '.join(self._takes)}{'' if self.loaded.is_set() else ', loading'}>"

    async def run(self) -> None:
        """Read for ever. Before all is loaded, raises `BrokerUnreachable` and `TopicMissing`; later it tries again."""
        while True:
            try:
                await self._read()
            except BiSupervisedError as error:
                if not self.loaded.is_set():
                    raise
                log.warning("%s; the next try is in %g s", error, _AGAIN_S, extra={"action": "review_feed_lost"})
                await asyncio.sleep(_AGAIN_S)

    async def _read(self) -> None:
        places = [place for topic in self._takes for place in await partitions_of(self._settings, topic)]
        async with reader(self._settings, places) as consumer:
            await seek_to_time(consumer, places, time.time() * 1000 - self._keep_ms)
            ends = await consumer.end_offsets(places)
            forgotten = time.monotonic()
            while True:
                if not self.loaded.is_set() and await _passed(consumer, ends):
                    self.loaded.set()
                for place, records in (await consumer.getmany(timeout_ms=_WAIT_MS)).items():
                    for record in records:
                        self._takes[place.topic](record)
                if time.monotonic() - forgotten >= _FORGET_S:
                    forgotten = time.monotonic()
                    self._queue.forget(time.time() * 1000)

    # records

    def _drawn(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        try:
            audit, facts = decode_audit(header(record.headers, AUDIT_HEADER) or b""), decode_facts(record)
        except (msgspec.DecodeError, InvalidRequest):
            return
        wanted = audit.label and not audit.missing and bool(facts.thresholds)
        if audit.pipeline == self._settings.name and wanted:
            self._queue.add(Item(drawn_of(audit, facts, record.timestamp), _place(record)))

    def _fallen(self, record: Any) -> None:  # noqa: ANN401  # as above
        try:
            facts = decode_facts(record)
        except InvalidRequest:
            return
        if facts.reason in _NO_INPUT or facts.value_omitted is not None or not record.value:
            return
        remote = None if facts.remote is None or facts.remote.prediction is None else (facts.remote.prediction,)
        # one label is enough, unless it says that the answer was right and should not have been rejected
        ended = "rejected" if facts.reason in REJECTED and remote is not None else "failed"
        drawn = Drawn(str(facts.source), record.timestamp, ended, None, remote, None)  # type: ignore[arg-type]  # one of Ended
        self._queue.add(Item(drawn, _place(record)))

    def _label(self, record: Any) -> None:  # noqa: ANN401  # as above
        try:
            label = decode_label(record.value or b"")
        except msgspec.DecodeError:
            return
        place = place_of(label.source)
        if place is not None and label.by and self._rules.counts(label):
            known = msgspec.structs.replace(label, source=str(place))
            self._queue.vote(known, record.offset, record.timestamp)


def keep_ms(settings: Settings, *, fallback: bool) -> float:
    """Milliseconds after which nobody needs a label: it would be late, or the record is gone."""
    hours = settings.topics.retention_hours if fallback else settings.audit.label_within_hours
    return hours * _MS_PER_HOUR


def _place(record: Any) -> Place:  # noqa: ANN401  # aiokafka has no types
    return Place(record.topic, record.partition, record.offset)


async def _passed(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    return all([await consumer.position(place) >= end for place, end in ends.items()])
