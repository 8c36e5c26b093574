"""The owner of one partition of `batched`: takes it over, fills batches, and lets each live its life beside the others.

    open (nobody else writes from here on) ─▶ read the log ─▶ every batch that is not over goes on
                                                           ─▶ fill ─▶ close ─▶ fill ─▶ …

Progress is what the log says: the offset after the last closed batch, which is committed beside it. Whatever fails at
the broker ends the owner, and it, or another one, takes over again. What fails at the provider waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from ...agents.remote.bulk.closing import Gathered, ranges
from ...agents.remote.bulk.fold import BulkLedger
from ...agents.remote.bulk.identity import batch_id
from ...agents.tasks import begin, end
from ...schemas.bulk import BatchCounts, BatchTold, BulkEntry
from ...schemas.errors import BiSupervisedError
from .filling import Filler
from .life import Life
from .reading import PartitionReader, read_ledger
from .writer import BulkWriter, Leaving

if TYPE_CHECKING:
    from ..plane.sending.routing import Router
    from .policy import BulkPolicy, Means
    from .spool import Spool

log = logging.getLogger(__name__)

#: entries after which one stands for itself
_WHOLE_EVERY = 50
#: seconds between two looks whether there is room for another batch
_LOOK_S = 0.5


class Recreated(BiSupervisedError):
    """The topic does not begin where the next batch does: it has lost records, or was made anew."""


class BatchGivenUp(BiSupervisedError):
    """A client that a batch waited for was cancelled, and the batch with it."""


class Owner:
    """One that owns a partition, until it fails or is cancelled."""

    def __init__(self, policy: BulkPolicy, means: Means, partition: int, router: Router) -> None:
        self.policy = policy
        self.means = means
        self.place = TopicPartition(policy.batched, partition)
        self.topic_id = ""
        self._writer = BulkWriter(
            policy.outbox, self.place, policy.batches, router, policy.batches_bytes, means.companions
        )
        self._ledger = BulkLedger("")
        self._entries = 0  # since one that stands for itself
        self._living: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._telling = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Owner of {self.place.topic}-{self.place.partition}, {len(self._ledger.open)} batches>"

    async def run(self) -> None:
        """Own it. Raises `OutboxError`, `NotAllowed`, `KafkaError`, `OSError`, `Recreated` and `BatchGivenUp`."""
        partition = self.place.partition
        filling = None
        try:
            await self._take_over()
            for batch in list(self._ledger.open.values()):
                self._live(batch, None, taken_over=True)
            filling = begin(self._fill(), f"filling batches of {partition}", _heard)
            while True:
                ended, _ = await asyncio.wait({filling, *self._living}, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    self._living.discard(task)
                    if task.cancelled():  # by whom it waited for: raised here, it would end us without a word
                        raise BatchGivenUp(f"{task.get_name()} was cancelled from within")
                    task.result()
        finally:
            await end([*self._living, *([filling] if filling else [])])
            self.means.standing.open.pop(partition, None)
            await self._writer.close()

    async def _take_over(self) -> None:
        await self._writer.open()
        self.topic_id = await self._writer.topic_id()
        place = TopicPartition(self.policy.batches, self.place.partition)
        self._ledger = await read_ledger(self.policy.connection, place, self.policy.pipeline, self.topic_id)
        committed = await self._writer.committed()
        if self._ledger.next is None or (committed or 0) > self._ledger.next:
            self._ledger.next = committed
        self.means.queue.learned_before(self._ledger.queue_tokens)
        self.means.standing.failures.pop(self.place.partition, None)
        facts = {"action": "batches_taken_over", "partition": self.place.partition, "open": len(self._ledger.open)}
        log.info("takes over the batches of %s-%d: %d are open", *self.place, len(self._ledger.open), extra=facts)

    # what is said in the log

    @property
    def known(self) -> list[str]:
        """The provider's names of all batches of this partition that are known."""
        told = [*self._ledger.open.values(), *self._ledger.ended]
        return [name for batch in told for name in (batch.provider_id, *batch.others) if name]

    async def tell(self, *batches: BatchTold, leaving: Sequence[Leaving] = ()) -> None:
        """Say how these batches are now, in one transaction with what leaves."""
        async with self._telling:  # an entry tells of all batches what the one before it has left
            entry = self._entry(batches)
            await self._writer.commit(leaving, entry)
            self._ledger.take(entry)
        self.means.standing.open[self.place.partition] = dict(self._ledger.open)
        self._room.set()

    def _entry(self, batches: tuple[BatchTold, ...]) -> BulkEntry:
        open_now = {**self._ledger.open, **{batch.id: batch for batch in batches}}
        whole = self._entries % _WHOLE_EVERY == 0
        self._entries += 1
        return BulkEntry(
            self.policy.pipeline,
            self.topic_id,
            max(self._ledger.next or 0, *(batch.end for batch in batches)),
            tuple(open_now.values()) if whole else batches,
            whole=whole,
            queue_tokens=self.means.queue.limit,
            by=self.policy.by,
        )

    def reader(self) -> PartitionReader:
        """Another reader of the partition."""
        return PartitionReader(self.policy.connection, self.place)

    # filling

    def _live(self, batch: BatchTold, spool: Spool | None, *, taken_over: bool = False) -> None:
        life = Life(self, batch, spool, taken_over=taken_over)
        self._living.add(begin(life.run(), f"batch {batch.id}", _heard))

    async def _fill(self) -> None:
        reader = self.reader()
        try:
            await reader.start()
            filler = Filler(self.policy, self.means, self.topic_id, reader, await self._first(reader))
            while True:
                await self._until_room()
                await self._close(*await filler.fill())
        finally:
            await reader.close()

    async def _first(self, reader: PartitionReader) -> int:
        begin, end = await reader.bounds()
        if self._ledger.next is None:
            return end if self.policy.begins_at_end else begin
        if not begin <= self._ledger.next <= end:
            raise Recreated(
                f"{self.place.topic}-{self.place.partition} holds offsets {begin} to {end}, and the next batch begins "
                f"at {self._ledger.next}: records are gone, or the topic was made anew"
            )
        return self._ledger.next

    async def _until_room(self) -> None:
        while len(self._ledger.open) >= self.policy.in_flight:
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._room.wait()

    async def _close(self, gathered: Gathered, leaving: list[Leaving], spool: Spool) -> None:
        """What it holds is in the log before anybody is asked."""
        batch = BatchTold(
            batch_id(self.policy.pipeline, self.topic_id, self.place.partition, gathered.first, gathered.end),
            gathered.first,
            gathered.end,
            "closed" if gathered.records else "ended",
            self.policy.interface,
            records=gathered.records,
            bytes=gathered.bytes,
            tokens=gathered.tokens,
            most=gathered.most,
            excluded=ranges(gathered.excluded),
            deadline_ms=gathered.deadline_ms,
            closed_ms=round(self.means.now_ms()),
        )
        await self.tell(batch, leaving=leaving)
        self.means.standing.settled(BatchCounts(fallen=len(leaving)))
        if batch.state == "ended":
            spool.close()
            return
        self._live(batch, spool)


def _heard(_error: BaseException) -> None:
    """Who runs the owner looks at it."""
