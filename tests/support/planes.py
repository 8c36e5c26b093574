"""A consumer with a log in memory, and a data plane on top of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from bisupervised.schemas.records import Incoming, Outgoing
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.requests import Bounds
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.pacing import PacingPolicy
from bisupervised.streams.plane.partition import PartitionPolicy
from bisupervised.streams.plane.plane import DataPlane
from bisupervised.streams.plane.policy import PlanePolicy
from bisupervised.streams.plane.window.batch import Batch
from bisupervised.streams.plane.window.caution import CautionPolicy
from bisupervised.streams.plane.window.marks import Progress
from bisupervised.streams.plane.window.window import WindowPolicy
from support.coordination import NewGroup
from support.partitions import ScriptedBroker, Substitutes
from support.records import Record
from support.windows import TOPIC_ID, answers, window_policy

A, B = TopicPartition("requests", 0), TopicPartition("requests", 1)


def records(tp: TopicPartition, *offsets: int) -> list[Record]:
    """What lies in a partition's log."""
    return [Record(b"v", offset, tp.topic, tp.partition, key=None) for offset in offsets]


class FakeConsumer:
    """As much of aiokafka's consumer as the plane uses; it writes down what it was told."""

    def __init__(self) -> None:
        self.logs: dict[TopicPartition, list[Record]] = {A: [], B: []}
        self.ends: dict[TopicPartition, int] = {}  # where the log ends, if not behind its last record
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.told: list[tuple[Any, ...]] = []
        self.errors: deque[Exception] = deque()  # raised by the next fetches
        self.strays: dict[TopicPartition, list[Record]] = {}  # returned by the next fetch, whatever is paused
        self.fetch = 100  # records of one partition in a fetch
        self.polls = 0  # times it was asked for records
        self.listener: Any = None
        self.stopped = False
        self.offsets: Callable[[str], int] = lambda which: 0
        self._more = asyncio.Event()
        self.fetching: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done when it has ended
        self.updating: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the same of metadata
        self.leaves = asyncio.Event()  # it may end
        self.leaves.set()
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=500, error_future=self.fetching)  # where aiokafka keeps them
        self.requests: list[tuple[int, Any, Any]] = []  # sent past the client: node, request, which connection
        self._client = SimpleNamespace(  # as above
            _sync_task=self.updating, send=self._send, force_metadata_update=self._update
        )
        self._coordinator = SimpleNamespace(coordinator_id=3, group_id="group", member_id="member")
        self.metadata: set[int] | None = None  # what it knows of partitions until it asks; None: all there are
        self.asks = True  # what it asks is answered
        self._asked: tuple[set[TopicPartition], float] = (set(), 0.0)  # what the fetch under way is for, and its end

    # told by the test

    def write(self, tp: TopicPartition, *offsets: int) -> None:
        """Records come into being."""
        self.logs[tp] += records(tp, *offsets)
        self._more.set()

    async def assign(self, *tps: TopicPartition) -> None:
        """A rebalance: everything is taken away, then this is given."""
        await self.listener.on_partitions_revoked(set(self.positions))
        self.positions = dict.fromkeys(tps, -1)
        self.paused.clear()
        await self.listener.on_partitions_assigned(set(tps))

    @property
    def wait_ms(self) -> int:
        """How long the next fetch may wait for records."""
        return int(self._fetcher._fetch_max_wait_ms)

    async def _send(self, node: int, request: Any, *, group: Any) -> None:
        self.requests.append((node, request, group))

    # told by the plane

    async def start(self) -> None: ...

    async def stop(self) -> None:
        await self.leaves.wait()
        self.stopped = True

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self.listener = listener

    def pause(self, tp: TopicPartition) -> None:
        self.told.append(("pause", tp))
        self.paused.add(tp)

    def resume(self, tp: TopicPartition) -> None:
        self.told.append(("resume", tp))
        self.paused.discard(tp)
        self._more.set()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        assert tp in self.positions
        self.told.append(("seek", tp, offset))
        self.positions[tp] = offset
        self._more.set()

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {tp.partition for tp in self.logs} if self.metadata is None else self.metadata

    def _update(self) -> None:
        if self.asks:
            asyncio.get_running_loop().call_later(0.5, setattr, self, "metadata", None)

    async def position(self, tp: TopicPartition) -> int:
        return self.positions[tp]

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.offsets("end") for tp in tps}

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        self.polls += 1
        if self.errors:
            self._fetched()  # the client drops what it had for other partitions, and has moved their positions
            raise self.errors.popleft()
        fetched, self.strays = self.strays or self._fetched(), {}
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_ms / 1000
        while not fetched and now() < deadline:
            self._more.clear()
            with suppress(TimeoutError):
                _, answered_at = self._asked
                async with asyncio.timeout_at(min(deadline, answered_at)):
                    await self._more.wait()
            fetched = self._fetched()
        await asyncio.sleep(0)
        return fetched

    def _fetched(self) -> dict[TopicPartition, list[Record]]:
        fetched = {}
        now = asyncio.get_running_loop().time()
        asked, until = self._asked
        if now >= until or not asked & self.positions.keys():  # one fetch at a time, and it waits for records
            asked = {tp for tp, position in self.positions.items() if tp not in self.paused and position >= 0}
            self._asked = asked, now + self._fetcher._fetch_max_wait_ms / 1000
        for tp, position in self.positions.items():
            if tp not in asked or tp in self.paused or position < 0:
                continue
            found = [record for record in self.logs[tp] if record.offset >= position][: self.fetch]
            if found:
                fetched[tp] = found
                self.positions[tp] = found[-1].offset + 1
            if not found or found[-1] is self.logs[tp][-1]:
                self.positions[tp] = max(self.positions[tp], self.ends.get(tp, 0))
        if fetched:
            self._asked = set(), 0.0
        return fetched


class FakeInbox:
    """One place; the test is the agent."""

    def __init__(self) -> None:
        self.batches: deque[Batch] = deque()
        self.on_taken: Callable[[], None] = lambda: None

    @property
    def full(self) -> bool:
        return bool(self.batches)

    def offer(self, batch: Batch) -> bool:
        if self.full:
            return False
        self.batches.append(batch)
        return True

    def take(self) -> Batch | None:
        """What an agent does that is ready for more."""
        if not self.batches:
            return None
        batch = self.batches.popleft()
        asyncio.get_running_loop().call_soon(self.on_taken)
        return batch


class FakeCoordinator(NewGroup):
    """Every partition's broker knows its own progress."""

    def __init__(self, brokers: dict[TopicPartition, ScriptedBroker]) -> None:
        self._brokers = brokers
        self.offsets: Callable[[str], int] = lambda which: 0  # Raises `Lost`, where it does not say
        self.closed = False

    async def progress(self, tp: TopicPartition) -> Progress | None:
        return await self._brokers[tp].progress(tp)

    async def topic_id(self, topic: str) -> str:
        return TOPIC_ID

    async def bounds(self, places: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        return dict.fromkeys(places, Bounds(self.offsets("begin"), self.offsets("end")))

    async def close(self) -> None:
        self.closed = True


@dataclass
class Outbox:
    """A scripted broker with the counters that the plane reads."""

    broker: ScriptedBroker
    records: int = 0
    transactions: int = 0
    closed: bool = False

    @property
    def used_before(self) -> bool:
        return self.broker.used_before

    @property
    def first(self) -> bool:
        return self.broker.first

    @property
    def reachable(self) -> Sequence[TopicPartition]:
        return self.broker.reachable

    async def open(self) -> None:
        await self.broker.open()

    async def send(self, outcomes: Any, progress: Progress) -> Progress | None:
        committed = await self.broker.send(outcomes, progress)
        self.records += len(outcomes)
        self.transactions += 1
        return committed

    async def confirm(self, stored: Progress) -> None:
        await self.broker.confirm(stored)

    def discard(self) -> None:
        self.broker.discard()

    async def close(self) -> None:
        self.closed = True


class FakeAgent:
    """What the plane asks of its agent, answered as the test says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.inbox = world.inbox
        self.substitute = Substitutes()
        self.companions = None

    @property
    def hungry(self) -> bool:
        return self._world.hungry

    @property
    def probing(self) -> bool:
        return self._world.probing

    @property
    def appetite(self) -> int | None:
        return self._world.appetite

    def unreadable(self, record: Incoming) -> str | None:
        return self._world.unreadable.get(record.offset)

    def wrote(self, record: Incoming) -> bool:
        return True

    def leaves(self) -> None:
        self._world.left()

    def reads(self, partition: int, topic_id: str) -> None: ...

    def requested_ms(self, record: Incoming) -> int:
        return record.timestamp

    def owns(self, owned: int, partitions: int) -> None:
        self._world.shares.append((owned, partitions))
        self._world.told()

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        self._world.committed.extend(outcome.value for outcome in outcomes)


class FakeClients:
    """The consumer of the test, and an outbox over the scripted broker of each partition."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.coordinator = world.coordinator

    def make_consumer(self, dealing: Any) -> Any:
        return self._world.consumer

    async def high_watermarks(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self._world.consumer.offsets("high") for tp in places}

    def make_reader(self) -> Any:
        return self._world.consumer

    def make_outbox(self, tp: TopicPartition) -> Any:
        made = Outbox(self._world.brokers[tp])
        self._world.outboxes.append(made)
        return made


@dataclass
class World:
    """The plane, and everything around it."""

    window: WindowPolicy = field(default_factory=window_policy)
    careful: bool = False
    batch_records: int = 4
    batch_wait_s: float = 0.0
    start: Any = "earliest"
    drain_s: float = 10.0
    hungry: bool = True  #: what the agent says
    probing: bool = False  #: and this
    appetite: int | None = None  #: and this

    def __post_init__(self) -> None:
        self.consumer = FakeConsumer()
        self.inbox = FakeInbox()
        self.brokers = {tp: ScriptedBroker(Progress(0, topic_id=TOPIC_ID)) for tp in (A, B)}
        self.coordinator = FakeCoordinator(self.brokers)
        self.outboxes: list[Outbox] = []
        self.committed: list[bytes | None] = []  #: values of the outcomes that it was told are committed
        self.shares: list[tuple[int, int]] = []  #: what the agent was told of its partitions
        self.told: Callable[[], object] = lambda: None  #: called when it is
        self.left: Callable[[], None] = lambda: None  #: called when partitions are about to go
        self.unreadable: dict[int, str] = {}  #: offsets that only another worker can read, and why
        self.plane = DataPlane(self._policy(), FakeAgent(self), FakeClients(self), asyncio.get_running_loop().time)
        self.task = asyncio.create_task(self.plane.run())

    def _policy(self) -> PlanePolicy:
        caution = CautionPolicy(3, self.batch_records, 10, enabled=self.careful)
        return PlanePolicy(
            name="local",
            topic="requests",
            outbox=OutboxPolicy(Connection("nowhere:9092"), "group", 15.0, 30.0, 60.0),
            partition=PartitionPolicy(self.window, caution, PacingPolicy(0.1), self.drain_s),
            delivery="exactly_once",
            start=self.start,
            batch_records=self.batch_records,
            batch_wait_s=self.batch_wait_s,
            fetch_records=100,
            session_timeout_s=10.0,
            rebalance_timeout_s=60.0,
            request_timeout_s=30.0,
        )

    async def own(self, *tps: TopicPartition) -> None:
        """Partitions are assigned and acquired."""
        await asyncio.sleep(0.001)
        await self.consumer.assign(*tps)
        await asyncio.sleep(0.2)

    async def next_batch(self, within_s: float = 1.0) -> Batch:
        """The next batch the agent gets. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while (batch := self.inbox.take()) is None:  # noqa: ASYNC110  # on virtual time, where polling is free
                await asyncio.sleep(0.001)
        return batch

    async def answer_all(self, within_s: float = 1.0) -> list[list[tuple[int, int]]]:
        """Be a good agent until nothing more comes. Returns what came, batch by batch."""
        came = []
        try:
            while True:
                batch = await self.next_batch(within_s)
                came.append(places(batch.records))
                with batch:
                    batch.resolve(answers(batch.records))
        except TimeoutError:
            return came

    def phase(self, tp: TopicPartition) -> str:
        """The phase that is committed for a partition."""
        stored = self.brokers[tp].stored
        assert stored is not None
        return stored.phase

    async def stop(self) -> None:
        """Stop, and raise what the plane raises."""
        self.plane.stop()
        await self.task


def places(found: Iterable[Any]) -> list[tuple[int, int]]:
    """Partition and offset of each."""
    return [(record.partition, record.offset) for record in found]
