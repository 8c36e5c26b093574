"""The owner of one partition of `batched`: takes it over, fills batches, and lets each live its life beside the others.

    open (nobody else writes from here on) ─▶ read the log ─▶ every batch that is not over goes on
                                                           ─▶ fill ─▶ close ─▶ fill ─▶ …

Progress is what the log says: the offset after the last closed batch, which is committed beside it. Whatever fails at
the broker ends the owner, and it, or another one, takes over again. What fails at the provider waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from ...agents.remote.bulk.closing import Gathered, ranges
from ...agents.remote.bulk.fold import BulkLedger
from ...agents.remote.bulk.identity import batch_id
from ...agents.tasks import begin, end
from ...schemas.bulk import BatchCounts, BatchTold, BulkEntry
from ...schemas.errors import BiSupervisedError
from .beginning import Known, beginning
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
#: seconds for which an offset that should be committed is asked for again: after a crash, a coordinator of Kafka 4.4.0
#: was seen to say for a while that there is none
_MISSING_S = 120.0
#: seconds between two words about what stands still
_SAID_AGAIN_S = 600.0
#: what a person does about it
_ADVICE = "Start the worker once with --begin-anew to go on with what is left (docs/batches.md)"


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
        self._over: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()  # tasks that have ended, to be heard of
        self._room = asyncio.Event()
        self._telling = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Owner of {self.place.topic}-{self.place.partition}, {len(self._ledger.open)} batches>"

    async def run(self) -> None:
        """Own it. Raises `OutboxError`, `NotAllowed`, `KafkaError`, `OSError` and `BatchGivenUp`."""
        partition, reader = self.place.partition, self.reader()
        try:
            await reader.start()
            doubt = await self._take_over(reader)
            for batch in list(self._ledger.open.values()):
                self._live(batch, None, taken_over=True)
            fills = self.stand_still(doubt) if doubt else self._fill(reader)
            self._begin(fills, f"filling batches of {partition}")
            while True:
                task = await self._over.get()
                self._living.discard(task)
                if task.cancelled():  # by whom it waited for: raised here, it would end us without a word
                    raise BatchGivenUp(f"{task.get_name()} was cancelled from within")
                task.result()
        finally:
            await end(list(self._living))
            self.means.standing.open.pop(partition, None)
            await reader.close()
            await self._writer.close()

    async def _take_over(self, reader: PartitionReader) -> str:
        """Become the owner. Returns why no batches can be filled; '' where they can."""
        await self._writer.open()
        first, used_before = self._writer.first, self._writer.used_before
        self.topic_id = await self._writer.topic_id()
        place = TopicPartition(self.policy.batches, self.place.partition)
        self._ledger, logged = await read_ledger(self.policy.connection, place, self.policy.pipeline, self.topic_id)
        committed = await self._committed(expected=used_before and self._ledger.next is None)
        known = Known(self._ledger.next, committed, (0, 0), logged, used_before)
        held = await reader.bounds(lambda *bounds: beginning(known._replace(held=bounds)).doubt)
        begins, anew = beginning(known._replace(held=held)), self.policy.begin_anew
        if begins.doubt and anew:
            self._begin_anew(begins.doubt, begins.offset, forgets=begins.forgets)
        if not begins.doubt or anew:
            await self._open(begins.offset, first=first)
        self.means.queue.learned_before(self._ledger.queue_tokens, self._ledger.batch_tokens)
        self.means.standing.failures.pop(self.place.partition, None)
        facts = {"action": "batches_taken_over", "partition": self.place.partition, "open": len(self._ledger.open)}
        log.info("takes over the batches of %s-%d: %d are open", *self.place, len(self._ledger.open), extra=facts)
        return "" if anew else begins.doubt

    async def _open(self, offset: int, *, first: bool) -> None:
        """Say where it begins, where that is news."""
        if first or self._ledger.next != offset:
            await self.tell(filled_to=offset)
        if first:  # by its producer it is known that this was the first commit: it makes no other
            await self._writer.open()

    async def _committed(self, *, expected: bool) -> int | None:
        """The offset of the group; where there should be one, after some time at the latest."""
        until = self.means.clock() + _MISSING_S
        while True:
            found = await self._writer.committed()
            if found is not None or not expected or self.means.clock() > until:
                return found
            await asyncio.sleep(_LOOK_S)

    def _begin_anew(self, doubt: str, offset: int, *, forgets: bool) -> None:
        """As a person has said."""
        facts = {"action": "batches_begin_anew", "partition": self.place.partition}
        log.warning("%s-%d: %s; it begins anew at offset %d", *self.place, doubt, offset, extra=facts)
        if forgets:
            self._ledger.open.clear()

    async def stand_still(self, why: str) -> None:
        """Until a person says how it goes on, which the next worker hears. All else of the partition goes on."""
        told = f"{why}. {_ADVICE}"
        self.means.standing.failures[self.place.partition] = told
        while True:
            facts = {"action": "batches_stopped", "partition": self.place.partition}
            log.error("%s-%d stands still: %s", *self.place, told, extra=facts)
            await asyncio.sleep(_SAID_AGAIN_S)

    # what is said in the log

    @property
    def known(self) -> list[str]:
        """The provider's names of all batches of this partition that are known."""
        told = [*self._ledger.open.values(), *self._ledger.ended]
        return [name for batch in told for name in (batch.provider_id, *batch.others) if name]

    async def tell(self, *batches: BatchTold, leaving: Sequence[Leaving] = (), filled_to: int | None = None) -> None:
        """Say how these batches are now, in one transaction with what leaves. `filled_to`: all before this offset is
        in a batch now.
        """
        async with self._telling:  # an entry tells of all batches what the one before it has left
            entry = self._entry(batches, filled_to)
            await self._writer.commit(leaving, entry)
            self._ledger.take(entry)
        self.means.standing.open[self.place.partition] = dict(self._ledger.open)
        self._room.set()

    def _entry(self, batches: tuple[BatchTold, ...], filled_to: int | None) -> BulkEntry:
        open_now = {**self._ledger.open, **{batch.id: batch for batch in batches}}
        whole = self._entries % _WHOLE_EVERY == 0
        self._entries += 1
        return BulkEntry(
            self.policy.pipeline,
            self.topic_id,
            (self._ledger.next or 0) if filled_to is None else filled_to,
            tuple(open_now.values()) if whole else batches,
            whole=whole,
            queue_tokens=self.means.queue.limit,
            batch_tokens=self.means.queue.most,
            by=self.policy.by,
        )

    async def split(self, batch: BatchTold, parts: Sequence[BatchTold]) -> None:
        """This batch is over, and its inputs are in these, from one moment to the next."""
        await self.tell(batch, *parts)
        for part in parts:
            self._live(part, None)

    def reader(self) -> PartitionReader:
        """Another reader of the partition."""
        return PartitionReader(self.policy.connection, self.place)

    # filling

    def _live(self, batch: BatchTold, spool: Spool | None, *, taken_over: bool = False) -> None:
        self._begin(Life(self, batch, spool, taken_over=taken_over).run(), f"batch {batch.id}")

    def _begin(self, body: Coroutine[Any, Any, None], name: str) -> None:
        task = begin(body, name, _heard)
        task.add_done_callback(self._over.put_nowait)
        self._living.add(task)

    async def _fill(self, reader: PartitionReader) -> None:
        filler = Filler(self.policy, self.means, self.topic_id, reader, self._ledger.next or 0, self._passed)
        while True:
            await self._until_room()
            await self._close(*await filler.fill())

    async def _passed(self, offset: int) -> None:
        """No record is left before this offset. When all is deleted that is older, nothing is missed."""
        await self.tell(filled_to=offset)

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
        await self.tell(batch, leaving=leaving, filled_to=gathered.end)
        self.means.standing.settled(BatchCounts(fallen=len(leaving)))
        if batch.state == "ended":
            spool.close()
            return
        self._live(batch, spool)


def _heard(_error: BaseException) -> None:
    """Who runs the owner looks at it."""
