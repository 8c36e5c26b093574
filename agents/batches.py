"""What the data plane hands to an agent: some records, and the duty to say what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from ..schemas.records import Incoming, Outgoing


class Calls(Protocol):
    """Who knows for which records the remote was called. A record is named by its position in `Batch.records`."""

    def called_before(self, position: int) -> bool:
        """A call may have been made for it, and the answer lost: by an owner that died, or by a rebalance."""
        ...

    def called(self, position: int) -> None:
        """A call was made for it: whoever gets it again is to know."""
        ...


class Batch(Calls, Protocol):
    """Records on lease. Exactly one thing happens to them, whichever comes first:

    1. `resolve`: each has its outcome, and they are never seen again;
    2. `release`, or leaving the `with` block unresolved: they are delivered again;
    3. leaving the block with an exception: they are delivered again, and it counts as a failed try.

    What comes later is ignored: a batch from before a rebalance may end whenever it likes.
    """

    @property
    def records(self) -> Sequence[Incoming]: ...

    @property
    def wanted(self) -> bool:
        """False when every outcome would be ignored: the partitions are somebody else's by now."""
        ...

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        """All outcomes at once, as many as there are records, in their order."""
        ...

    def release(self) -> None:
        """Give the records back; nobody is to blame."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
