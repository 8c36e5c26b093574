"""One assigned partition, from its acquisition to its release.

    acquire: open the outbox (fences the former owner) ─▶ read what is committed ─▶ commit our phase ─▶ seek, resume
    flush:   plan ─▶ send and commit in one transaction ─▶ forget          again and again
    release: take nothing new ─▶ wait for what is held ─▶ last flush ─▶ close

All of it runs in one task, outside the rebalance callback, where no heartbeats are sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import TopicPartition

from ...schemas.errors import BiSupervisedError
from ...schemas.records import Incoming, Outgoing
from ..kafka.errors import Lost, Unsettled
from .caution import Caution, CautionPolicy
from .marks import MarksError, Progress
from .outbox import Outbox, Refused
from .window import Plan, Window, WindowPolicy

log = logging.getLogger(__name__)

#: seconds over which the load is taken at least: a few outcomes at once are none yet
_BURST_S = 0.05
#: weight of the newest in what a send is thought to take
_NEWEST = 0.1
#: seconds for which progress waits for a next send to be committed beside, before it is committed alone
_ALONE_S = 0.05

#: what a person does about an offset that a transaction holds for ever
_END_IT = (
    "find it with `kafka-transactions.sh find-hanging` and end it with `kafka-transactions.sh abort`: then the offset "
    "before it counts again, and outcomes since then may come twice"
)


class PartitionStopped(BiSupervisedError):
    """This partition cannot go on without a person. The others go on."""


@dataclass(frozen=True, slots=True)
class PartitionPolicy:
    """The pace and patience of one partition."""

    window: WindowPolicy
    caution: CautionPolicy
    commit_interval_s: float  #: seconds between two transactions under full load
    drain_s: float  #: seconds that what is in flight gets when the partition is taken away
    loaded_per_s: float = 1_000.0  #: outcomes a second that mean full load; with fewer the interval is shorter
    unhurried_s: float = 0.0  #: seconds between two transactions at least, load or not
    idle_commit_s: float = 5.0  #: seconds after which a position that moved without records is committed
    missing_s: float = 120.0  #: seconds for which a committed offset may be missing before the partition is stopped
    reopen_s: float = 0.5  #: seconds before a lost producer is opened again; lets a zombie learn that it is one


class Ledger(Protocol):
    """Where committed progress is read."""

    async def progress(self, tp: TopicPartition) -> Progress | None: ...
    async def topic_id(self, topic: str) -> str: ...


class Substitute(Protocol):
    """Makes the fallback record for a record that no agent can answer, or that the broker refuses."""

    def failed(self, record: Incoming, detail: str) -> Outgoing:
        """After the last try: `model_error`."""

    def too_large(self, record: Incoming, detail: str) -> Outgoing:
        """For an outcome larger than its topic accepts: `too_large`, without the value."""

    def refused(self, record: Incoming, detail: str) -> Outgoing:
        """For an outcome the broker refuses for another cause: `invalid_request`."""


def uncounted(outcomes: Sequence[Outgoing]) -> None:
    """Nobody hears of what is committed."""
    return


class _Load:
    """How many outcomes leave in a second."""

    def __init__(self, now: float) -> None:
        self.per_s = 0.0
        self._since = now
        self._outcomes = 0

    def add(self, outcomes: int, now: float) -> None:
        self._outcomes += outcomes
        if now - self._since >= _BURST_S:
            self.per_s = self._outcomes / (now - self._since)
            self._since, self._outcomes = now, 0


class Partition:
    """The owner's side of one input partition."""

    def __init__(
        self,
        tp: TopicPartition,
        policy: PartitionPolicy,
        outbox: Outbox,
        ledger: Ledger,
        substitute: Substitute,
        *,
        first_offset: Callable[[TopicPartition], Awaitable[int]],
        on_acquired: Callable[[Partition], None],
        on_progress: Callable[[], None],
        on_committed: Callable[[Sequence[Outgoing]], None] = uncounted,
        clock: Callable[[], float],
    ) -> None:
        self.tp = tp
        self.window: Window | None = None  #: None until acquired
        self.stopped: str | None = None  #: why it cannot go on, None while it can
        self.paused = True
        self._policy = policy
        self._outbox = outbox
        self._ledger = ledger
        self._substitute = substitute
        self._first_offset = first_offset
        self._on_acquired = on_acquired
        self._on_progress = on_progress
        self._on_committed = on_committed
        self._clock = clock
        self._wake = asyncio.Event()
        self._releasing = False
        self._deadline = float("inf")
        self._limit: int | None = None
        self._flushed_at = clock()
        self._took_s = 0.0  # what a send takes, of late
        self._load = _Load(clock())
        self._arming = False
        self._sent: list[Plan] = []  # on their way, or waiting for the next send to commit them too; the oldest first
        self._own_commit: int | None = None  # the last offset that this owner committed
        self._first_owner = False  # nobody owned it before us, so there may be no offset yet
        self._missing_since: float | None = None
        self._substituted: set[int] = set()
        self.abandoned = 0  #: records that were in flight when the drain deadline passed
        self.recoveries = 0  #: times a lost producer was opened again

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else "acquiring" if self.window is None else repr(self.window)
        return f"<Partition {self.tp.topic}-{self.tp.partition} {state}>"

    @property
    def taking(self) -> bool:
        """True while records may be handed to an agent."""
        open_window = self.window is not None and not self.window.closed
        return open_window and not self._releasing and self.stopped is None

    def add(self, records: Iterable[Incoming]) -> None:
        """Take in what was fetched."""
        if self.window is not None:
            self.window.add(records)

    def wake_if_ready(self) -> None:
        """Answers have come, or records: see whether there is something to commit."""
        window = self.window
        if window is not None and (window.ready or self._releasing or window.wants_reach):
            self._wake.set()

    def arm(self) -> None:
        """It is this partition's turn to try a batch that may kill the process: commit that first."""
        self._arming = True
        self._wake.set()

    @property
    def arming(self) -> bool:
        """The commit that arms is on its way."""
        return self._arming

    def stop(self, reason: str) -> None:
        """Stop this partition loudly: it stays assigned, paused and unfinished until a person acts."""
        self.stopped = reason
        log.critical("%s: %s", self.tp, reason, extra={"action": "partition_stopped"})

    async def run(self) -> None:
        """Own the partition until it is released. Returns when it is, or when it was lost or stopped."""
        try:
            await self._own()
        except (PartitionStopped, MarksError) as error:
            self.stop(str(error))
        finally:
            if self.window is not None:
                self.abandoned = self.window.held
                self.window.close()
            self._outbox.discard()

    def release(self) -> float:
        """Begin to give the partition up. Returns the time, on the clock, by which `run` should have ended."""
        self._releasing = True
        self._deadline = self._clock() + self._policy.drain_s
        self._wake.set()
        return self._deadline

    async def _own(self) -> None:
        while not self._releasing:
            window = await self._acquire()
            if window is None or await self._serve(window):
                return

    # acquiring

    async def _acquire(self) -> Window | None:
        """Take over, again and again until the broker answers. None when the partition is given up meanwhile."""
        while not self._releasing:
            try:
                self.window = await self._take_over()
            except Lost as error:
                log.warning("%s: %s; again", self.tp, error, extra={"action": "acquire_failed"})
                await asyncio.sleep(self._policy.reopen_s)
                continue
            log.info("%r", self, extra={"action": "partition_acquired"})
            self._on_acquired(self)
            return self.window
        return None

    async def _take_over(self) -> Window:
        """Fence the former owner, read what it committed, tell the broker who we are."""
        await self._outbox.open()
        self._first_owner = self._first_owner or not self._outbox.used_before
        topic_id = await self._ledger.topic_id(self.tp.topic)
        stored = await self._stored() or Progress(await self._first_offset(self.tp))
        if stored.topic_id and topic_id and stored.topic_id != topic_id:
            raise PartitionStopped(
                f"the committed offset {stored.offset} belongs to another topic of the name {self.tp.topic!r}, "
                "which was deleted; reset the group's offsets to begin with this one"
            )
        start = Progress(stored.offset, stored.done, stored.phase, topic_id)
        window = Window(self._policy.window, start, Caution(self._policy.caution, stored.phase), self._give_up)
        opening = Plan([], window.progress())
        await self._outbox.send([], opening.progress)
        window.committed(opening)
        self._own_commit = opening.progress.offset
        self._limit = None
        self._sent.clear()
        self._substituted.clear()  # what another owner or another life of the window refused comes as new
        return window

    async def _stored(self) -> Progress | None:
        """What is committed; None for a group that never committed.

        After a broker's crash under load, a coordinator was seen (Kafka 4.4.0) to say for a while that nothing is
        committed. Where somebody owned the partition before, or we committed more ourselves, that is not believed. Nor
        is anything, while a transaction hangs that might change it: asked again, then stopped loudly.
        """
        try:
            stored = await self._ledger.progress(self.tp)
        except Unsettled as error:
            raise self._not_believed(str(error), _END_IT) from error
        fault = self._disbelief(stored)
        if fault is not None:
            raise self._not_believed(fault, "reset the group's offsets to say where to begin")
        self._missing_since = None
        return stored

    def _not_believed(self, fault: str, advice: str) -> Lost | PartitionStopped:
        """To be asked again, or no more."""
        now = self._clock()
        self._missing_since = self._missing_since or now
        if now - self._missing_since > self._policy.missing_s:
            return PartitionStopped(f"{fault}; {advice}")
        return Lost(fault)

    def _disbelief(self, stored: Progress | None) -> str | None:
        """Why what the broker says is committed cannot be all of it; None when it can."""
        if stored is None and (self._own_commit is not None or not self._first_owner):
            return "no offset is committed, though this partition was owned before"
        if stored is not None and self._own_commit is not None and stored.offset < self._own_commit:
            return f"offset {stored.offset} is committed, though {self._own_commit} was before"
        return None

    def _give_up(self, record: Incoming) -> Outgoing:
        log.error("%s offset %d is given up", self.tp, record.offset, extra={"action": "record_given_up"})
        return self._substitute.failed(record, "the agent failed on this record every time it was tried")

    # flushing

    async def _serve(self, window: Window) -> bool:
        """Flush until released (True) or until the committed state is not ours any more (False)."""
        while not self._drained(window):
            await self._idle()
            self._wake.clear()
            if not await self._flush(window):
                return False
            await self._pace()
        return await self._end(window)

    async def _end(self, window: Window) -> bool:
        """The last flushes. What was sent is committed first: what the last commit says depends on it."""
        ours = True
        while ours and self._sent:
            ours = await self._flush(window)
        ours = ours and await self._flush(window, last=True)
        while ours and self._sent:
            ours = await self._flush(window, last=True)
        return ours

    def _drained(self, window: Window) -> bool:
        return self._releasing and (window.held == 0 or self._clock() >= self._deadline)

    async def _idle(self) -> None:
        timeout = _ALONE_S if self._sent else self._policy.idle_commit_s
        if self._releasing:
            timeout = min(timeout, max(0.0, self._deadline - self._clock()))
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _pace(self) -> None:
        """The more comes, the longer until the next transaction, for each costs as much as a hundred records.

        Squared: while little comes, nobody else needs the time. But after each, a pause as long as they take: those of
        several partitions wait for each other at the broker, and back to back all of them take longer.
        """
        most_s = self._policy.commit_interval_s
        load = min(1.0, self._load.per_s / self._policy.loaded_per_s)
        interval_s = max(self._policy.unhurried_s, load**2 * most_s, min(2 * self._took_s, most_s))
        rest_s = self._flushed_at + interval_s - self._clock()
        if rest_s > 0 and not self._releasing:
            await asyncio.sleep(rest_s)

    async def _flush(self, window: Window, *, last: bool = False) -> bool:
        """One send, if there is anything to say. False when what is committed is no longer ours."""
        plan = self._plan(window, last=last)
        if plan is None:
            return True
        self._flushed_at = self._clock()
        self._load.add(len(plan.slots), self._flushed_at)
        self._sent.append(plan)
        try:
            committed = await self._outbox.send(plan.outcomes, plan.progress)
        except Refused as refusal:
            window.rolled_back(self._sent.pop())
            self._isolate(plan, refusal)
            return await self._recover(window)
        except Lost as error:
            log.warning("%s: %s", self.tp, error, extra={"action": "transaction_lost"})
            return await self._recover(window)
        self._took_s += _NEWEST * (self._clock() - self._flushed_at - self._took_s)
        if committed is not None:
            self._went_through(window, committed)
        if window.ready:
            self._wake.set()
        return True

    def _plan(self, window: Window, *, last: bool) -> Plan | None:
        """What to commit now, None when there is nothing to say."""
        plan = window.plan(self._limit)
        if self._sent and not plan.slots:
            return Plan([], self._sent[-1].progress)  # as it was said then: the window does not know yet
        if last:
            return window.closing(plan)
        if plan.slots or plan.progress.offset != window.committed_progress.offset or window.wants_reach:
            return plan
        self._arming = self._arming and window.wants_arming
        return window.arming() if self._arming else None

    def _went_through(self, window: Window, committed: Progress) -> None:
        """This is what is stored now: all that was sent up to there is done."""
        last = max(index for index, plan in enumerate(self._sent) if plan.progress == committed)
        for plan in self._sent[: last + 1]:
            self._on_committed(plan.outcomes)  # first: the window forgets them
            window.committed(plan)
            self._arming = self._arming and not plan.arms
            self._substituted.difference_update(slot.offset for slot in plan.slots)
        del self._sent[: last + 1]
        self._own_commit = committed.offset
        if self._limit is not None:
            self._limit = self._limit * 2 if self._limit < self._policy.window.records else None
        self._on_progress()

    def _isolate(self, plan: Plan, refusal: Refused) -> None:
        """Put the refused records aside as fallback; where they are not known, look in half as many next time."""
        if not refusal.culprits:
            self._limit = max(1, len(plan.slots) // 2)
        for index, error in refusal.culprits.items():
            slot = plan.slots[index]
            if slot.offset in self._substituted:
                raise PartitionStopped(f"the broker refuses the fallback of offset {slot.offset}: {error!r}")
            self._substituted.add(slot.offset)
            log.error("%s offset %d: %r", self.tp, slot.offset, error, extra={"action": "record_refused"})
            detail = f"the broker refuses the {plan.outcomes[index].to} record: {type(error).__name__}"
            if refusal.too_large(index):
                slot.outcome = self._substitute.too_large(slot.record, detail)
            else:
                slot.outcome = self._substitute.refused(slot.record, detail)
        self._wake.set()

    async def _recover(self, window: Window) -> bool:
        """Open a new producer and ask the broker what it has: the state before what was sent, one after, or another."""
        self.recoveries += 1
        while not self._releasing:
            try:
                await asyncio.sleep(self._policy.reopen_s)
                await self._outbox.open()
                stored = await self._stored()
            except Lost as error:
                log.warning("%s: %s; again", self.tp, error, extra={"action": "recover_failed"})
                continue
            return self._settle(window, stored)
        return False

    def _settle(self, window: Window, stored: Progress | None) -> bool:
        if stored == window.committed_progress:
            self._arming = False
        elif stored is not None and any(plan.progress == stored for plan in self._sent):
            self._went_through(window, stored)
        else:
            log.warning("%s: another owner went on from here", self.tp, extra={"action": "progress_differs"})
            window.close()
            self.window = None
            return False
        while self._sent:
            window.rolled_back(self._sent.pop())
        self._wake.set()
        return True
