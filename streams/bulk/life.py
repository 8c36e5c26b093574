"""The life of one batch, from when it is closed until every input has its outcome.

    closed ─▶ creating ─▶ running ─▶ settling ─▶ ended
      ▲          │           │
      └──────────┴───────────┴──────────┘  the provider did not take it, has done nothing, or has refused every line

    closed, creating or running, and larger than the provider's whole queue ─▶ ended, its inputs in several others

Each step is in the log before the next one begins, so another owner goes on from any of them. Between `creating` and
`running` nobody knows whether the provider has it: whoever goes on waits until the former owner cannot be creating it
any more, and looks for it there.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from random import random as uniform
from typing import TYPE_CHECKING, Protocol

import msgspec

from ...agents.remote.bulk.closing import Gathered, Part, clipped, earlier, holds, joined, offsets_of, parts_of
from ...agents.remote.bulk.gate import NO_TICKET, PROBE_INPUTS, Tally
from ...agents.remote.bulk.identity import batch_id
from ...agents.remote.bulk.inputs import Prepared, Settled
from ...agents.remote.bulk.provider import TOKEN_LIMIT, BulkOrder, BulkStatus, TooLate, Unsure
from ...agents.remote.retry import CallRefused, Terminal
from ...schemas.budget import NOTHING, Amount
from ...schemas.bulk import BatchCounts, BatchTold
from ...schemas.codec import facts_of
from ...schemas.errors import BiSupervisedError, RemoteError, RemoteFailure
from ...schemas.records import Incoming
from .paying import advance_for, give_back, lease_name
from .spool import Results, Spool
from .writer import Leaving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiokafka import TopicPartition

    from ...agents.remote.bulk.provider import LineResult
    from .policy import BulkPolicy, Means
    from .reading import PartitionReader

log = logging.getLogger(__name__)

#: records whose outcomes leave in one transaction, at most, and bytes of their values
_CHUNK, _CHUNK_BYTES = 500, 4 * 1024 * 1024
#: seconds between two looks whether money or room is there
_LOOK_S = 0.5
#: seconds between two words about a batch of another interface
_ELSEWHERE_S = 600.0
#: names of batches at the provider that are remembered as not being this one
_OTHERS = 50
#: milliseconds after which the provider has deleted what it had of a batch, beyond what it says
_SLACK_MS = 3_600_000


class RecordsGone(BiSupervisedError):
    """The topic does not hold some records of a batch any more, and they have no outcome yet."""


class OwnerPort(Protocol):
    """The owner, as a batch sees it."""

    policy: BulkPolicy
    means: Means
    topic_id: str
    place: TopicPartition  #: of `batched`

    @property
    def known(self) -> list[str]: ...
    async def tell(self, *batches: BatchTold, leaving: Sequence[Leaving] = ()) -> None: ...
    async def stand_still(self, why: str) -> None: ...
    async def split(self, batch: BatchTold, parts: Sequence[BatchTold]) -> None: ...
    def reader(self) -> PartitionReader: ...


class Life:
    """Takes one batch to its end."""

    def __init__(self, owner: OwnerPort, batch: BatchTold, spool: Spool | None, *, taken_over: bool) -> None:
        """`spool`: its lines, where they are at hand; `taken_over`: it is not known what became of its last step."""
        self.batch = batch
        self._owner = owner
        self._policy = owner.policy
        self._means = owner.means
        self._spool = spool
        self._taken_over = taken_over
        self._began = owner.means.clock()
        self._failures = 0  # in a row, of the provider
        self._refusals = 0  # of this batch
        self._told_waits = False
        self._looked_at = -math.inf  # when deadlines were looked at last
        self._ticket = NO_TICKET  # of the gate, for what the provider was asked last
        self._answers_before: int | None = None  # that others had when this one was refused first
        if batch.state == "running":
            self._means.queue.taken(batch.id, batch.tokens)
        if batch.state != "closed":
            self._ticket = self._means.gate.joined(self._began)

    def __repr__(self) -> str:
        return f"<Life of {self.batch.id}, {self.batch.state}>"

    async def run(self) -> None:
        """Until it has ended. Raises what the broker makes fail, and `OSError`."""
        try:
            await self._live()
        except RecordsGone as error:  # it holds no place that others wait for
            await self._owner.stand_still(str(error))

    async def _live(self) -> None:
        try:
            await self._own_interface()
            while self.batch.state != "ended":
                match self.batch.state:
                    case "closed":
                        await self._create()
                    case "creating":
                        await self._find()
                    case "running":
                        await self._poll()
                    case _:
                        await self._settle()
        finally:
            self._means.queue.left(self.batch.id)
            self._means.gate.gone(self.batch.id, self._ticket)
            if self._means.advances is not None:
                self._means.advances.drop(lease_name(self.batch))
            self._drop_spool()

    async def _own_interface(self) -> None:
        """What another interface was asked waits until the settings name that again."""
        while self.batch.state != "closed" and self.batch.interface != self._policy.interface:
            text = "batch %s is at %s, and [batch] interface is %s: it waits until that is named again"
            facts = {"action": "batch_elsewhere", "batch": self.batch.id}
            log.error(text, self.batch.id, self.batch.interface, self._policy.interface, extra=facts)
            await asyncio.sleep(_ELSEWHERE_S)

    async def _become(self, leaving: Sequence[Leaving] = (), **changes: object) -> None:
        """Say in the log how it is now."""
        batch = msgspec.structs.replace(self.batch, **changes)
        await self._owner.tell(batch, leaving=leaving)
        self.batch = batch

    # creating

    async def _create(self) -> None:
        """One try, or one look whether there may be one."""
        await self._time_out()
        if self.batch.records and not await self._has_its_turn():
            return
        spool = await self._lines()
        if not self.batch.records:
            await self._give_up("timeout", "none of its inputs is left: their deadlines have passed")
            return
        advance = advance_for(self.batch, self._means, waits=self._policy.waits_for_budget)
        if advance == "soon":
            await asyncio.sleep(_LOOK_S)
            return
        if advance == "no":
            await self._give_up("budget", "the budget of this period does not pay for its batch")
            return
        gate, now = self._means.gate, self._means.clock()
        if not gate.admits(now):  # another has begun meanwhile
            return
        self._ticket = gate.begin(self.batch.id, now)
        await self._become(
            state="creating",
            interface=self._policy.interface,
            tries=self.batch.tries + 1,
            creating_ms=round(self._means.now_ms()),
            found=False,
            lease=advance.id,
            period=advance.period,
            leased_money=advance.amount.money,
            leased_calls=advance.amount.calls,
        )
        self._taken_over, self._began = False, self._means.clock()
        try:
            status = await self._means.provider.create(self._order(), spool, self._guard)
        except Unsure as error:
            self._began = self._means.clock()
            self._say("is looked for: it may have been created", error)
        except RemoteFailure as error:
            await self._refused(error)
        else:
            await self._created(status)

    async def _has_its_turn(self) -> bool:
        """Whether it may be created; where it may not, it has waited a moment, or is over."""
        if not await self._may_ask():
            return False
        if self._means.queue.too_large(self.batch.tokens) and await self._split("larger than the provider's queue"):
            return False
        if self._has_room():
            return True
        await asyncio.sleep(_LOOK_S)
        return False

    async def _may_ask(self) -> bool:
        """Whether the provider is asked to create any, or this one to see how it is; else as `_has_its_turn`."""
        gate, batch = self._means.gate, self.batch
        if gate.admits(self._means.clock()):
            if not gate.wants_small(batch.id, batch.records):
                return True
            if gate.may_split(batch.id):
                return not await self._split("a few of its inputs see whether they are answered", PROBE_INPUTS)
        elif gate.stopped and not gate.waits:
            await self._give_up("remote_error", f"{gate.stopped}; its batch was not created")
            return False
        await asyncio.sleep(_LOOK_S)
        return False

    def _guard(self) -> None:
        if self._means.clock() - self._began > self._means.provider.create_within_s:
            raise TooLate(f"batch {self.batch.id} is not created: we have stood still")

    def _order(self) -> BulkOrder:
        batch = self.batch
        name = f"{batch.id}.{batch.tries}"
        return BulkOrder(name, batch.records, batch.bytes, batch.creating_ms, self._means.inputs.path)

    async def _lines(self) -> Spool:
        """Its lines, made anew where they are not at hand."""
        if self._spool is None:
            spool, line_size = Spool(self._policy.folder), self._means.provider.line_size
            held = Gathered(self.batch.first, 0.0)
            try:
                async for lines in self._prepared():
                    for one, found in lines:
                        held.add(one.offset, line_size(found.line), found.tokens, found.most)
                    await spool.add([found.line for _, found in lines])
            except BaseException:
                spool.close()
                raise
            self._spool = spool
            # as the settings have it now: another prompt makes other lines
            self.batch = msgspec.structs.replace(
                self.batch, records=held.records, bytes=held.bytes, tokens=held.tokens, most=held.most
            )
        return self._spool

    async def _prepared(self) -> AsyncIterator[list[tuple[Incoming, Prepared]]]:
        """Its inputs that can be asked, as the settings have it now."""
        async for records in self._records():
            await self._means.inputs.ready(records)
            found = [(one, self._means.inputs.prepare(one, self._owner.topic_id, late=True)) for one in records]
            yield [(one, prepared) for one, prepared in found if isinstance(prepared, Prepared)]

    async def _split(self, why: str, head: int = 0) -> bool:
        """Its inputs go into several batches, which the provider's queue takes one of at least. False where they are
        too few. `head`: inputs in the first one, at most.
        """
        batch, close = self.batch, self._policy.close.within(self._means.queue.most)
        size_of = self._means.provider.line_size
        inputs = [
            Part(one.offset, size_of(found.line), found.tokens, found.most, found.deadline_ms)
            async for lines in self._prepared()
            for one, found in lines
        ]
        parts = parts_of(batch.first, batch.end, inputs, close, head)
        if len(parts) < 2:
            return False
        await give_back(self.batch, self._means, NOTHING)
        ended = msgspec.structs.replace(
            batch, state="ended", provider_id="", split=len(parts), ended_ms=round(self._means.now_ms()), why=why
        )
        await self._owner.split(ended, [self._part(part) for part in parts])
        self.batch = ended
        facts = {"action": "batch_split", "batch": batch.id, "parts": len(parts)}
        log.info("batch %s of %d inputs goes into %d: %s", batch.id, batch.records, len(parts), why, extra=facts)
        return True

    def _part(self, part: Gathered) -> BatchTold:
        """A batch with these of its inputs. Those that have their outcome are left out."""
        batch, place = self.batch, self._owner.place
        return BatchTold(
            batch_id(self._policy.pipeline, self._owner.topic_id, place.partition, part.first, part.end),
            part.first,
            part.end,
            "closed",
            self._policy.interface,
            records=part.records,
            bytes=part.bytes,
            tokens=part.tokens,
            most=part.most,
            excluded=clipped(joined(batch.excluded, offsets_of(batch.late)), part.first, part.end),
            gone=clipped(batch.gone, part.first, part.end),
            deadline_ms=part.deadline_ms,
            closed_ms=batch.closed_ms,
        )

    def _has_room(self) -> bool:
        """The provider takes its tokens beside what it has of ours."""
        queue = self._means.queue
        if queue.fits(self.batch.tokens):
            return True
        if not self._told_waits:
            text = "batch %s waits: the provider has %d tokens of ours, and takes %d"
            facts = {"action": "batch_waits", "batch": self.batch.id}
            log.info(text, self.batch.id, queue.waiting, queue.limit, extra=facts)
            self._told_waits = True
        return False

    async def _time_out(self) -> None:
        """Those whose deadline has passed fall back now, whether the provider has them or not."""
        batch, now_ms = self.batch, self._means.now_ms()
        since_s = self._means.clock() - self._looked_at
        if batch.deadline_ms is None or batch.deadline_ms > now_ms or since_s < self._policy.pace.most_s:
            return
        self._looked_at = self._means.clock()
        asked = batch.state != "closed"
        deadline_ms: int | None = None
        async for records in self._records():
            for chunk in _chunks(records):
                deadlines = [(record, facts_of(record).deadline_ms) for record in chunk]
                passed = [record for record, at_ms in deadlines if at_ms is not None and at_ms <= now_ms]
                for _, at_ms in deadlines:
                    deadline_ms = earlier(deadline_ms, None if at_ms is None or at_ms <= now_ms else at_ms)
                if passed:
                    await self._leave_late(passed, asked=asked)
        await self._become(deadline_ms=deadline_ms)
        if not asked:
            self._drop_spool()

    async def _leave_late(self, records: Sequence[Incoming], *, asked: bool) -> None:
        settled = [self._means.inputs.time_out(record, asked=asked) for record in records]
        leaving = [Leaving(record, one.outgoing) for record, one in zip(records, settled, strict=True)]
        counts = BatchCounts(fallen=len(records))
        offsets = [record.offset for record in records]
        batch = self.batch
        where = {"late": joined(batch.late, offsets)} if asked else {"excluded": joined(batch.excluded, offsets)}
        left = batch.records if asked else batch.records - len(records)
        await self._become(leaving, counts=batch.counts.plus(counts), records=left, **where)
        self._means.standing.settled(counts)

    async def _created(self, status: BulkStatus, *, found: bool = False) -> None:
        self._means.queue.taken(self.batch.id, self.batch.tokens)
        self._means.standing.created += 1
        self._failures = 0
        facts = {"action": "batch_created", "batch": self.batch.id, "provider_id": status.id, "found": found}
        text = "batch %s of %d inputs is %s at the provider"
        log.info(text, self.batch.id, self.batch.records, status.id, extra=facts)
        await self._become(
            state="running",
            provider_id=status.id,
            created_ms=status.created_ms,
            expires_ms=status.expires_ms,
            found=found and not self._means.provider.names_batches,
            why="",
        )

    async def _refused(self, error: Exception, code: str = "") -> None:
        """The provider has not created it, or has done nothing. It waits, unless it is to blame itself."""
        why, gate = str(error), self._means.gate
        paces = False  # the gate says when it may be tried again
        if code == TOKEN_LIMIT or TOKEN_LIMIT in why:
            if await self._refused_for_queue():
                return
        elif isinstance(error, CallRefused):
            paces = self._refused_at_the_door(error)
            if await self._is_to_blame(why):
                return
        gate.abandoned(self._ticket)
        self._say("waits: the provider has not taken it", error)
        await self._close_again(why)
        if not paces:
            await self._pause(error)

    def _refused_at_the_door(self, error: CallRefused) -> bool:
        """Tell the gate. Whether it says when this batch may be tried again."""
        gate, small = self._means.gate, self.batch.records <= PROBE_INPUTS
        final = isinstance(error, Terminal)
        others_may_tell = bool(self._means.queue.waiting) or (small and gate.well)
        gate.refused(self._ticket, error, self._means.clock(), self._family if others_may_tell and not final else "")
        self._refusals += not final
        return bool(gate.stopped)

    @property
    def _family(self) -> str:
        """The batch, and all that are parts of the same one."""
        return f"{self._owner.place.partition}/{self.batch.closed_ms}"

    async def _is_to_blame(self, why: str) -> bool:
        """Whether it was refused for its own, and is dealt with: one input may spoil it for all."""
        gate, half = self._means.gate, self.batch.records // 2
        others = self._others_were_answered() and self._refusals >= self._policy.refusals
        small = self.batch.records <= PROBE_INPUTS
        alone = small and self._refusals >= gate.policy.failures and gate.blames(self._family)
        if gate.stopped or not (others or alone):
            return False
        if not half or not await self._split(f"refused, as others are not: {why}"[:500], half):
            await self._give_up("remote_error", f"the provider refuses its batch: {why}")
        return True

    async def _close_again(self, why: str, others: tuple[str, ...] = ()) -> None:
        """It waits for another try. Those whose deadline has passed meanwhile are in it no more. `others`: names of
        batches at the provider that are not it.
        """
        batch = self.batch
        late = offsets_of(batch.late)
        if late:
            self._drop_spool()
        await self._become(
            state="closed",
            provider_id="",
            found=False,
            why=why[:500],
            excluded=joined(batch.excluded, late),
            late=(),
            records=batch.records - len(late),
            others=others or batch.others,
        )

    def _drop_spool(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    async def _refused_for_queue(self) -> bool:
        """Too many tokens wait at the provider. Whether that is dealt with, for nothing waits there, and the batch is
        larger than the whole queue.
        """
        queue, batch, why = self._means.queue, self.batch, "larger than the provider's queue"
        queue.left(batch.id)
        alone = not queue.waiting and not await self._others_run()
        queue.refused(batch.id, batch.tokens, alone=alone)
        if not alone:
            return False
        if batch.records > 1:
            return await self._split(why)
        self._refusals += 1
        others = self._others_were_answered()
        since_ms = self._means.now_ms() - batch.closed_ms
        if self._refusals < self._policy.refusals or not (others or since_ms > self._means.provider.window_s * 1000):
            return False
        await self._give_up("refused", f"the input is {why}: it has about {batch.tokens:,} tokens")
        return True

    async def _others_run(self) -> bool:
        """The provider has batches that are not ours to know: of another worker, or of somebody else."""
        provider = self._means.provider
        try:
            return await provider.any_running(round(self._means.now_ms() - 2 * provider.window_s * 1000))
        except RemoteFailure as error:
            self._say("was refused for the provider's queue, and nobody says what waits there", error)
            return True

    def _others_were_answered(self) -> bool:
        """Since the provider began to refuse this one."""
        answers = self._means.gate.answers
        if self._answers_before is None:
            self._answers_before = answers
        return answers > self._answers_before

    async def _find(self) -> None:
        """It may have been created, by a former owner or by us."""
        provider, batch = self._means.provider, self.batch
        # a former owner may have stood still for as long as our guard allows, and be creating it since
        over_s = provider.create_within_s + self._policy.call_timeout_s
        over_s = over_s if self._taken_over else self._policy.pace.first_s
        await asyncio.sleep(max(0.0, self._began + over_s - self._means.clock()))
        self._taken_over, self._began = False, -math.inf
        try:
            found = await provider.find(self._order(), {*self._owner.known, *batch.others})
        except RemoteFailure as error:
            self._say("is looked for at the provider, which does not answer", error)
            await self._pause(error)
            return
        if found:
            await self._created(found[0], found=True)
            return
        if provider.names_batches:
            await self._become(state="closed", why="it was not created")
            return
        self._means.standing.unsure += 1
        text = "batch %s was looked for and not found: if it was created all the same, it is paid twice"
        log.warning(text, batch.id, extra={"action": "batch_unsure", "batch": batch.id})
        await self._become(state="closed", unsure=batch.unsure + 1, lease="", why="it was not found")

    # running

    async def _poll(self) -> None:
        now_ms = self._means.now_ms()
        await asyncio.sleep(self._policy.pace.poll_s(max(0.0, now_ms - self.batch.created_ms) / 1000.0))
        await self._time_out()
        try:
            status = await self._means.provider.poll(self.batch.provider_id)
        except RemoteFailure as error:
            if isinstance(error, CallRefused) and self._is_gone():
                await self._become(state="settling", why=f"the provider knows nothing of it any more: {error}")
                return
            self._say("is not told of by the provider", error)
            await self._pause(error)
            return
        self._failures = 0
        if status.completed:
            self._means.gate.answered(self._ticket)
        if status.state == "ended":
            self._means.queue.answered(self.batch.id)
            await self._become(state="settling")
        elif status.state == "failed":
            self._means.queue.left(self.batch.id)
            failed = CallRefused(f"{status.code}: {status.error}", may_be_input=True)
            await self._refused(failed, status.code)

    def _is_gone(self) -> bool:
        provider, created_ms = self._means.provider, self.batch.created_ms
        kept_ms = (provider.window_s + provider.kept_s) * 1000
        return self._means.now_ms() > created_ms + kept_ms + _SLACK_MS

    # settling

    async def _give_up(self, reason: str, why: str) -> None:
        self._say("falls back", RemoteError(why))
        await self._become(state="settling", reason=reason, why=why[:500])

    async def _settle(self) -> None:
        self._means.queue.left(self.batch.id)
        status: BulkStatus | None = None
        results: Results | None = None
        tally, doubted = Tally(self._means.inputs.raise_for, self._means.gate.policy.failures), False
        if not self.batch.reason and not self._is_gone():
            results = Results(self._owner.place.partition, self.batch.first, self.batch.end, self._policy.folder)
        try:
            if results is not None:
                status = await self._fetched(results, tally)
                if status is None:
                    return
                weighed = self._means.gate.weigh(self._ticket, tally, self._means.clock())
                if weighed == "settings" and not self.batch.settled_to:
                    await self._hold(status)
                    return
                doubted = weighed != "own"
            await self._leave(results, doubted=doubted)
        finally:
            if results is not None:
                results.close()
        await self._end(status)

    async def _hold(self, status: BulkStatus) -> None:
        """Not one of its inputs was answered, nor is any other: all of them wait, and go into a batch again."""
        batch, why = self.batch, self._means.gate.stopped
        facts = {"action": "batch_held", "batch": batch.id, "inputs": batch.records}
        log.warning("batch %s: its %d inputs wait: %s", batch.id, batch.records, why, extra=facts)
        if batch.records > PROBE_INPUTS:  # a probe keeps its little: it asks again and again
            await give_back(self.batch, self._means, NOTHING)
        await self._close_again(why, others=(*batch.others, batch.provider_id)[-_OTHERS:])
        await self._forget(status)

    async def _fetched(self, results: Results, tally: Tally) -> BulkStatus | None:
        """Its results, on disk. None where it is to be tried again, or was not this batch."""
        provider = self._means.provider
        try:
            status = await provider.poll(self.batch.provider_id)
            await results.take(tally.through(provider.results(status)))
        except RemoteFailure as error:
            self._say("has ended, and its results cannot be had", error)
            await self._pause(error)
            return None
        self._failures = 0
        if self.batch.found and results.foreign and not results.ours:
            text = "batch %s is not %s at the provider, which was taken for it"
            log.warning(text, self.batch.id, self.batch.provider_id, extra={"action": "batch_other"})
            others = (*self.batch.others, self.batch.provider_id)
            await self._become(state="creating", provider_id="", found=False, others=others)
            return None
        self._means.standing.foreign += results.foreign
        return status

    async def _leave(self, results: Results | None, *, doubted: bool) -> None:
        """The outcome of every input that has none yet."""
        async for records in self._records(late=True):
            if not self.batch.reason:
                await self._means.inputs.ready(records)
            for chunk in _chunks(records):
                found = {} if results is None else await results.of([record.offset for record in chunk])
                settled = [self._settled(record, found, doubted=doubted) for record in chunk]
                await self._leaves(chunk, settled)

    def _settled(self, record: Incoming, found: dict[int, LineResult], *, doubted: bool) -> Settled:
        inputs, batch = self._means.inputs, self.batch
        if batch.reason:
            return inputs.give_up(record, batch.reason, batch.why)
        result = found.get(record.offset)
        if result is not None and result.custom_id != inputs.name_of(record, self._owner.topic_id):
            self._means.standing.foreign += 1
            result = None
        return inputs.settle(record, result, self._means.now_ms() - batch.closed_ms, doubted=doubted)

    async def _leaves(self, records: Sequence[Incoming], settled: Sequence[Settled]) -> None:
        """Those that had their outcome when their deadline passed have cost what they have, and no more."""
        counts, leaving, late = BatchCounts(), [], self.batch.late
        for record, one in zip(records, settled, strict=True):
            if holds(late, record.offset):
                told = one.counts
                counts = counts.plus(BatchCounts(calls=told.calls, cost=told.cost, direct_cost=told.direct_cost))
                continue
            counts = counts.plus(one.counts)
            leaving.append(Leaving(record, one.outgoing))
        to = records[-1].offset + 1
        await self._become(leaving, state="settling", settled_to=to, counts=self.batch.counts.plus(counts))
        self._means.standing.settled(counts)

    async def _end(self, status: BulkStatus | None) -> None:
        """Give the rest of the money back, then say that it is over."""
        batch = self.batch
        leased = Amount(batch.leased_money, batch.leased_calls)
        # of inputs that are gone, nobody knows what they have cost
        used = leased if batch.gone else Amount(batch.counts.cost, batch.counts.calls)
        await give_back(batch, self._means, used)
        await self._become(state="ended", ended_ms=round(self._means.now_ms()))
        self._means.standing.ended[batch.reason or "answered"] += 1
        counts = batch.counts
        facts = {"action": "batch_ended", "batch": batch.id, "counts": msgspec.structs.asdict(counts)}
        text = "batch %s is over: %d answered, %d fell back, %d go into another"
        log.info(text, batch.id, counts.answered, counts.fallen, counts.again, extra=facts)
        if status is not None:
            await self._forget(status)

    async def _forget(self, status: BulkStatus) -> None:
        try:
            await self._means.provider.forget(status)
        except RemoteFailure as error:
            self._say("is over, and the provider does not forget it", error)

    # helpers

    async def _records(self, *, late: bool = False) -> AsyncIterator[list[Incoming]]:
        """Its records that have no outcome; `late`: and those that had it for their deadline. Raises `RecordsGone`."""
        batch, reader = self.batch, self._owner.reader()
        left_out = batch.excluded if late else (*batch.excluded, *batch.late)
        try:
            await reader.start()
            async for records in reader.between(await self._first(reader), batch.end):
                kept = [record for record in records if not holds(left_out, record.offset)]
                if kept:
                    yield kept
        finally:
            await reader.close()

    async def _first(self, reader: PartitionReader) -> int:
        """Offset from which on its records are read. What is gone has no outcome: a person must know."""
        batch, place = self.batch, self._owner.place
        begin, _ = await reader.bounds(lambda begin, _: self._gone_before(begin))
        if gone := self._gone_before(begin):
            text = f"offsets {gone[0]} to {gone[-1]} were deleted before the inputs there had their outcome"
            if not self._policy.begin_anew:
                raise RecordsGone(f"{text}; batch {batch.id} waits for them")
            facts = {"action": "batches_begin_anew", "partition": place.partition, "batch": batch.id}
            log.warning("%s-%d: %s; batch %s goes on without them", *place, text, batch.id, extra=facts)
            await self._become(gone=joined(batch.gone, gone))
        return max(batch.first, batch.settled_to, begin)

    def _gone_before(self, begin: int) -> list[int]:
        """Its offsets without an outcome that are missing where the partition begins there, unless that is said."""
        batch = self.batch
        known = (*batch.excluded, *batch.late, *batch.gone)
        missing = range(max(batch.first, batch.settled_to), min(begin, batch.end))
        return [offset for offset in missing if not holds(known, offset)]

    def _say(self, what: str, error: BaseException) -> None:
        facts = {"action": "batch_trouble", "batch": self.batch.id, "failures": self._failures}
        log.warning("batch %s %s: %s", self.batch.id, what, error, extra=facts)

    async def _pause(self, error: BaseException) -> None:
        wish = error.retry_after_s if isinstance(error, RemoteFailure) else None
        await asyncio.sleep(self._policy.pace.again_s(self._failures, wish, uniform()))
        self._failures += 1


def _chunks(records: Sequence[Incoming]) -> list[list[Incoming]]:
    found: list[list[Incoming]] = []
    size = 0
    for record in records:
        bytes_of = len(record.value or b"")
        if not found or len(found[-1]) >= _CHUNK or size + bytes_of > _CHUNK_BYTES:
            found.append([])
            size = 0
        found[-1].append(record)
        size += bytes_of
    return found
