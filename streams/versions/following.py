"""Reading the topic `thresholds` for as long as a worker lives. What it means is said in `in_force.py`.

It is read from its beginning whenever its reader was lost, for it is short. A client tells nothing of a broker that is
away, so the broker is asked again and again where the topic ends. Nor does it tell that it delivers nothing of what is
there: then another one is opened.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ...agents.tasks import begin, end, persistently
from ...schemas.versions import ThresholdsEntry, decode_version
from ..kafka.connection import Connection
from ..kafka.consumer import check_client
from ..kafka.errors import denial
from .in_force import InForce

log = logging.getLogger(__name__)

_POLL_MS = 500
#: seconds in which a broker says where the topic ends
_ASK_S = 5.0
#: seconds in which a client whose broker answers may deliver nothing of what is there: then another one is opened
_DEAF_S = 15.0
#: seconds until a topic that could not be read is read again
_AGAIN_S = 1.0
_CLOSE_S = 2.0
#: what a broker that fails, or is gone, makes the client raise
_FAILURES = (KafkaError, OSError, TimeoutError)


class Follower:
    """Tells `in_force` what the topic holds: all of it first, then each entry as it comes."""

    def __init__(self, connection: Connection, topic: str, in_force: InForce) -> None:
        self.in_force = in_force
        self._connection = connection
        self._place = TopicPartition(topic, 0)
        self._settled = asyncio.Event()
        self._consumer: Any = None  # aiokafka has no types
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Follower of {self._place.topic} {self.in_force!r}>"

    async def settled(self) -> None:
        """Begin to read, and wait until there is a version to judge by, however long that takes."""
        if self._task is None:
            self._task = begin(persistently(self._read, "following the thresholds"), "following the thresholds")
        await self._settled.wait()

    async def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            await end([self._task])
        await self._close_consumer()

    async def _read(self) -> None:
        while True:
            try:
                await self._read_on()
            except _FAILURES as error:
                self._lost(denial(error, reads=self._place.topic) or error)
            finally:
                await self._close_consumer()
            await asyncio.sleep(_AGAIN_S)

    async def _read_on(self) -> None:
        await self._open()
        end = await self._end()
        entries: list[ThresholdsEntry] = []
        unreadable = 0
        async with asyncio.timeout(_DEAF_S) as patience:
            while await self._consumer.position(self._place) < end:
                for entry in await self._fetch():
                    entries += [entry] if entry else []
                    unreadable += entry is None
                    _renew(patience)
        self._found()
        self.in_force.holds(entries, unreadable)
        self._look()
        async with asyncio.timeout(_DEAF_S) as patience:
            while True:
                for entry in await self._fetch():
                    if entry is None:
                        self.in_force.unreadable += 1
                    else:
                        self.in_force.take(entry)
                self._look()
                if await self._consumer.position(self._place) >= await self._end():
                    _renew(patience)

    async def _open(self) -> None:
        options = self._connection.options()
        self._consumer = AIOKafkaConsumer(
            **options, enable_auto_commit=False, auto_offset_reset="none", isolation_level="read_committed"
        )
        async with asyncio.timeout(_ASK_S):
            await self._consumer.start()
        self._consumer.assign([self._place])
        async with asyncio.timeout(_ASK_S):
            self._consumer.seek(self._place, (await self._consumer.beginning_offsets([self._place]))[self._place])

    async def _end(self) -> int:
        """Where the topic ends now, for who reads what is committed. Raises what tells that nobody can say."""
        async with asyncio.timeout(_ASK_S):
            end: int = (await self._consumer.end_offsets([self._place]))[self._place]
        return end

    async def _fetch(self) -> list[ThresholdsEntry | None]:
        """The next entries; None for what is none."""
        check_client(self._consumer)
        fetched = await self._consumer.getmany(self._place, timeout_ms=_POLL_MS)
        return [_entry(record) for record in fetched.get(self._place, [])]

    def _look(self) -> None:
        if self.in_force.settled:
            self._settled.set()

    def _found(self) -> None:
        if self.in_force.lost:
            log.info("the topic of thresholds is read again", extra={"action": "versions_found"})
        self.in_force.lost = ""

    def _lost(self, why: BaseException) -> None:
        told = str(why) or type(why).__name__
        if not self.in_force.lost:
            text = "the topic %s cannot be read: %s; %s"
            kept = self.in_force.terms.version
            then = f"judges on by version {kept}" if self._settled.is_set() else "nothing is judged before it is"
            log.warning(text, self._place.topic, told, then, extra={"action": "versions_lost", "thresholds": kept})
        self.in_force.lost = told

    async def _close_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(Exception):  # it is thrown away, whatever a broken one raises on its way out
                async with asyncio.timeout(_CLOSE_S):
                    await consumer.stop()


def _renew(patience: asyncio.Timeout) -> None:
    patience.reschedule(asyncio.get_running_loop().time() + _DEAF_S)


def _entry(record: Any) -> ThresholdsEntry | None:  # noqa: ANN401  # aiokafka has no types
    try:
        return decode_version(record.value or b"")
    except msgspec.DecodeError as error:
        text = "offset %d of %s is no version of the thresholds, or of a later release, and is passed over: %s"
        log.warning(text, record.offset, record.topic, error, extra={"action": "version_unreadable"})
        return None
