"""A broker that keeps one partition's progress and does as it is told, and the partition on top of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiokafka import TopicPartition
from bisupervised.schemas.records import Incoming, Outgoing
from bisupervised.streams.kafka.errors import Lost, RecordsRefused
from bisupervised.streams.kafka.refusals import Refusal
from bisupervised.streams.kafka.requests import Bounds
from bisupervised.streams.plane.pacing import PacingPolicy
from bisupervised.streams.plane.partition import Partition, PartitionPolicy
from bisupervised.streams.plane.window.acquittal import Word
from bisupervised.streams.plane.window.caution import CautionPolicy
from bisupervised.streams.plane.window.marks import Progress, decode
from bisupervised.streams.plane.window.slots import Lease
from support.coordination import NewGroup
from support.windows import TOPIC_ID, answer, log, window_policy

TP = TopicPartition("requests", 0)

DRAIN_S = 10.0  #: seconds until which a release waits
TOO_LARGE = Refusal(10, "too large")
BAD_TIME = Refusal(32, "bad time")

Reaction = Callable[["ScriptedBroker", Sequence[Outgoing], Progress], NoReturn]


def lost_before(broker: ScriptedBroker, outcomes: Sequence[Outgoing], progress: Progress) -> NoReturn:
    """The connection breaks, and nothing was committed."""
    raise Lost("before the commit")


def lost_after(broker: ScriptedBroker, outcomes: Sequence[Outgoing], progress: Progress) -> NoReturn:
    """The connection breaks, and everything was committed."""
    broker.store(outcomes, progress)
    raise Lost("after the commit")


@dataclass
class ScriptedBroker(NewGroup):
    """Outbox and coordinator in one. `script` says how the next sends end; then all go through."""

    stored: Progress | None = None
    used_before: bool = False  # something was committed before it was opened, whatever is stored
    first: bool = False  # nothing was
    topic: str = TOPIC_ID
    script: list[Reaction | None] = field(default_factory=list)
    refuses: Mapping[bytes | None, Refusal] = field(default_factory=dict)  # values it never takes
    tells: bool = True  # whether it says which record it refuses, in a batch of several
    open_fails: int = 0
    progress_fails: list[Exception] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # records of each attempt
    sent: list[bytes | None] = field(default_factory=list)
    commits: list[Progress] = field(default_factory=list)
    opened: int = 0
    discarded: int = 0
    reachable: Sequence[TopicPartition] = ()
    others: Mapping[int, Progress] = field(default_factory=dict)  # committed for the other partitions
    partitions: int = 4
    cut_off: bool = False  # nobody answers for the group
    takes_s: float = 0.0  # each send
    opens_s: float = 0.0  # each opening
    tells_s: float = 0.0  # each question about progress

    def store(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress | None:
        """A transaction goes through; metadata is kept as the string it is. Returns what is committed now."""
        self.stored = decode(progress.offset, progress.metadata())
        self.commits.append(self.stored)
        self.sent += [outcome.value for outcome in outcomes]
        return progress

    async def open(self) -> None:
        self.opened += 1
        await asyncio.sleep(self.opens_s)
        if self.open_fails:
            self.open_fails -= 1
            raise Lost("not there")
        self.used_before = self.used_before or self.stored is not None or bool(self.commits)
        self.first = not self.used_before

    def discard(self) -> None:
        self.discarded += 1

    async def send(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress | None:
        await asyncio.sleep(self.takes_s)
        self.sizes.append(len(outcomes))
        reaction = self.script.pop(0) if self.script else None
        if reaction is not None:
            reaction(self, outcomes, progress)
        culprits = {i: self.refuses[o.value] for i, o in enumerate(outcomes) if o.value in self.refuses}
        if culprits:
            batches = Counter(outcome.to for outcome in outcomes)  # each topic has a batch of its own
            raise RecordsRefused({i: e for i, e in culprits.items() if self.tells or batches[outcomes[i].to] == 1})
        return self.store(outcomes, progress)

    async def confirm(self, stored: Progress) -> None: ...

    async def progress(self, tp: TopicPartition) -> Progress | None:
        await asyncio.sleep(self.tells_s)
        if self.progress_fails:
            raise self.progress_fails.pop(0)
        return self.stored

    async def siblings(self, topic: str) -> dict[int, Progress]:
        if self.cut_off:
            raise Lost("the group's coordinator is not there")
        return dict(self.others)

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.partitions))

    async def topic_id(self, topic: str) -> str:
        return self.topic

    async def bounds(self, places: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        return dict.fromkeys(places, Bounds(30, 40))

    async def close(self) -> None: ...


@dataclass
class LaggingBroker(ScriptedBroker):
    """As it is reached at least once: what is committed is the progress of the send before."""

    owed: Progress | None = None
    member: bool = True  #: the group takes commits of this owner

    async def open(self) -> None:
        self.owed = None
        await super().open()

    def store(self, outcomes: Sequence[Outgoing], progress: Progress) -> Progress | None:
        """The records arrive; the progress is stored beside the next ones, or without any."""
        due, self.owed = (self.owed, progress) if outcomes else (progress, None)
        self.sent += [outcome.value for outcome in outcomes]
        if due is not None and not self.member:
            raise Lost("the group has given the partition to another member")
        return super().store([], due) if due is not None else None

    async def confirm(self, stored: Progress) -> None:
        self.store([], stored)


def arrived_uncommitted(broker: ScriptedBroker, outcomes: Sequence[Outgoing], progress: Progress) -> NoReturn:
    """The connection breaks when the records have arrived; no progress is stored."""
    broker.sent += [outcome.value for outcome in outcomes]
    raise Lost("beside the records")


def commit_lost(broker: ScriptedBroker, outcomes: Sequence[Outgoing], progress: Progress) -> NoReturn:
    """The records are acknowledged; of the offset nobody knows, and it was not stored."""
    broker.sent += [outcome.value for outcome in outcomes]
    lost = Lost("no answer to the commit")
    lost.arrived = True
    raise lost


class Substitutes:
    """Fallback records that tell why they were made."""

    def failed(self, record: Incoming, detail: str) -> Outgoing:
        return self._made(b"failed", record)

    def too_large(self, record: Incoming, detail: str) -> Outgoing:
        return self._made(b"too large", record)

    def refused(self, record: Incoming, detail: str) -> Outgoing:
        return self._made(b"refused", record)

    def _made(self, why: bytes, record: Incoming) -> Outgoing:
        return Outgoing("fallback", record.key, b"%b %d" % (why, record.offset), (), record.timestamp)


def partition_policy(**changed: Any) -> PartitionPolicy:
    """Default paces, no caution unless asked for."""
    caution = CautionPolicy(tries=3, batch=4, suspects=10, enabled=changed.pop("careful", False))
    paces = {
        name: changed.pop(name) for name in ("commit_interval_s", "loaded_per_s", "unhurried_s") if name in changed
    }
    pacing = PacingPolicy(**({"commit_interval_s": 0.1} | paces))
    made: dict[str, Any] = {"window": window_policy(), "caution": caution, "pacing": pacing, "drain_s": DRAIN_S}
    made |= changed
    return PartitionPolicy(**made)


class Owner:
    """A partition that runs in its task, with records fetched and taken by hand: the plane is the test."""

    def __init__(
        self,
        broker: Any,
        *,
        outbox: Any = None,
        tp: TopicPartition = TP,
        worked: bool = False,
        heard: Sequence[Word] = (),
        **policy: Any,
    ) -> None:
        """`broker`: who tells what is committed, a `ScriptedBroker` mostly, and the `outbox` where that is no other.
        `worked`: outcomes tell that somebody worked before. `heard`: words of former owners.
        """
        loop = asyncio.get_running_loop()
        self.broker = broker
        self.owned = asyncio.Event()
        self.skips_backlog = True
        self._worked = worked
        self.acquisitions = 0
        self.progressions = 0
        self.told: list[bytes | None] = []  #: values of the outcomes that it was told are committed
        companions = policy.pop("companions", None)
        self.partition = Partition(
            tp,
            partition_policy(**policy),
            outbox or broker,
            broker,
            Substitutes(),
            companions,
            self,
            loop.time,
            heard,
        )
        self.task = asyncio.create_task(self.partition.run())

    async def worked_before(self, reachable: Sequence[TopicPartition]) -> bool:
        return self._worked

    def requested_ms(self, record: Incoming) -> int:
        return record.timestamp

    def acquired(self, tp: TopicPartition, topic_id: str) -> None:
        self.partition.resume()
        self.acquisitions += 1
        self.owned.set()

    def unwanted(self, tp: TopicPartition) -> None: ...

    def progressed(self) -> None:
        self.progressions += 1

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        self.told.extend(outcome.value for outcome in outcomes)

    def failed(self, error: BaseException) -> None:
        raise AssertionError("the test holds the task") from error

    async def take(self, *offsets: int) -> Lease:
        """Wait for ownership, fetch these offsets, hand them out."""
        await self.owned.wait()
        partition = self.partition
        partition.add(log(*offsets))
        if partition.wants_arming:
            partition.arm()
            while not partition.armed:  # noqa: ASYNC110  # nobody tells a fake plane
                await asyncio.sleep(0.01)
        lease = partition.take(len(offsets), 0.0)
        assert lease is not None
        return lease

    def resolve(self, lease: Lease) -> None:
        """The agent answers, and the plane looks what may be sent."""
        lease.resolve([answer(slot.record) for slot in lease.slots])
        self.partition.wake_if_ready()

    async def answer(self, *offsets: int) -> None:
        """Take and resolve, then let everything happen that can within a while."""
        self.resolve(await self.take(*offsets))
        await asyncio.sleep(3.0)

    async def release(self) -> None:
        """Give up the partition and wait for its end."""
        self.partition.release(asyncio.get_running_loop().time() + DRAIN_S)
        await self.task
