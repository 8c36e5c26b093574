"""The window: which records of a partition are fetched, held by an agent, answered, sent.

It knows no Kafka client and does no I/O, so that every order of events can be tried on it. A record goes through

    PENDING ─▶ HELD ─▶ ANSWERED ─▶ SENT ─▶ (committed, and forgotten below the watermark)
       ▲         │          ▲        │
       └─ given ─┘          └ rolled ┘
          back                back

While records are answered in the order of their offsets, these states are four neighbouring stretches (`in_order.py`).
After that, each record has a slot.

The **watermark** is the first fetched record without a committed outcome; above it, **marks** say which are done.
Contiguity is over fetched records: transaction markers and compaction leave holes in the offsets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from ....schemas.records import Incoming, Outgoing
from .acquittal import Word, words_about
from .caution import Caution, CautionPolicy
from .in_order import InOrder
from .key_order import KeyOrder
from .marks import SPAN, Progress
from .slots import ANSWERED, DONE, HELD, PENDING, SENT, Lease, Plan, Slot, bytes_of, sizes_of
from .write_ahead import WriteAhead

Ordering = Literal["key", "none"]


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """The bounds of one partition's window."""

    records: int  #: most records without a committed outcome
    bytes: int  #: most bytes of theirs
    pending: int  #: most records that no agent has taken yet
    max_tries: int  #: times a record is tried alone by an agent that raises
    ordering: Ordering = "key"  #: 'key': outcomes of one key are sent in the order of their offsets
    redelivery_delay_s: float = 0.1  #: seconds between a failure and the next try
    #: offsets handed out before the next commit, where commits say how far (`write_ahead.py`); 0 elsewhere
    ahead: int = 0


class Window:
    """The records of one partition between the fetch and the commit."""

    def __init__(
        self,
        policy: WindowPolicy,
        start: Progress,
        caution: Caution,
        on_give_up: Callable[[Incoming], Outgoing],
    ) -> None:
        self._policy = policy
        self._caution = caution
        self._write_ahead = WriteAhead(policy.ahead, start)
        self.topic_id = start.topic_id  #: of the topic that its records are of; '' where none is known
        self._born = start.born
        self._give_up = on_give_up
        # where all goes in order; None where each record has a slot: after that, where commits say which of them may
        # have been asked, and where some are done already
        self._line = None if self._write_ahead.told or start.done else InOrder()
        self._slots: deque[Slot] = deque()
        self._pending: deque[Slot] = deque()
        self._suspects: deque[list[Slot]] = deque()
        self._suspects_due = 0.0
        self._ready: list[Slot] = []
        self._turns: deque[int] | None = deque()  # first offsets of runs that are held; None: no more answered in turn
        self._keys: KeyOrder | None = None  # only where they are not, and keys have an order
        self._restored = set(start.done)  # done, and not fetched yet
        self._held = 0
        self._finished = 0  # slots still in the deque that are SENT or DONE
        self.committed_progress = start  #: what the last commit stored
        self.position = start.offset  #: next offset to fetch
        self.bytes = 0  #: bytes of records without a committed outcome
        self.unfinished = 0  #: records without a committed outcome
        self.discarded = 0  #: records answered after their lease or window had ended
        self.faults = 0  #: times an agent raised on records of this window
        self.closed = False

    def __repr__(self) -> str:
        return (
            f"<Window {self.committed_progress.offset}..{self.position} unfinished={self.unfinished} "
            f"pending={self.pending} held={self._held} ready={self.ready} phase={self._caution.phase}>"
        )

    # fetching

    def add(self, records: Iterable[Incoming]) -> None:
        """Take in fetched records, in the order of their offsets. What is marked done is skipped."""
        position = self.position
        unread = [record for record in records if record.offset >= position]
        if not unread:
            return
        sizes = sizes_of(unread)
        self.position = unread[-1].offset + 1
        self.unfinished += len(unread)
        self.bytes += sum(sizes)
        if self._line is not None:
            self._line.pending += unread
        else:
            self._add_slots(unread, sizes)

    def _add_slots(self, records: Sequence[Incoming], sizes: Sequence[int]) -> None:
        inherited = self._write_ahead.inherited
        fresh = [
            Slot(record, record.offset, size, record.offset < inherited)
            for record, size in zip(records, sizes, strict=True)
        ]
        self._slots.extend(fresh)
        if self._restored:
            fresh = self._unmarked(fresh)
        self._pending.extend(fresh)
        if self._keys is not None:
            self._keys.add_all(fresh)

    def _unmarked(self, slots: Iterable[Slot]) -> list[Slot]:
        """Those that are not done. What is done is fetched now, and so no more to be remembered apart."""
        fresh: list[Slot] = []
        for slot in slots:
            if slot.offset in self._restored:
                self._restored.discard(slot.offset)
                self._forget(slot)
                self._finished += 1
                self.unfinished -= 1
                self.bytes -= slot.size
            else:
                fresh.append(slot)
        return fresh

    def advance(self, position: int) -> None:
        """The consumer has read up to `position`; what lies between was no record."""
        self.position = max(self.position, position)

    @property
    def watermark(self) -> int:
        """The first offset whose record has no outcome that has been sent; all below may be committed."""
        return self._watermark(self._finished_below)

    def _watermark(self, below: int) -> int:
        if self._line is not None:
            unsent = self._line.unsent
            return self.position if unsent is None else unsent.offset
        return self._slots[below].offset if below < len(self._slots) else self.position

    @property
    def _finished_below(self) -> int:
        """Slots before the first one that is not finished."""
        if not self._finished:
            return 0
        for below, slot in enumerate(self._slots):
            if slot.state < SENT:
                return below
        return len(self._slots)

    @property
    def span(self) -> int:
        """Offsets from the first record kept to the next one to fetch."""
        if self._line is not None:
            first = self._line.first
            return 0 if first is None else self.position - first.offset
        return self.position - self._slots[0].offset if self._slots else 0

    @property
    def pending(self) -> int:
        """Records that no agent holds."""
        if self._line is not None:
            return len(self._line.pending)
        return len(self._pending) + (sum(map(len, self._suspects)) if self._suspects else 0)

    @property
    def held(self) -> int:
        """Records that an agent holds."""
        return self._held

    @property
    def oldest(self) -> Incoming | None:
        """The first record without a committed outcome; None without one."""
        if self._line is not None:
            return self._line.first
        return next((slot.record for slot in self._slots if slot.state != DONE), None)

    def full(self, share: float = 1.0) -> bool:
        """True when a bound, or this share of it, is reached: fetch no more."""
        policy = self._policy
        return (
            self.unfinished >= policy.records * share
            or self.bytes >= policy.bytes * share
            or self.pending >= policy.pending * share
            or self.span >= SPAN * share
        )

    # handing out

    @property
    def alone(self) -> bool:
        """The next batch must hold records of this window only."""
        return self._caution.careful or bool(self._suspects)

    @property
    def armed(self) -> bool:
        """The next batch is tried under a phase that is committed: nothing else may be in flight with it."""
        return self._caution.armed

    @property
    def wants_arming(self) -> bool:
        """A batch could be tried, if its phase were committed first."""
        caution = self._caution
        return caution.careful and not caution.armed and not caution.exhausted and self._untouched

    @property
    def _untouched(self) -> bool:
        return self.pending == self.unfinished > 0

    def due(self, now: float) -> bool:
        """True when something may be handed out now."""
        if self._caution.careful:
            ready = self._caution.armed or self._caution.exhausted
            return ready and self._untouched and self._is_due(now)
        fresh = self._following is not None and self._write_ahead.allows(self._following)
        return fresh or (bool(self._suspects) and self._is_due(now))

    def available(self, most: int) -> int:
        """Records that no agent holds and that may be handed out by what is committed; no more than `most` count."""
        if not self._write_ahead.told:
            return self.pending
        allowed, allows = 0, self._write_ahead.allows
        for slot in islice(self._pending, most):
            if not allows(slot.offset):
                break
            allowed += 1
        return allowed + (sum(map(len, self._suspects)) if self._suspects else 0)

    @property
    def wants_write_ahead(self) -> bool:
        """More could be handed out, if a commit said so first."""
        return self._write_ahead.wants(self.position, self._following)

    @property
    def _following(self) -> int | None:
        pending = self._pending if self._line is None else self._line.pending
        return pending[0].offset if pending else None

    def _is_due(self, now: float) -> bool:
        return not self._suspects or now >= self._suspects_due

    def take(self, limit: int, now: float) -> Lease | None:
        """Hand out at most `limit` records, None when nothing is due. Runs that failed before come first, alone."""
        if self.closed or not self.due(now):
            return None
        if self._caution.careful:
            limit = min(limit, self._caution.batch)
        if self._caution.exhausted:
            self._out_of_turn()
            self._abandon(self._next_run(limit, now)[0])
            return None
        if self._line is not None:
            run = self._line.take(limit)
            self._held += len(run)
            return Lease(self, run)
        slots = self._next_run(limit, now)
        for slot in slots:
            slot.state = HELD
        self._held += len(slots)
        if self._turns is not None:
            self._turns.append(slots[0].offset)
        return Lease(self, slots)

    def _next_run(self, limit: int, now: float) -> list[Slot]:
        if self._suspects and now >= self._suspects_due:
            run = self._suspects.popleft()
            if len(run) > limit:
                self._suspects.appendleft(run[limit:])
            return run[:limit]
        pending = self._pending
        if not self._write_ahead.told:
            return [pending.popleft() for _ in range(min(limit, len(pending)))]
        allowed: list[Slot] = []
        while pending and len(allowed) < limit and self._write_ahead.allows(pending[0].offset):
            allowed.append(pending.popleft())
        if allowed:
            self._write_ahead.handed_out(allowed[-1].offset)
        return allowed

    def put_aside(self, answer: Callable[[Incoming], Outgoing | None]) -> None:
        """Pending records for which `answer` has an outcome get it, and go to no agent."""
        self._out_of_turn()
        made = [(slot, answer(slot.record)) for slot in self._pending]
        self._pending = deque(slot for slot, outcome in made if outcome is None)
        for slot, outcome in made:
            if outcome is not None:
                slot.state = HELD
                self._held += 1
                self.answer([slot], [outcome])

    def _abandon(self, slot: Slot) -> None:
        slot.state = HELD
        self._held += 1
        self.answer([slot], [self._give_up(slot.record)])

    # answers

    def answer(self, slots: Sequence[Slot], outcomes: Sequence[Outgoing]) -> None:
        """Held records have their outcomes; what the order of keys allows becomes ready to send."""
        self._held -= len(slots)
        if self._line is not None and self._line.answered(slots, outcomes):
            return
        if self._is_their_turn(slots):
            for slot, outcome in zip(slots, outcomes, strict=True):
                slot.outcome = outcome
                slot.state = ANSWERED
            self._ready.extend(slots)
            return
        ready, keys = self._ready, self._keys
        for slot, outcome in zip(slots, outcomes, strict=True):
            slot.outcome = outcome
            slot.state = ANSWERED
            if slot.leads:
                ready.append(slot)
                key = slot.record.key
                if key is not None and keys is not None:
                    ready.extend(keys.behind(key))

    def _is_their_turn(self, slots: Sequence[Slot]) -> bool:
        """All that was fetched before these is answered: so each of them leads its key, and no key is looked up."""
        if self._turns is not None and self._turns and self._turns[0] == slots[0].offset:
            self._turns.popleft()
            return True
        self._out_of_turn()
        return False

    def _out_of_turn(self) -> None:
        """From now on, each record has a slot, and outcomes wait for those of their key before."""
        if self._line is not None:
            self._make_slots(self._line)
        if self._turns is None:
            return
        self._turns = None
        if self._policy.ordering == "key":
            self._keys = KeyOrder()
            self._keys.add_all(slot for slot in self._slots if slot.state < ANSWERED)

    def _make_slots(self, line: InOrder) -> None:
        """One of each record."""
        self._line = None
        self._slots.extend(line.slots())
        self._pending.extend(slot for slot in self._slots if slot.state == PENDING)
        self._ready = [slot for slot in self._slots if slot.state == ANSWERED]
        self._finished = sum(slot.state == SENT for slot in self._slots)

    def give_back(self, slots: Sequence[Slot], *, failed: bool, alone: bool, now: float) -> None:
        """Held records come back unanswered. After a failure they are tried in halves, down to one alone."""
        self._held -= len(slots)
        self._out_of_turn()
        slots = list(slots)
        for slot in slots:
            slot.state = PENDING
        if not failed:
            self._suspects.appendleft(slots)
            return
        self.faults += 1
        self._suspects_due = now + self._policy.redelivery_delay_s
        if alone:
            self._try_again(slots[0])
            return
        half = (len(slots) + 1) // 2
        self._suspects.extendleft(run for run in (slots[half:], slots[:half]) if run)

    def _try_again(self, slot: Slot) -> None:
        slot.tries += 1
        if slot.tries < self._policy.max_tries:
            self._suspects.appendleft([slot])
        else:
            self._abandon(slot)

    # sending

    @property
    def in_order(self) -> bool:
        """Outcomes became ready in the order of their offsets, so far."""
        return self._turns is not None

    @property
    def ready(self) -> int:
        """Outcomes that may be sent."""
        return len(self._ready) if self._line is None else self._line.ready

    def plan(self, limit: int | None = None) -> Plan:
        """What the next transaction sends (the first `limit` outcomes that are ready) and commits."""
        horizon = self.watermark + SPAN
        if self._line is not None:
            run = self._line.send(limit, horizon if self.position > horizon else None)
            return Plan(run, self.progress(self._phase_after(len(run))))
        fitting = self._ready
        if self.position > horizon:
            fitting = [slot for slot in fitting if slot.offset < horizon]
        slots = fitting if limit is None else fitting[:limit]
        for slot in slots:
            slot.state = SENT
        self._ready = [] if len(slots) == len(self._ready) else [s for s in self._ready if s.state != SENT]
        self._finished += len(slots)
        return Plan(slots, self.progress(self._phase_after(len(slots))))

    def _phase_after(self, records: int) -> str:
        if self._write_ahead.told:
            return self._write_ahead.phase(self.watermark, self.position, self._following)
        return self._caution.phase_after(records)

    def arming(self) -> Plan:
        """The transaction that makes the next batch the one to blame."""
        return Plan([], self.progress(self._caution.armed_phase), arms=True)

    def closing(self, plan: Plan) -> Plan:
        """The same transaction as the last one. With nothing held, the next owner need not be more careful."""
        if self._write_ahead.told:
            phase = self._write_ahead.closing_phase(self.watermark, self.position, self._called_until())
            return Plan(plan.slots, self.progress(phase))
        if self._held:
            return plan
        phase = self._caution.closing_phase if not plan.slots else self._caution.phase_after(len(plan.slots))
        return Plan(plan.slots, self.progress("c" if phase == "n" else phase))

    def _called_until(self) -> int:
        """The end of what is unfinished and may have been asked."""
        asked = (slot.offset + 1 for slot in self._slots if slot.state == HELD or (slot.state < SENT and slot.called))
        return max(asked, default=0)

    def progress(self, phase: str | None = None) -> Progress:
        """What a commit would store now."""
        below = self._finished_below
        offset = self._watermark(below)
        marks = self._marks(offset) if below < self._finished or self._restored else frozenset[int]()
        return Progress(offset, marks, phase or self._phase_after(0), self.topic_id, self._born)

    def _marks(self, offset: int) -> frozenset[int]:
        """Offsets from this one on that are done."""
        marks = {slot.offset for slot in self._slots if slot.state >= SENT and slot.offset > offset}
        marks.update(place for place in self._restored if place >= offset)
        return frozenset(marks)

    def committed(self, plan: Plan) -> None:
        """The transaction of `plan` went through."""
        self.committed_progress = plan.progress
        self._write_ahead.committed(plan.progress)
        self.unfinished -= len(plan.slots)
        self.bytes -= bytes_of(plan.slots)
        if self._line is None:
            self._done(plan.slots)
        elif plan.slots:
            self._line.committed()
        if self._restored:
            self._restored = {place for place in self._restored if place >= self.position}
        if plan.arms:
            self._caution.arm()
        self._caution.committed(len(plan.slots))

    def _done(self, done: Sequence[Slot]) -> None:
        for slot in done:
            slot.state = DONE
        kept, slots = len(self._slots), self._slots
        while slots and slots[0].state == DONE:
            slots.popleft()
        self._finished -= kept - len(slots)
        if self._finished:  # a slow record may keep thousands in the window, uncounted: not with their bytes
            for slot in done:
                self._forget(slot)

    @staticmethod
    def _forget(slot: Slot) -> None:
        slot.state = DONE
        slot.outcome = None
        del slot.record

    def rolled_back(self, plan: Plan) -> None:
        """The transaction of `plan` did not go through: its outcomes are ready again, in the same order."""
        if self._line is not None:
            if plan.slots:
                self._line.rolled_back()
            return
        for slot in plan.slots:
            slot.state = ANSWERED
        self._finished -= len(plan.slots)
        self._ready[:0] = plan.slots

    def discard(self, records: int, *, held: bool) -> None:
        """So many outcomes came that count no more; `held`: nobody holds their records from here on."""
        self.discarded += records
        self._held -= records if held else 0

    def words(self, unsettled: Sequence[Plan], origin: str | None = None) -> list[Word]:
        """What to say of this window where its last commits, the `unsettled` ones, may not be stored.

        `origin`: a link to where the suspicion began that it inherited.
        """
        deserved = self._caution.deserved_phase
        said = [(self.committed_progress, deserved)]
        said += [(plan.progress, deserved) for plan in unsettled if not plan.slots]
        said += [(plan.progress, "c") for plan in unsettled if plan.slots and plan.progress.phase == "n"]
        stored = [self.committed_progress, *(plan.progress for plan in unsettled)]
        links = [(progress, origin) for progress in stored if origin is not None and progress.phase == "b"]
        return words_about(said + links)

    def close(self) -> int:
        """End every lease. Returns how many records are abandoned without an outcome."""
        self.closed = True
        return self.unfinished


class NoWindow(Window):
    """In the place of a window, before the first one and between two: it holds nothing, and nothing is due."""

    def __init__(self, policy: WindowPolicy) -> None:
        super().__init__(policy, Progress(0), Caution(CautionPolicy(0, 0, 0, enabled=False)), _nothing_to_give_up)
        self.closed = True


def _nothing_to_give_up(record: Incoming) -> Outgoing:
    raise AssertionError(f"offset {record.offset} is in no window")
