"""Windows, records and outcomes for tests of the data plane. No broker, no clock of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from bisupervised.schemas.records import Incoming, Outgoing
from bisupervised.streams.plane.window.caution import Caution, CautionPolicy
from bisupervised.streams.plane.window.marks import Progress, decode
from bisupervised.streams.plane.window.slots import Lease, Plan
from bisupervised.streams.plane.window.window import Ordering, Window, WindowPolicy
from support.records import Record

TOPIC_ID = "0123456789abcdef" * 2
CAUTION = CautionPolicy(tries=3, batch=4, suspects=20)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def log(*offsets: int, key: bytes | None = None) -> list[Record]:
    """Records at these offsets, all with one key."""
    return [Record(b"v%d" % offset, offset, key=key) for offset in offsets]


def answer(record: Incoming) -> Outgoing:
    """An outcome that tells which record it is of."""
    return Outgoing("results", record.key, b"answer %d" % record.offset, (), record.timestamp)


def answers(records: Sequence[Incoming]) -> list[Outgoing]:
    """One for each."""
    return [answer(record) for record in records]


def given_up(record: Incoming) -> Outgoing:
    """What stands in for a record that is given up."""
    return Outgoing("fallback", record.key, b"given up %d" % record.offset, (), record.timestamp)


def window_policy(
    records: int = 1000,
    pending: int = 1000,
    size: int = 1 << 30,
    tries: int = 3,
    ordering: Ordering = "none",
    delay_s: float = 0.1,
) -> WindowPolicy:
    """Bounds that nothing reaches, unless a test says so."""
    return WindowPolicy(records, size, pending, tries, ordering, delay_s)


def make_window(
    policy: WindowPolicy | None = None, start: Progress | None = None, caution: CautionPolicy | None = None
) -> Window:
    """A window of a former owner that closed well, unless `start` says otherwise."""
    start = start or Progress(0, topic_id=TOPIC_ID)
    return Window(policy or window_policy(), start, Caution(caution or CAUTION, start.phase), given_up)


def offsets(lease: Lease | None) -> list[int]:
    """Whose turn it is; nothing where nothing was due."""
    return [] if lease is None else [slot.offset for slot in lease.slots]


def resolve(lease: Lease | None) -> None:
    """Answer all of it."""
    assert lease is not None
    lease.resolve([answer(slot.record) for slot in lease.slots])


def stored(plan: Plan) -> Progress:
    """What the next owner reads of this commit: there and back through the metadata."""
    return decode(plan.progress.offset, plan.progress.metadata())


def commit(window: Window, limit: int | None = None) -> Plan:
    """A transaction that goes through."""
    plan = window.plan(limit)
    window.committed(plan)
    return plan
