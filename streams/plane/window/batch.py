"""What an agent receives: records of one or more partitions, each part under the lease of its window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType

from ....schemas.records import Incoming, Outgoing
from .slots import Lease, Slot, records_of

log = logging.getLogger(__name__)


class Batch:
    """Records to answer, all at once, in order.

    Use it as a context: leaving it unresolved gives the records back to be delivered again, so redelivery
    never depends on noticing that an agent was restarted. An exception counts as a failed try.
    """

    __slots__ = ("_clock", "_leases", "_on_end", "records")

    def __init__(self, leases: Sequence[Lease], clock: Callable[[], float], on_end: Callable[[], None]) -> None:
        self._leases = leases
        self._clock = clock
        self._on_end = on_end
        self.records: Sequence[Incoming] = [record for lease in leases for record in records_of(lease.slots)]

    def __repr__(self) -> str:
        return f"<Batch of {len(self.records)} from {len(self._leases)} partitions>"

    @property
    def wanted(self) -> bool:
        """False when every outcome would be discarded."""
        return any(lease.open for lease in self._leases)

    def called_before(self, position: int) -> bool:
        """A call may have been made for the record there, and the answer lost: by an owner that died or a rebalance."""
        return self._slot(position).called

    def called(self, position: int) -> None:
        """A call was made for the record there: whoever gets it again is to know."""
        self._slot(position).called = True

    def _slot(self, position: int) -> Slot:
        for lease in self._leases:
            if position < len(lease.slots):
                return lease.slots[position]
            position -= len(lease.slots)
        raise IndexError(position)

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        """One outcome per record, in order. Raises `ValueError` for a different number; nothing is resolved then."""
        if len(outcomes) != len(self.records):
            raise ValueError(f"{len(self.records)} records need as many outcomes, not {len(outcomes)}")
        start = 0
        for lease in self._leases:
            end = start + len(lease.slots)
            lease.resolve(outcomes[start:end])
            start = end
        self._on_end()

    def release(self, *, failed: bool = False) -> None:
        """Give back what is unresolved. `failed`: the agent raised, so the batch is split before the next try."""
        open_leases = [lease for lease in self._leases if not lease.ended]
        for lease in open_leases:
            lease.release(failed=failed, alone=len(self.records) == 1, now=self._clock())
        if open_leases:
            self._on_end()

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = isinstance(error, Exception)
        if failed:
            log.error(
                "an agent failed on %d records, which are delivered again: %r",
                len(self.records),
                error,
                extra={"action": "agent_failed"},
                exc_info=error,
            )
        self.release(failed=failed)
