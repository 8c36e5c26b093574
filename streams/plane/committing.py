"""Committing one window: its outcomes and its progress leave together, again and again, and nothing leaves twice.

flush:    plan ─▶ send and commit in one transaction ─▶ forget
doubt:    commit alone what was sent, before more is sent (at least once)
refused:  put the refused records aside as fallback, recover, send again
lost:     recover: open a new producer, and ask the broker which of what was sent it has
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...schemas.records import Outgoing
from ..kafka.deadline import within
from ..kafka.errors import Lost, RecordsRefused
from .pacing import Pacing
from .ports import PlanePort, Substitute
from .sending.companions import Accompanying, Companion
from .sending.outbox import Outbox
from .standing import name_of
from .taking_over import PartitionStopped, TakingOver
from .window.acquittal import Word
from .window.marks import Progress
from .window.slots import Plan
from .window.window import Window

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Committing:
    """The commits of one window. Its owner says when; what is committed is told to the window and to the plane."""

    window: Window
    outbox: Outbox
    taking_over: TakingOver
    substitute: Substitute
    accompanying: Accompanying
    plane: PlanePort
    pacing: Pacing
    wake: asyncio.Event  #: set where there is more to commit at once
    given_up: Callable[[], bool]  #: nobody waits for a recovery any more
    clock: Callable[[], float]
    reopen_s: float  #: seconds before a lost producer is opened again
    attempt_s: float  #: seconds for one try to open it and to ask what is committed
    doubt_s: float  #: seconds after a send from which on it is committed alone, before more is sent
    most: int  #: outcomes of a transaction from which on it needs no limit
    arming: bool = False  #: the next commit that has nothing to send says that a batch is tried
    _limit: int | None = None  # most outcomes of the next transaction, after a refusal
    _sent: list[Plan] = field(default_factory=list)  # not known to be committed; the oldest first
    _arrived: int = 0  # so many of these: their outcomes need not be sent again
    _sent_at: float = 0.0  # when the last send with outcomes began
    _substituted: set[int] = field(default_factory=set)

    @property
    def owes(self) -> bool:
        """Something was sent that waits for the next send to be committed, too."""
        return bool(self._sent)

    def words(self, origin: str | None) -> list[Word]:
        """What to say of the window, as it says it."""
        return self.window.words(self._sent, origin)

    async def flush(self, *, last: bool = False) -> bool:
        """One send, if there is anything to say. False when what is committed is no longer ours, or is not known.

        Where another owner went on from here, the window is closed. Raises `PartitionStopped`, `MarksError`,
        `NotAllowed`.
        """
        plan = self._plan(last=last)
        if plan is None:
            return True
        now = self.clock()
        self.pacing.begins(len(plan.slots), now)
        self._sent.append(plan)
        self._sent_at = now if plan.slots else self._sent_at
        window = self.window
        first, end = window.committed_progress.offset, window.position
        companions = self.accompanying.of(plan.slots, first, end, in_order=window.in_order)
        try:
            committed = await self.outbox.send(_records(plan, companions), plan.progress)
        except RecordsRefused as refusal:
            self.window.rolled_back(self._sent.pop())
            self._isolate(plan, companions, refusal)
            return await self._recover()
        except Lost as error:
            self._arrived = len(self._sent) if error.arrived else self._arrived
            log.warning("%s: %s", name_of(self.taking_over.tp), error, extra={"action": "transaction_lost"})
            return await self._recover()
        self.pacing.went_through(self.clock())
        self._arrived = len(self._sent)
        if committed is not None:
            self._went_through(committed)
        if self.window.ready:
            self.wake.set()
        return True

    async def end(self) -> bool:
        """The last flushes. What was sent is committed first: what the last commit says depends on it."""
        ours = True
        while ours and self._sent:
            ours = await self.flush()
        ours = ours and await self.flush(last=True)
        while ours and self._sent:
            ours = await self.flush(last=True)
        return ours

    def _plan(self, *, last: bool) -> Plan | None:
        """What to commit now, None when there is nothing to say."""
        window = self.window
        if self._sent and self._doubtful:
            return Plan([], self._sent[-1].progress)
        plan = window.plan(self._limit)
        if self._sent and not plan.slots:
            return Plan([], self._sent[-1].progress)  # as it was said then: the window does not know yet
        if last:
            return window.closing(plan)
        if plan.slots or plan.progress.offset != window.committed_progress.offset or window.wants_write_ahead:
            return plan
        self.arming = self.arming and window.wants_arming
        return window.arming() if self.arming else None

    @property
    def _doubtful(self) -> bool:
        """The partition may be another's by now: what is sent before a commit tells comes twice."""
        return self.given_up() or self.clock() - self._sent_at > self.doubt_s

    def _went_through(self, committed: Progress) -> None:
        """This is what is stored now: all that was sent up to there is done."""
        last = max(index for index, plan in enumerate(self._sent) if plan.progress == committed)
        for plan in self._sent[: last + 1]:
            self.plane.committed(plan.outcomes)  # first: the window forgets them
            self.window.committed(plan)
            self.arming = self.arming and not plan.arms
            if self._substituted:
                self._substituted.difference_update(slot.offset for slot in plan.slots)
            self.accompanying.committed(plan.slots)
        del self._sent[: last + 1]
        self._arrived = max(0, self._arrived - last - 1)
        self.taking_over.committed(committed.offset)
        if self._limit is not None:
            self._limit = self._limit * 2 if self._limit < self.most else None
        self.plane.progressed()

    # refused

    def _isolate(self, plan: Plan, companions: Sequence[Companion], refusal: RecordsRefused) -> None:
        """Put the refused records aside as fallback; where they are not known, look in half as many next time."""
        if not refusal.culprits:
            self._limit = max(1, len(plan.slots) // 2)
        for index, error in refusal.culprits.items():
            if index >= len(plan.slots):
                self.accompanying.refused(companions[index - len(plan.slots)], error)
                continue
            slot = plan.slots[index]
            if slot.offset in self._substituted:
                raise PartitionStopped(f"the broker refuses the fallback of offset {slot.offset}: {error}")
            self._substituted.add(slot.offset)
            log.error(
                "%s offset %d: %s", name_of(self.taking_over.tp), slot.offset, error, extra={"action": "record_refused"}
            )
            detail = f"the broker refuses the {plan.outcomes[index].to} record: {error}"
            made = self.substitute.too_large if refusal.too_large(index) else self.substitute.refused
            slot.outcome = made(slot.record, detail)
        self.wake.set()

    # lost

    async def _recover(self) -> bool:
        """Open a new producer and ask the broker what it has: the state before what was sent, one after, or another."""
        self.taking_over.recoveries += 1
        while not self.given_up():
            try:
                await asyncio.sleep(self.reopen_s)
                async with within(self.attempt_s):
                    stored = await self.taking_over.again()
            except Lost as error:
                log.warning("%s: %s; again", name_of(self.taking_over.tp), error, extra={"action": "recover_failed"})
                continue
            return self._settle(stored)
        return False

    def _settle(self, stored: Progress | None) -> bool:
        """Send again what did not arrive, and commit what did. False where another owner went on."""
        if stored == self.window.committed_progress:
            self.arming = False
        elif stored is not None and any(plan.progress == stored for plan in self._sent):
            self._went_through(stored)
        else:
            text = "%s: another owner went on from here"
            log.warning(text, name_of(self.taking_over.tp), extra={"action": "progress_differs"})
            self.window.close()
            return False
        while len(self._sent) > self._arrived:
            self.window.rolled_back(self._sent.pop())
        self._sent_at = -float("inf")  # what arrived is committed before more is sent
        self.wake.set()
        return True


def _records(plan: Plan, companions: Sequence[Companion]) -> Sequence[Outgoing]:
    """What one transaction sends: the outcomes, in the order of the slots, then their companions."""
    return [*plan.outcomes, *(companion.record for companion in companions)] if companions else plan.outcomes
