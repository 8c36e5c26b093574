"""One assigned partition, from its acquisition to its release.

    acquire: open the outbox (fences the former owner) ─▶ read what is committed ─▶ commit our phase ─▶ seek, resume
    serve:   flush (`committing.py`), as often as `pacing.py` allows       again and again
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
from ..kafka.deadline import within
from ..kafka.errors import Lost
from ..kafka.records import Oversized
from .committing import Committing
from .pacing import Pacing, PacingPolicy
from .ports import PlanePort, Substitute
from .sending.companions import Accompanying, Companions
from .sending.coordinator import Coordination
from .sending.outbox import Outbox
from .standing import Standing, name_of
from .state import State
from .taking_over import PartitionStopped, TakingOver
from .window.acquittal import Word, deserved, origin_of, words_about
from .window.caution import Caution, CautionPolicy
from .window.marks import MarksError, Progress
from .window.slots import Lease, Plan
from .window.window import NoWindow, Window, WindowPolicy

log = logging.getLogger(__name__)

#: seconds for which progress waits for a next send to be committed beside, before it is committed alone
_ALONE_S = 0.05
#: seconds before a lost producer is opened again; lets a zombie learn that it is one
REOPEN_S = 0.5
#: seconds beyond the interval of commits after which an owner doubts that the partition is still its own. Nothing is
#: wrong where a send takes less, and the shortest session is six seconds
_DOUBT_S = 1.0


@dataclass(frozen=True, slots=True)
class PartitionPolicy:
    """The bounds and patience of one partition."""

    window: WindowPolicy
    caution: CautionPolicy
    pacing: PacingPolicy
    drain_s: float  #: seconds that what is in flight gets when the partition is taken away
    idle_commit_s: float = 5.0  #: seconds after which a position that moved without records is committed
    attempt_s: float = 10.0  #: seconds for one try to take over or to recover, all its steps together
    missing_s: float = 120.0  #: seconds for which a committed offset may be missing before the partition is stopped
    begin_anew: bool = False  #: after that it begins, where it would be stopped
    reopen_s: float = REOPEN_S


class Partition:
    """The owner's side of one input partition."""

    def __init__(
        self,
        tp: TopicPartition,
        policy: PartitionPolicy,
        outbox: Outbox,
        coordinator: Coordination,
        substitute: Substitute,
        companions: Companions | None,
        plane: PlanePort,
        clock: Callable[[], float],
        heard: Iterable[Word] = (),
    ) -> None:
        """`heard`: the words of its former owners."""
        self.tp = tp
        self.state = State.ACQUIRING
        self.stopped: str | None = None  #: why it cannot go on, None while it can
        self._policy = policy
        self._outbox = outbox
        self._substitute = substitute
        self._companions = companions
        self._plane = plane
        self._clock = clock
        self._wake = asyncio.Event()
        self._deadline = float("inf")
        self._pacing = Pacing(policy.pacing, clock())
        self._taking_over = TakingOver(tp, outbox, coordinator, plane, clock, policy.missing_s, policy.begin_anew)
        self._committing = self._commits(NoWindow(policy.window))
        self._heard = list(heard)
        self._origin: str | None = None  # where the suspicion began that was inherited
        self.abandoned = 0  #: records that were in flight when the drain deadline passed

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else "acquiring" if self.position is None else repr(self._window)
        return f"<Partition {self.tp.topic}-{self.tp.partition} {state}>"

    def _commits(self, window: Window) -> Committing:
        return Committing(
            window=window,
            outbox=self._outbox,
            taking_over=self._taking_over,
            substitute=self._substitute,
            accompanying=Accompanying(self._companions),
            plane=self._plane,
            pacing=self._pacing,
            wake=self._wake,
            given_up=lambda: self._releasing,
            clock=self._clock,
            reopen_s=self._policy.reopen_s,
            attempt_s=self._policy.attempt_s,
            doubt_s=self._policy.pacing.longest_s + _DOUBT_S,
            most=self._policy.window.records,
        )

    @property
    def _window(self) -> Window:
        return self._committing.window

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

    @property
    def recoveries(self) -> int:
        """Times a lost producer was opened again."""
        return self._taking_over.recoveries

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
        oldest = self._window.oldest
        if oldest is None:
            return Standing(topic, number, shown, None, position, self.unfinished, None, sent)
        oldest_ms = self._plane.requested_ms(oldest)
        return Standing(topic, number, shown, None, position, self.unfinished, oldest_ms, sent, oldest.timestamp)

    @property
    def words(self) -> list[Word]:
        """What to say of it, after its end, to its next owner. Nothing while a record of it may still be tried."""
        if not self._policy.caution.enabled or self.held:
            return []
        return self._heard if self.position is None else self._committing.words(self._origin)

    # told by the plane

    def add(self, records: Iterable[Incoming]) -> None:
        """Take in what was fetched. What could not be unpacked falls back at once."""
        fetched = list(records)
        self._window.add(fetched)
        if any(type(record) is Oversized for record in fetched):
            self._window.put_aside(self._unpackable)

    def _unpackable(self, record: Incoming) -> Outgoing | None:
        return self._substitute.too_large(record, record.detail) if isinstance(record, Oversized) else None

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
        log.critical("%s: %s", name_of(self.tp), reason, extra={"action": "partition_stopped"})

    def release(self, until: float) -> None:
        """Begin to give the partition up. `until`, a time on the clock, `run` waits for what is in flight."""
        if self.state not in (State.RELEASING, State.ENDED):
            self.state = self.state.to(State.RELEASING)
            self._plane.unwanted(self.tp)
        self._deadline = min(self._deadline, until)
        self._wake.set()

    def wake_if_ready(self) -> None:
        """Answers have come, or records: see whether there is something to commit."""
        if self._wake.is_set():
            return
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
        return self._committing.arming

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
        self._committing.arming = True
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
            if await self._serve(self._committing):
                return
            if self._releasing:
                await self._answered()
            elif self._window.closed:
                self._begin_anew()

    async def _answered(self) -> None:
        """What is tried may end, though its outcomes are lost: then the next owner need not suspect it."""
        self._window.close()
        while self._policy.caution.enabled and self.held and self._clock() < self._deadline:
            await self._idle()
            self._wake.clear()

    def _begin_anew(self) -> None:
        """Another owner went on from here: what this window knows is of the past."""
        self._committing = self._commits(NoWindow(self._policy.window))
        if self.taking:
            self.state = self.state.to(State.ACQUIRING)

    # acquiring

    async def _acquire(self) -> bool:
        """Take over, again and again until the broker answers. False when the partition is given up meanwhile."""
        while not self._releasing:
            try:
                self._committing = self._commits(await self._take_over())
            except Lost as error:
                log.warning("%s: %s; again", name_of(self.tp), error, extra={"action": "acquire_failed"})
                await asyncio.sleep(self._policy.reopen_s)
                continue
            self._tell_acquired()
            if self.state is State.ACQUIRING:
                self._plane.acquired(self.tp, self._window.topic_id)
            return True
        return False

    def _tell_acquired(self) -> None:
        tp, offset = self.tp, self._window.committed_progress.offset
        facts = {"action": "partition_acquired", "topic": tp.topic, "partition": tp.partition, "offset": offset}
        log.info("%s is ours: it goes on at offset %d", name_of(tp), offset, extra=facts)

    async def _take_over(self) -> Window:
        """Become the owner, and tell the broker who we are: after a death it is known in which phase.

        The very first commit of a partition is made by a producer of its own: so a death in it can be told from a loss.
        """
        async with within(self._policy.attempt_s):
            window = await self._begun()
            return await self._begun() if self._outbox.first else window

    async def _begun(self) -> Window:
        start = await self._taking_over.begin()
        caution = self._caution(start)
        window = Window(self._policy.window, start, caution, self._give_up)
        # what the first producer of all leaves is no death: nothing has been handed out
        opening = Plan([], window.progress("c" if self._outbox.first else None))
        self._heard += words_about([(opening.progress, caution.deserved_phase)])  # should its answer be lost
        await self._outbox.send([], opening.progress)
        self._heard.clear()
        window.committed(opening)
        self._taking_over.committed(opening.progress.offset)
        return window

    def _caution(self, start: Progress) -> Caution:
        """How careful to be after the former owner, which may have sent word that it lives."""
        policy, phase = self._policy.caution, deserved(self._heard, start)
        self._origin = origin_of(self._heard, start) if phase is None else None
        if phase is None or not policy.enabled:
            return Caution(policy, start.phase)
        facts = {"action": "suspicion_lifted", "topic": self.tp.topic, "partition": self.tp.partition}
        text = "%s: its former owner lives: phase %s counts as %s"
        log.info(text, name_of(self.tp), start.phase, phase, extra=facts)
        return Caution(policy, phase, acquitted=phase == "c")

    def _give_up(self, record: Incoming) -> Outgoing:
        log.error("%s offset %d is given up", name_of(self.tp), record.offset, extra={"action": "record_given_up"})
        return self._substitute.failed(record, "the agent failed on this record every time it was tried")

    # serving

    async def _serve(self, committing: Committing) -> bool:
        """Flush until released (True) or until the committed state is not ours any more (False)."""
        while not self._drained:
            await self._idle()
            self._wake.clear()
            if not await committing.flush():
                return False
            await self._pace()
        return await committing.end()

    @property
    def _drained(self) -> bool:
        return self._releasing and (self.held == 0 or self._clock() >= self._deadline)

    async def _idle(self) -> None:
        timeout = _ALONE_S if self._committing.owes else self._policy.idle_commit_s
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
