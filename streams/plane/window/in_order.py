"""The records of a window while they are answered in the order of their offsets. Where each stands, its place tells:

    sent ─ ready ─ held ─ pending

So nothing is kept of a record but itself and its outcome, and no slot is made of it. Once something comes out of its
turn, the window makes slots of all that is here, and goes on with these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain

from ....schemas.records import Incoming, Outgoing
from .slots import ANSWERED, HELD, PENDING, SENT, Run, Slot


class InOrder:
    """Runs of records, each after the one before."""

    def __init__(self) -> None:
        self._sent: deque[Run] = deque()  # one for each plan that sends any, not known to be committed
        self._ready: deque[Run] = deque()
        self._held: deque[Run] = deque()  # one for each lease
        self.pending: list[Incoming] = []  #: held by nobody

    @property
    def ready(self) -> int:
        """Outcomes that may be sent."""
        return sum(map(len, self._ready))

    @property
    def first(self) -> Incoming | None:
        """The first record of all."""
        return self._first_of(self._sent, self._ready, self._held)

    @property
    def unsent(self) -> Incoming | None:
        """The first record whose outcome is not sent."""
        return self._first_of(self._ready, self._held)

    def _first_of(self, *runs: Iterable[Run]) -> Incoming | None:
        run = next(chain(*runs), None)
        records = self.pending if run is None else run.records
        return records[0] if records else None

    def take(self, limit: int) -> Run:
        """Hand out the next ones."""
        run = Run(self.pending[:limit])
        del self.pending[:limit]
        self._held.append(run)
        return run

    def answered(self, slots: Sequence[Slot], outcomes: Sequence[Outgoing]) -> bool:
        """Whether it was their turn: all before them are answered. Then they are ready."""
        if not self._held or self._held[0] is not slots:
            return False
        run = self._held.popleft()
        run.answered(outcomes)
        self._ready.append(run)
        return True

    def send(self, limit: int | None, horizon: int | None) -> Run:
        """What leaves: the first `limit` of what is ready, and nothing from the offset `horizon` on."""
        run = Run.joined(self._ready)
        most = len(run) if horizon is None else sum(record.offset < horizon for record in run.records)
        run, rest = run.parted(most if limit is None else min(limit, most))
        self._ready = deque([rest] if rest else ())
        if run:
            self._sent.append(run)
        return run

    def committed(self) -> None:
        """What was sent first is forgotten."""
        self._sent.popleft()

    def rolled_back(self) -> None:
        """What was sent last is ready again."""
        self._ready.appendleft(self._sent.pop())

    def slots(self) -> list[Slot]:
        """One of each record."""
        states = ((self._sent, SENT), (self._ready, ANSWERED), (self._held, HELD), ((Run(self.pending),), PENDING))
        return [slot for runs, state in states for run in runs for slot in run.in_state(state)]
