"""What the owners of partitions are told, and what they share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...agents.clock import wall_ms
from ...agents.remote.bulk.closing import ClosePolicy
from ...agents.remote.bulk.pace import PacePolicy

if TYPE_CHECKING:
    from ...agents.remote.bulk.gate import BulkGate
    from ...agents.remote.bulk.inputs import BulkInputs
    from ...agents.remote.bulk.provider import BulkProvider
    from ...agents.remote.bulk.queue import TokenQueue
    from ...agents.remote.spending.advances import Advances
    from ..kafka.connection import Connection
    from ..kafka.sender import OutboxPolicy
    from ..plane.sending.companions import Companions
    from .standing import BulkStanding


@dataclass(frozen=True, slots=True)
class BulkPolicy:
    """What owners read and write, and how much at once."""

    connection: Connection
    outbox: OutboxPolicy
    pipeline: str
    batched: str  #: topic
    batches: str  #: topic
    batches_bytes: int  #: of the largest record batch that it takes
    interface: str  #: the provider's
    by: str  #: which worker we are, for people
    session_timeout_s: float = 10.0
    in_flight: int = 4  #: batches of a partition that are not over, at most
    close: ClosePolicy = field(default_factory=ClosePolicy)
    pace: PacePolicy = field(default_factory=PacePolicy)
    call_timeout_s: float = 60.0  #: seconds for the last question that creates a batch, when it is not too late for it
    folder: str = ""  #: for files; '' where the system makes such
    waits_for_budget: bool = True  #: else what cannot be paid falls back
    begin_anew: bool = False  #: what stands still until a person says how it goes on begins anew
    refusals: int = 3  #: times that the provider may refuse a batch while it takes others, until that is its own


@dataclass(slots=True)
class Means:
    """What owners share: the provider, what is asked, the money, the provider's queue, and whether it may be asked."""

    provider: BulkProvider
    inputs: BulkInputs
    queue: TokenQueue
    gate: BulkGate
    standing: BulkStanding
    advances: Advances | None = None
    need: Callable[[], None] = lambda: None  #: called when the advances have something to write
    companions: Companions | None = None
    clock: Callable[[], float] = time.monotonic  #: measures waits
    now_ms: Callable[[], float] = wall_ms
    now_s: Callable[[], float] = time.time  #: the calendar's, for periods of the budget
