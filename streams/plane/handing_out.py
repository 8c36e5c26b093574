"""Which records go to the agent next. Decides without I/O, and returns what is to be done."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from .window.slots import Lease


class Supply(Protocol):
    """What one partition has to hand out."""

    @property
    def taking(self) -> bool:
        """Its records may be handed to an agent."""

    @property
    def pending(self) -> int:
        """Records that no agent holds."""

    @property
    def held(self) -> int:
        """Records that an agent holds, also of a partition that hands out no more."""

    @property
    def alone(self) -> bool:
        """The next batch must hold records of this partition only; so it is of one that is armed, or wants to be."""

    @property
    def armed(self) -> bool:
        """The next batch may kill the process, and a commit says so: nothing else may be in flight with it."""

    @property
    def arming(self) -> bool:
        """The commit that arms is on its way."""

    @property
    def wants_arming(self) -> bool:
        """A batch could be tried, if a commit said so first."""

    def available(self, most: int) -> int:
        """Pending records that may be handed out by what is committed; no more than `most` count."""

    def take(self, most: int, now: float) -> Lease | None:
        """Hand out at most so many records; None when nothing is due."""

    def arm(self) -> None:
        """Commit that the next batch may kill the process."""


class Next(NamedTuple):
    """What is to be done now."""

    leases: Sequence[Lease] = ()  #: to hand out as one batch; empty: nothing is due
    arm: Supply | None = None  #: the partition whose turn it is to arm
    again_s: float | None = None  #: seconds until a batch is due; None: only an event makes one due


class HandingOut:
    """Takes turns between partitions, and knows when a batch is due. Time is passed in."""

    def __init__(self, batch_wait_s: float) -> None:
        """`batch_wait_s`: seconds that the first record of a batch may wait for more."""
        self._batch_wait_s = batch_wait_s
        self._rotation: deque[Supply] = deque()
        self._arming_order: deque[Supply] = deque()  # who has waited longest comes first
        self._waiting_since: float | None = None

    def add(self, supply: Supply) -> None:
        """This one takes part."""
        self._rotation.append(supply)
        self._arming_order.append(supply)

    def remove(self, supply: Supply) -> None:
        """It does no more."""
        self._rotation.remove(supply)
        self._arming_order.remove(supply)

    def provided(self, most: int) -> bool:
        """The next two batches are there."""
        missing = 2 * most
        for supply in self._rotation:
            if supply.taking:
                missing -= supply.pending
                if missing <= 0:
                    return True
        return missing <= 0

    def next(self, most: int, now: float) -> Next:
        """The next batch, of at most so many records."""
        self._rotation.rotate(-1)  # another one first each time
        taking: list[Supply] = []
        alone = False
        for supply in self._rotation:
            if supply.taking:
                taking.append(supply)
                alone = alone or supply.alone
        if not alone:  # as it nearly always is: nobody is armed, or wants to be
            return self._plain(taking, most, now, None)
        armed = next((supply for supply in taking if supply.armed), None)
        if armed is not None:
            return Next(self._try(armed, most, now))
        arm = self._whose_turn(taking)
        for supply in taking:
            lease = supply.take(most, now) if supply.alone else None
            if lease is not None:
                return Next([lease], arm)
        return self._plain([supply for supply in taking if not supply.alone], most, now, arm)

    def _try(self, armed: Supply, most: int, now: float) -> Sequence[Lease]:
        """The batch that may kill the process goes alone: nobody else is to be blamed for it, nor it for others."""
        if any(supply.held for supply in self._rotation):
            return ()
        lease = armed.take(most, now)
        return (lease,) if lease is not None else ()

    def _whose_turn(self, taking: Iterable[Supply]) -> Supply | None:
        """One partition at a time says, in a commit, that its next batch may kill the process; then the next one."""
        if any(supply.arming for supply in taking):
            return None
        for supply in self._arming_order:
            if supply.taking and supply.wants_arming:
                self._arming_order.remove(supply)
                self._arming_order.append(supply)
                return supply
        return None

    def _plain(self, plain: list[Supply], most: int, now: float, arm: Supply | None) -> Next:
        """A batch of several partitions is due when it is full, or when its first record has waited long enough."""
        may_wait = most > 1 and self._batch_wait_s > 0  # a batch of one is full as soon as there is one
        rest_s = self._rest_s(plain, most, now) if may_wait else 0.0
        if rest_s > 0:
            return Next((), arm, rest_s)
        self._waiting_since = None
        return Next(_filled(plain, most, now), arm)

    def _rest_s(self, plain: Iterable[Supply], most: int, now: float) -> float:
        """Seconds until a batch is due; 0 or less where it is, or where there is nothing to wait for."""
        pending = 0
        for supply in plain:
            pending += supply.available(most)
            if pending >= most:
                return 0.0
        if not pending:
            return 0.0
        if self._waiting_since is None:
            self._waiting_since = now
        return self._waiting_since + self._batch_wait_s - now


def _filled(supplies: Iterable[Supply], room: int, now: float) -> Sequence[Lease]:
    leases: list[Lease] = []
    for supply in supplies:
        lease = supply.take(room, now)
        if lease is not None:
            leases.append(lease)
            room -= len(lease.slots)
            if room <= 0:
                break
    return leases or ()
