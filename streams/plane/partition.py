"""One assigned partition, from its acquisition to its release.

    acquire: open the outbox (fences the former owner) ─▶ read what is committed ─▶ commit our phase ─▶ seek, resume
    flush:   plan ─▶ send and commit in one transaction ─▶ forget          again and again
    release: take nothing new ─▶ wait for what is held ─▶ last flush ─▶ close

All of it runs in one task, outside the rebalance callback, where no heartbeats are sent. Where it stands is its
`State`. Its window is its own: others ask the partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from aiokafka import TopicPartition

from ...schemas.records import Incoming, Outgoing
from ..kafka.errors import Lost
from .caution import Caution, CautionPolicy
from .coordinator import Asked
from .marks import MarksError, Progress
from .outbox import Outbox, Refused
from .pacing import Pacing, PacingPolicy
from .ports import PlanePort, Substitute
from .standing import Standing
from .state import State
from .taking_over import PartitionStopped, TakingOver
from .window import Lease, NoWindow, Plan, Window, WindowPolicy

log = logging.getLogger(__name__)

#: seconds for which progress waits for a next send to be committed beside, before it is committed alone
_ALONE_S = 0.05


@dataclass(frozen=True, slots=True)
class PartitionPolicy:
    """The bounds and patience of one partition."""

    window: WindowPolicy
    caution: CautionPolicy
    pacing: PacingPolicy
    drain_s: float  #: seconds that what is in flight gets when the partition is taken away
    idle_commit_s: float = 5.0  #: seconds after which a position that moved without records is committed
    missing_s: float = 120.0  #: seconds for which a committed offset may be missing before the partition is stopped
    reopen_s: float = 0.5  #: seconds before a lost producer is opened again; lets a zombie learn that it is one


class Partition:
    """The owner's side of one input partition."""

    def __init__(
        self,
        tp: TopicPartition,
        policy: PartitionPolicy,
        outbox: Outbox,
        coordinator: Asked,
        substitute: Substitute,
        plane: PlanePort,
        clock: Callable[[], float],
    ) -> None:
        self.tp = tp
        self.state = State.ACQUIRING
        self.stopped: str | None = None  #: why it cannot go on, None while it can
        self._policy = policy
        self._outbox = outbox
        self._substitute = substitute
        self._plane = plane
        self._clock = clock
        self._taking_over = TakingOver(tp, outbox, coordinator, plane.first_offset, clock, policy.missing_s)
        self._pacing = Pacing(policy.pacing, clock())
        self._window: Window = NoWindow(policy.window)
        self._wake = asyncio.Event()
        self._deadline = float("inf")
        self._limit: int | None = None  # most outcomes of the next transaction, after a refusal
        self._arming = False
        self._sent: list[Plan] = []  # on their way, or waiting for the next send to commit them too; the oldest first
        self._substituted: set[int] = set()
        self.abandoned = 0  #: records that were in flight when the drain deadline passed
        self.recoveries = 0  #: times a lost producer was opened again

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else "acquiring" if self.position is None else repr(self._window)
        return f"<Partition {self.tp.topic}-{self.tp.partition} {state}>"

    # asked by the plane

    @property
    def taking(self) -> bool:
        """Records may be handed to an agent."""
        return self.state.taking

    @property
    def position(self) -> int | None:
        """Next offset to fetch; None until acquired."""
        return None if isinstance(self._window, NoWindow) else self._window.position

    @property
    def unfinished(self) -> int:
        """Records fetched and without a committed outcome."""
        return self._window.unfinished

    @property
    def faults(self) -> int:
        """Times an agent raised on records of the present window."""
        return self._window.faults

    @property
    def discarded(self) -> int:
        """Records of the present window that were answered after their lease had ended."""
        return self._window.discarded

    def full(self, share: float = 1.0) -> bool:
        """A bound of the window, or this share of it, is reached: fetch no more."""
        return self._window.full(share)

    def standing(self) -> Standing:
        """How it stands now. One that is being released shows as paused: nothing is fetched for it."""
        (topic, number), position, sent = self.tp, self.position, self._outbox.records
        if self.stopped is not None:
            return Standing(topic, number, "stopped", self.stopped, None, self.unfinished, None, sent)
        if position is None:
            return Standing(topic, number, "acquiring", None, None, 0, None, sent)
        shown: Literal["running", "paused"] = "running" if self.state is State.RUNNING else "paused"
        return Standing(topic, number, shown, None, position, self.unfinished, self._window.oldest_ms, sent)

    # told by the plane

    def add(self, records: Iterable[Incoming]) -> None:
        """Take in what was fetched."""
        self._window.add(records)

    @property
    def advance(self) -> Callable[[int], None]:
        """Tells the present window that the consumer has read up to a position; what lies between was no record."""
        return self._window.advance

    def pause(self) -> None:
        """Nothing is fetched for it from here on."""
        self.state = self.state.to(State.PAUSED)

    def resume(self) -> None:
        """It is fetched for."""
        self.state = self.state.to(State.RUNNING)

    def stop(self, reason: str) -> None:
        """Stop this partition loudly: it stays assigned and unfinished until a person acts."""
        if self.state not in (State.STOPPED, State.RELEASING):
            self.state = self.state.to(State.STOPPED)
        self.stopped = reason
        self._plane.unwanted(self.tp)
        log.critical("%s: %s", self.tp, reason, extra={"action": "partition_stopped"})

    def release(self) -> float:
        """Begin to give the partition up. Returns the time, on the clock, by which `run` should have ended."""
        if self.state not in (State.RELEASING, State.ENDED):
            self.state = self.state.to(State.RELEASING)
            self._plane.unwanted(self.tp)
        self._deadline = self._clock() + self._policy.drain_s
        self._wake.set()
        return self._deadline

    def wake_if_ready(self) -> None:
        """Answers have come, or records: see whether there is something to commit."""
        window = self._window
        if window.ready or window.wants_write_ahead or self._releasing:
            self._wake.set()

    # handing out

    @property
    def pending(self) -> int:
        """Records that no agent holds."""
        return self._window.pending

    @property
    def held(self) -> int:
        """Records that an agent holds."""
        return self._window.held

    @property
    def alone(self) -> bool:
        """The next batch must hold records of this partition only."""
        return self._window.alone

    @property
    def armed(self) -> bool:
        """The next batch may kill the process, and a commit says so."""
        return self._window.armed

    @property
    def arming(self) -> bool:
        """The commit that arms is on its way."""
        return self._arming

    @property
    def wants_arming(self) -> bool:
        """A batch could be tried, if a commit said so first."""
        return self._window.wants_arming

    def available(self, most: int) -> int:
        """Pending records that may be handed out by what is committed; no more than `most` count."""
        return self._window.available(most)

    def take(self, most: int, now: float) -> Lease | None:
        """Hand out at most so many records; None when nothing is due."""
        return self._window.take(most, now)

    def arm(self) -> None:
        """It is this partition's turn to try a batch that may kill the process: commit that first."""
        self._arming = True
        self._wake.set()

    # its task

    async def run(self) -> None:
        """Own the partition until it is released. Returns when it is, or when it was stopped."""
        try:
            await self._own()
        except (PartitionStopped, MarksError) as error:
            self.stop(str(error))
        finally:
            self.abandoned = self._window.held
            self._window.close()
            self._outbox.discard()
            if self.state is not State.STOPPED:
                self.state = self.state.to(State.ENDED)

    @property
    def _releasing(self) -> bool:
        return self.state is State.RELEASING

    async def _own(self) -> None:
        while await self._acquire():
            if await self._serve(self._window):
                return

    # acquiring

    async def _acquire(self) -> bool:
        """Take over, again and again until the broker answers. False when the partition is given up meanwhile."""
        while not self._releasing:
            try:
                self._window = await self._take_over()
            except Lost as error:
                log.warning("%s: %s; again", self.tp, error, extra={"action": "acquire_failed"})
                await asyncio.sleep(self._policy.reopen_s)
                continue
            log.info("%r", self, extra={"action": "partition_acquired"})
            if self.state is State.ACQUIRING:
                self._plane.acquired(self.tp)
            return True
        return False

    async def _take_over(self) -> Window:
        """Become the owner, and tell the broker who we are: after a death it is known in which phase."""
        start = await self._taking_over.begin()
        caution = Caution(self._policy.caution, start.phase)
        window = Window(self._policy.window, start, caution, self._give_up)
        opening = Plan([], window.progress())
        await self._outbox.send([], opening.progress)
        window.committed(opening)
        self._taking_over.committed(opening.progress.offset)
        self._limit = None
        self._sent.clear()
        self._substituted.clear()  # what another owner or another life of the window refused comes as new
        return window

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
        rest_s = self._pacing.rest_s(self._clock())
        if rest_s > 0 and not self._releasing:
            await asyncio.sleep(rest_s)

    async def _flush(self, window: Window, *, last: bool = False) -> bool:
        """One send, if there is anything to say. False when what is committed is no longer ours."""
        plan = self._plan(window, last=last)
        if plan is None:
            return True
        self._pacing.begins(len(plan.slots), self._clock())
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
        self._pacing.went_through(self._clock())
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
        if plan.slots or plan.progress.offset != window.committed_progress.offset or window.wants_write_ahead:
            return plan
        self._arming = self._arming and window.wants_arming
        return window.arming() if self._arming else None

    def _went_through(self, window: Window, committed: Progress) -> None:
        """This is what is stored now: all that was sent up to there is done."""
        last = max(index for index, plan in enumerate(self._sent) if plan.progress == committed)
        for plan in self._sent[: last + 1]:
            self._plane.committed(plan.outcomes)  # first: the window forgets them
            window.committed(plan)
            self._arming = self._arming and not plan.arms
            self._substituted.difference_update(slot.offset for slot in plan.slots)
        del self._sent[: last + 1]
        self._taking_over.committed(committed.offset)
        if self._limit is not None:
            self._limit = self._limit * 2 if self._limit < self._policy.window.records else None
        self._plane.progressed()

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

    # recovering

    async def _recover(self, window: Window) -> bool:
        """Open a new producer and ask the broker what it has: the state before what was sent, one after, or another."""
        self.recoveries += 1
        while not self._releasing:
            try:
                await asyncio.sleep(self._policy.reopen_s)
                stored = await self._taking_over.again()
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
            self._begin_anew()
            return False
        while self._sent:
            window.rolled_back(self._sent.pop())
        self._wake.set()
        return True

    def _begin_anew(self) -> None:
        """What this window knows is of the past: another owner was here."""
        self._window.close()
        self._window = NoWindow(self._policy.window)
        if self.taking:
            self.state = self.state.to(State.ACQUIRING)
