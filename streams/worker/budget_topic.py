"""The fleet's log of who may spend what: a topic of one partition. What it means: `agents/remote/spending/budget.py`.

    purse ─▶ asks, gives back ─▶ topic ─▶ every worker's purse, in one order

Nothing is spent that was not read here first. While the broker does not answer, what is held may be spent, and no more.
After any failure the client that failed is thrown away: one whose write was refused would count its records wrong for
ever. What may have been written is written again, for an entry that stands there twice counts once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from ...agents.remote.spending.advances import Advances
from ...agents.remote.spending.purse import Purse
from ...agents.tasks import begin, end, persistently
from ...schemas.budget import BudgetEntry, decode_entry, encode_entry
from ..kafka.connection import Connection
from ..kafka.consumer import check_client
from ..kafka.errors import denial
from ..kafka.producer import put_away

log = logging.getLogger(__name__)

#: seconds before the period's start from which the topic is read: clocks of workers differ
_SLACK_S = 3600.0
_POLL_MS = 200
#: seconds after which what was asked for and not read back is written again, under the same id
_AGAIN_S = 5.0
#: seconds between two looks whether something is to be given back
_LOOK_S = 1.0
#: seconds to wait after the broker failed
_FAILED_S = 1.0
#: seconds for one write: the client itself would try for ever
_WRITE_S = 30.0
#: seconds that the last words of a worker may take
_FAREWELL_S = 5.0
#: seconds until a lease is asked for again that the log's time refused: the first of them, doubled each time, and the
#: last; and how many refusals in a row are told. At the turn of a period, clocks differ by little and soon agree
_REFUSED_FIRST_S, _REFUSED_MOST_S, _REFUSALS_TOLD = 0.25, 10.0, 5
#: what a broker that fails, or is gone, makes the client raise
_FAILURES = (KafkaError, OSError, TimeoutError)


class BudgetTopic:
    """Writes what a worker's purse asks for, and lets it read what all workers have written."""

    def __init__(
        self,
        connection: Connection,
        topic: str,
        name: str,
        purse: Purse | Advances,
        on_read: Callable[[], None],
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the pipeline's: several may share the topic. `on_read` hears that the purse may have changed.

        `now` is the calendar's time, `clock` measures waits.
        """
        self._connection = connection
        self._place = TopicPartition(topic, 0)
        self._key = name.encode()
        self._purse = purse
        self._on_read = on_read
        self._now = now
        self._clock = clock
        self._wake = asyncio.Event()
        self._consumer: Any = None  # aiokafka has no types
        self._producer: Any = None
        self._next: int | None = None  # offset from which it is to be read; None: not known yet
        self._tasks: list[asyncio.Task[None]] = []
        self._sent: tuple[str, float] = ("", 0.0)  # the id last asked for, and when on the clock
        self._unsent: list[BudgetEntry] = []  # given back, and not known to be written
        self._told_apart = False

    def __repr__(self) -> str:
        return f"<BudgetTopic {self._place.topic} {self._purse!r}>"

    async def start(self) -> None:
        """Begin to read at the start of this period. Raises `KafkaError`, and `NotAllowed` where nothing is allowed."""
        await self._open_consumer()
        try:
            await self._open_producer()
        except KafkaError as error:
            raise denial(error, writes=self._place.topic) or error from error
        for body, name in ((self._read, "reading the budget's topic"), (self._write, "writing the budget's topic")):
            self._tasks.append(begin(persistently(body, name), name))

    def need(self) -> None:
        """The purse may have something to write."""
        self._wake.set()

    async def close(self) -> None:
        """Give back what is not spent, and end."""
        if self._tasks:
            await end(self._tasks)
            try:
                async with asyncio.timeout(_FAREWELL_S):
                    self._unsent += self._purse.give_back(self._now(), all_of_it=True)
                    await self._send_unsent()
            except _FAILURES as error:
                log.warning("the rest of a lease is forfeited: %r", error, extra={"action": "budget_forfeited"})
        await self._close_producer()
        await self._close_consumer()

    # reading

    async def _read(self) -> None:
        while True:
            try:
                await self._read_on()
            except _FAILURES as error:
                why = denial(error, reads=self._place.topic) or error
                log.warning("the budget's topic cannot be read: %r", why, extra={"action": "budget_unread"})
            finally:
                await self._close_consumer()
            await asyncio.sleep(_FAILED_S)

    async def _read_on(self) -> None:
        if self._consumer is None:
            await self._open_consumer()
        if not self._purse.known:
            end = (await self._consumer.end_offsets([self._place]))[self._place]
            while await self._consumer.position(self._place) < end:
                await self._fetch()
            self._purse.known = True
            self._wake.set()
        while True:
            await self._fetch()

    async def _open_consumer(self) -> None:
        options = self._connection.options()
        self._consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
        await self._consumer.start()
        self._consumer.assign([self._place])
        if self._next is None:
            self._next = await self._first_offset()
        self._consumer.seek(self._place, self._next)

    async def _first_offset(self) -> int:
        """Where the period begins. By the log's own time where that is earlier: our clock may be ahead, and what is
        granted once it is put right is reckoned from what was read.
        """
        end: int = (await self._consumer.end_offsets([self._place]))[self._place]
        now = self._now()
        last_s = await self._last_s(end)
        began_s = self._purse.policy.bounds_s(now if last_s is None else max(0.0, min(now, last_s)))[0] - _SLACK_S
        found = (await self._consumer.offsets_for_times({self._place: max(0, round(began_s * 1000))}))[self._place]
        return end if found is None else int(found.offset)

    async def _last_s(self, end: int) -> float | None:
        """The log's time of its last record, seconds since epoch; None where there is none."""
        begin_offset = (await self._consumer.beginning_offsets([self._place]))[self._place]
        if begin_offset >= end:
            return None
        self._consumer.seek(self._place, end - 1)
        while await self._consumer.position(self._place) < end:
            for record in (await self._consumer.getmany(self._place, timeout_ms=_POLL_MS)).get(self._place, []):
                return float(record.timestamp) / 1000.0
        return None

    async def _fetch(self) -> None:
        check_client(self._consumer)
        fetched = await self._consumer.getmany(self._place, timeout_ms=_POLL_MS)
        records = fetched.get(self._place, [])
        for record in records:
            if record.key == self._key:
                self._take(record)
            self._next = record.offset + 1
        if records:
            self._tell_apart()
            self._wake.set()
            self._on_read()

    def _take(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        try:
            entry = decode_entry(record.value or b"")
        except msgspec.DecodeError as error:
            log.error("not a record of the budget: %s", error, extra={"action": "budget_damaged"})
            return
        self._purse.read(entry, record.timestamp / 1000.0, self._now())

    def _tell_apart(self) -> None:
        """Once, where the log's time keeps refusing what we ask for."""
        apart = self._purse.refused >= _REFUSALS_TOLD
        if apart and not self._told_apart:
            text = (
                "this worker's clock and the broker's differ by %.0f s, in which a period of the budget ends: until "
                "both are in the same period, no money is granted here; set the clock that is wrong"
            )
            facts = {"action": "budget_clock", "apart_s": self._purse.apart_s}
            log.error(text, abs(self._purse.apart_s), extra=facts)
        self._told_apart = apart

    async def _close_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(Exception):  # it is thrown away, whatever a broken one raises on its way out
                async with asyncio.timeout(_FAREWELL_S):
                    await consumer.stop()

    # writing

    async def _write(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REFUSED_FIRST_S if self._purse.refused else _LOOK_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._send_due()
            except _FAILURES as error:
                why = denial(error, writes=self._place.topic) or error
                log.warning("the budget's topic cannot be written: %r", why, extra={"action": "budget_unwritten"})
                await asyncio.sleep(_FAILED_S)

    async def _send_due(self) -> None:
        self._unsent += self._purse.give_back(self._now())
        await self._send_unsent()
        asked = self._due()
        if asked is not None:
            await self._send(asked)
            self._sent = (asked.id, self._clock())

    def _due(self) -> BudgetEntry | None:
        """What is asked for, unless it was a moment ago."""
        asked = self._purse.ask(self._now())
        if asked is None:
            return None
        doublings = min(self._purse.refused, _REFUSALS_TOLD * 2)
        refused_s = min(_REFUSED_FIRST_S * 2.0**doublings, _REFUSED_MOST_S) if doublings else 0.0
        wait_s = _AGAIN_S if asked.id == self._sent[0] else refused_s
        return asked if self._clock() - self._sent[1] >= wait_s else None

    async def _send_unsent(self) -> None:
        """What was given back; of a period that is over, it is of no use to anybody."""
        while self._unsent:
            if self._unsent[0].period == self._purse.period:
                await self._send(self._unsent[0])
            del self._unsent[0]

    async def _send(self, entry: BudgetEntry) -> None:
        """Write it. Whatever goes wrong, the producer has ended with it."""
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._open_producer()
                await self._producer.send_and_wait(self._place.topic, encode_entry(entry), self._key, partition=0)
        except BaseException:
            await self._close_producer()
            raise

    async def _open_producer(self) -> None:
        if self._producer is None:
            self._producer = AIOKafkaProducer(**self._connection.options(), enable_idempotence=True)
            await self._producer.start()

    async def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await put_away(producer)
