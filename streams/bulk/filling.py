"""Fills batches with the records of one partition: what can be asked goes onto disk as lines."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ...agents.remote.bulk.closing import Gathered
from ...schemas.codec import foreign_version
from ...schemas.records import Outgoing
from .spool import Spool
from .writer import Leaving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...agents.remote.bulk.inputs import Prepared
    from ...agents.remote.bulk.provider import Line
    from .policy import BulkPolicy, Means
    from .reading import PartitionReader

log = logging.getLogger(__name__)

#: records after which others on the event loop have their turn
_BREATH = 100
#: seconds until a record that nobody here can read is looked at again
_AGAIN_S = 5.0
#: bytes of outcomes that wait for their batch to be closed, at most
_WAITING_BYTES = 8 * 1024 * 1024


class Filler:
    """Fills one batch after the other."""

    def __init__(
        self,
        policy: BulkPolicy,
        means: Means,
        topic_id: str,
        reader: PartitionReader,
        first: int,
        passed: Callable[[int], Awaitable[None]],
    ) -> None:
        """`first`: offset from which on records are in no batch yet; `topic_id`: of the topic that they are in.
        `passed` is told the offset before which there is no record left, when none comes: transactions end there, too.
        """
        self._passed = passed
        self._policy = policy
        self._means = means
        self._topic_id = topic_id
        self._reader = reader
        self._records: list[Any] = []  # read, and in no batch
        self._next = first
        reader.seek(first)

    async def fill(self) -> tuple[Gathered, list[Leaving], Spool]:
        """One that is full, or old enough."""
        means, policy = self._means, self._policy
        close = policy.close.within(means.queue.most)
        gathered: Gathered | None = None
        spool, leaving, size = Spool(policy.folder), [], 0
        while True:
            if not self._records:
                self._records = await self._read()
                if gathered is None and not self._records:
                    await self._pass()
            while self._records:
                gathered = gathered or Gathered(self._next, means.clock())
                found = await self._prepared(self._records[:_BREATH])
                lines: list[Line] = []
                for record, prepared in found:
                    if isinstance(prepared, Outgoing):
                        gathered.leave_out(record.offset)
                        leaving.append(Leaving(record, prepared))
                        size += len(record.value or b"")
                        continue
                    line = means.provider.line_size(prepared.line)
                    if not gathered.has_room(line, prepared.tokens, prepared.most, close):
                        await spool.add(lines)
                        return self._done(gathered, leaving, spool)
                    gathered.add(record.offset, line, prepared.tokens, prepared.most, prepared.deadline_ms)
                    lines.append(prepared.line)
                await spool.add(lines)
                self._forget(gathered.end)
                if size >= _WAITING_BYTES or gathered.is_due(means.clock(), close):
                    return self._done(gathered, leaving, spool)
            if gathered is not None and gathered.is_due(means.clock(), close):
                return self._done(gathered, leaving, spool)

    async def _pass(self) -> None:
        position = await self._reader.position()
        if position > self._next:
            self._next = position
            await self._passed(position)

    def _done(self, gathered: Gathered, leaving: list[Leaving], spool: Spool) -> tuple[Gathered, list[Leaving], Spool]:
        self._forget(gathered.end)
        return gathered, leaving, spool

    def _forget(self, end: int) -> None:
        self._records = [record for record in self._records if record.offset >= end]
        self._next = end

    async def _prepared(self, records: list[Any]) -> list[tuple[Any, Prepared | Outgoing]]:
        inputs = self._means.inputs
        await inputs.ready(records)
        found = [(record, inputs.prepare(record, self._topic_id)) for record in records]
        await asyncio.sleep(0)
        return found

    async def _read(self) -> list[Any]:
        """What has come, up to a record that only another worker can read."""
        records = await self._reader.news()
        for number, record in enumerate(records):
            version = foreign_version(record)
            if version is not None:
                text = "%s-%d-%d is of version %d, and waits for a worker that reads it"
                told = (record.topic, record.partition, record.offset, version)
                log.error(text, *told, extra={"action": "record_unreadable"})
                self._reader.seek(record.offset)
                if not number:
                    await asyncio.sleep(_AGAIN_S)
                return records[:number]
        return records
