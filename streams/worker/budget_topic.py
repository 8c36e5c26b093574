"""The fleet's log of who may spend what: a topic of one partition. What it means: `agents/remote/spending/budget.py`.

    purse ─▶ asks, gives back ─▶ topic ─▶ every worker's purse, in one order

Nothing is spent that was not read here first. While the broker does not answer, what is held may be spent, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from ...agents.remote.spending.purse import Purse
from ...schemas.budget import BudgetEntry, decode_entry, encode_entry
from ..kafka.connection import Connection
from ..kafka.errors import denial

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
#: seconds that the last words of a worker may take
_FAREWELL_S = 5.0


class BudgetTopic:
    """Writes what a worker's purse asks for, and lets it read what all workers have written."""

    def __init__(
        self,
        connection: Connection,
        topic: str,
        name: str,
        purse: Purse,
        on_read: Callable[[], None],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`name` is the pipeline's: several may share the topic. `on_read` hears that the purse may have changed."""
        self._connection = connection
        self._place = TopicPartition(topic, 0)
        self._key = name.encode()
        self._purse = purse
        self._on_read = on_read
        self._now = now
        self._wake = asyncio.Event()
        self._consumer: Any = None  # aiokafka has no types
        self._producer: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sent: tuple[str, float] = ("", 0.0)  # the id last asked for, and when

    def __repr__(self) -> str:
        return f"<BudgetTopic {self._place.topic} {self._purse!r}>"

    async def start(self) -> None:
        """Begin to read at the start of this period. Raises `KafkaError`, and `NotAllowed` where nothing is allowed."""
        options = self._connection.options()
        self._consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
        self._producer = AIOKafkaProducer(**options, enable_idempotence=True)
        await self._consumer.start()
        try:
            await self._producer.start()
        except KafkaError as error:
            raise denial(error, writes=self._place.topic) or error from error
        self._consumer.assign([self._place])
        began_s = self._purse.policy.bounds_s(self._now())[0] - _SLACK_S
        found = (await self._consumer.offsets_for_times({self._place: round(began_s * 1000)}))[self._place]
        if found is None:
            await self._consumer.seek_to_end(self._place)
        else:
            self._consumer.seek(self._place, found.offset)
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    def need(self) -> None:
        """The purse may have something to write."""
        self._wake.set()

    async def close(self) -> None:
        """Give back what is not spent, and end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._send(self._purse.give_back(self._now(), all_of_it=True))
                await self._producer.stop()
        except (KafkaError, TimeoutError) as error:
            log.warning("the rest of a lease is forfeited: %r", error, extra={"action": "budget_forfeited"})
        await self._consumer.stop()

    async def _read(self) -> None:
        while True:
            try:
                await self._read_some()
            except KafkaError as error:
                why = denial(error, reads=self._place.topic) or error
                log.warning("the budget's topic cannot be read: %r", why, extra={"action": "budget_unread"})
                await asyncio.sleep(_FAILED_S)

    async def _read_some(self) -> None:
        if not self._purse.known:
            end = (await self._consumer.end_offsets([self._place]))[self._place]
            while await self._consumer.position(self._place) < end:
                await self._fetch()
            self._purse.known = True
            self._wake.set()
        await self._fetch()

    async def _fetch(self) -> None:
        fetched = await self._consumer.getmany(self._place, timeout_ms=_POLL_MS)
        records = fetched.get(self._place, [])
        for record in records:
            if record.key == self._key:
                self._take(record)
        if records:
            self._wake.set()
            self._on_read()

    def _take(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        try:
            entry = decode_entry(record.value or b"")
        except msgspec.DecodeError as error:
            log.error("not a record of the budget: %s", error, extra={"action": "budget_damaged"})
            return
        self._purse.read(entry, self._now())

    async def _write(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._send(self._due())
            except KafkaError as error:
                why = denial(error) or error
                log.warning("the budget's topic cannot be written: %r", why, extra={"action": "budget_unwritten"})
                await asyncio.sleep(_FAILED_S)

    def _due(self) -> list[BudgetEntry]:
        now = self._now()
        entries = self._purse.give_back(now)
        asked = self._purse.ask(now)
        if asked is not None and (asked.id != self._sent[0] or now - self._sent[1] >= _AGAIN_S):
            self._sent = (asked.id, now)
            entries.append(asked)
        return entries

    async def _send(self, entries: list[BudgetEntry]) -> None:
        for entry in entries:
            await self._producer.send_and_wait(self._place.topic, encode_entry(entry), self._key, partition=0)
