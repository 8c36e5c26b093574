"""The data plane: one input topic, one consumer group, one agent. Written once, used by all three agents.

    consumer ─▶ window of each partition ─▶ batches ─▶ inbox ─▶ agent
                        ▲                                         │
                        └────────────── outcomes ◀────────────────┘
    window ─▶ outbox (outcomes and offset, one transaction)

The loop here fetches, hands out and pauses. What happens to one partition is in `partition.py`; what a window
promises is in `window.py`; sending and committing is in `outbox.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from ...schemas.records import Incoming, Outgoing
from ..kafka.errors import Lost, denial
from ..kafka.records import check_client, fetch_lean, read_any_header, wait_at_broker
from .batch import Batch
from .coordinator import Ledger
from .outbox import AtLeastOnce, ExactlyOnce, Outbox, OutboxPolicy
from .partition import Partition, PartitionPolicy, Substitute, uncounted
from .routing import Router
from .window import Lease, Window

log = logging.getLogger(__name__)

#: milliseconds one fetch may wait; also how often an idle plane looks around
_POLL_MS = 200
#: share of a bound at which a paused partition is resumed
_RESUME_SHARE = 0.5
#: milliseconds that a fetch may wait at the broker for records; less while a partition is paused, for one that is
#: resumed meanwhile is not in that fetch, and the client sends no second one
_WAIT_MS, _HASTY_MS = 500, 20
#: seconds after the drain deadline in which the last transaction may end, and then what was cancelled
_LAST_FLUSH_S = 5.0
#: seconds in which the client may leave the group and end: it waits for a broker that is gone, or for a rebalance
_LEAVE_S = 10.0


@dataclass(frozen=True, slots=True)
class PlanePolicy:
    """Everything a plane needs to know."""

    name: str  #: the agent it serves
    topic: str  #: input topic
    outbox: OutboxPolicy  #: where and how to send
    partition: PartitionPolicy  #: bounds and pace of each partition
    delivery: Literal["exactly_once", "at_least_once"]
    start: Literal["earliest", "latest"]  #: where a group begins that has never committed
    batch_records: int  #: most records in a batch
    batch_wait_s: float  #: seconds the first record of a batch may wait for more
    fetch_records: int  #: most records in one fetch
    session_timeout_s: float  #: seconds without a heartbeat after which partitions are given away
    rebalance_timeout_s: float  #: seconds a member has to rejoin, draining included
    request_timeout_s: float  #: seconds for one request


class Standing(NamedTuple):
    """How one assigned partition stands at one moment."""

    topic: str
    partition: int
    state: Literal["acquiring", "running", "paused", "stopped"]
    stopped: str | None  #: why it cannot go on, None while it can
    position: int | None  #: next offset to fetch, None until acquired
    unfinished: int  #: records fetched and without a committed outcome
    oldest_ms: int | None  #: timestamp of the first of them, milliseconds since epoch
    sent: int  #: outcomes committed by this owner


class Inbox(Protocol):
    """Where batches go. A full inbox says no."""

    def offer(self, batch: Batch) -> bool:
        """Take the batch and answer True, or leave it and answer False."""

    @property
    def full(self) -> bool:
        """True when `offer` would say no."""

    on_taken: Callable[[], None]  #: called when the agent has taken a batch


@dataclass(slots=True)
class Counters:
    """What has happened on a plane since it started."""

    fetched: int = 0  #: records fetched
    batches: int = 0  #: batches handed to the agent
    sent: int = 0  #: records sent, of partitions released since
    transactions: int = 0  #: transactions committed, of partitions released since
    faults: int = 0  #: times the agent raised
    recoveries: int = 0  #: times a lost producer was opened again, of partitions released since
    discarded: int = 0  #: outcomes that came for a closed lease
    abandoned: int = 0  #: records in flight when a drain deadline passed
    rebalances: int = 0  #: times partitions were taken away


@dataclass(slots=True)
class _Owned:
    """A partition, its outbox and the task that runs it."""

    partition: Partition
    outbox: Outbox
    task: asyncio.Task[None] = field(init=False)


def _always() -> bool:
    return True


def _unbounded() -> None:
    return


def _idle() -> None:
    return


def _ignore(owned: int, partitions: int) -> None:
    return


class DataPlane(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Moves the records of one input topic through one agent."""

    def __init__(
        self,
        policy: PlanePolicy,
        router: Router,
        inbox: Inbox,
        substitute: Substitute,
        *,
        hungry: Callable[[], bool] = _always,
        appetite: Callable[[], int | None] = _unbounded,
        on_leaving: Callable[[], None] = _idle,
        on_owned: Callable[[int, int], None] = _ignore,
        on_committed: Callable[[Sequence[Outgoing]], None] = uncounted,
        unreadable: Callable[[Incoming], str | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hungry` says whether more is to be fetched, `appetite` how many records the agent wants at once;
        `on_leaving` hears that partitions are about to go, and then `on_owned` how many of how many are owned;
        `on_committed` hears the outcomes of each transaction. `unreadable` says why a record is another worker's to
        read, None where it is ours.
        """
        self.policy = policy
        self.counters = Counters()
        self._router = router
        self._inbox = inbox
        self._substitute = substitute
        self._hungry = hungry
        self._appetite = appetite
        self._on_leaving = on_leaving
        self._on_owned = on_owned
        self._on_committed = on_committed
        self._unreadable = unreadable
        self._held = False
        self._relieving = False  # a partition is paused that is to be resumed
        self._clock = clock
        self._owned: dict[TopicPartition, _Owned] = {}
        self._rotation: deque[TopicPartition] = deque()
        self._arming_order: deque[TopicPartition] = deque()  # who has waited longest comes first
        self._waiting_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()
        self._wanted = asyncio.Event()  # more records
        self._crash: asyncio.Future[None] | None = None
        self._consumer: Any = None  # AIOKafkaConsumer, which has no types
        self._ledger = Ledger(policy.outbox.connection, policy.outbox.group)

    def __repr__(self) -> str:
        return f"<DataPlane {self.policy.name} {[owned.partition for owned in self._owned.values()]}>"

    # life

    async def run(self) -> None:
        """Consume until `stop`. Raises what cannot be mended here, for the worker to end on."""
        self._crash = asyncio.get_running_loop().create_future()
        self._inbox.on_taken = self.pump
        consumer = self._make_consumer()
        await consumer.start()
        self._consumer = consumer  # only now may it be asked where partitions end
        self._consumer.subscribe([self.policy.topic], listener=self)
        polling = asyncio.create_task(self._poll())
        try:
            await asyncio.wait({polling, self._crash}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            await self._shut_down(polling)
        for ended in (polling, self._crash):
            if ended.done() and not ended.cancelled():
                ended.result()

    def stop(self) -> None:
        """Take no new records, end what is in flight, leave the group."""
        self._stopping.set()

    async def _shut_down(self, polling: asyncio.Task[None]) -> None:
        await self._release(list(self._owned))
        # a fetch waits out a rebalance; the group is being left, so nothing is lost by ending it
        await asyncio.wait({polling}, timeout=2 * _POLL_MS / 1000)
        polling.cancel()
        leaving = asyncio.create_task(self._leave(polling))
        await asyncio.wait({leaving}, timeout=_LEAVE_S)
        if leaving.done():
            leaving.result()
        else:
            text = "%s: the client does not end; the broker gives its partitions away without its word"
            log.warning(text, self.policy.name, extra={"action": "leave_failed"})
        if self._timer is not None:
            self._timer.cancel()

    async def _leave(self, polling: asyncio.Task[None]) -> None:
        await asyncio.wait({polling})
        await self._consumer.stop()
        await self._ledger.close()

    def _make_consumer(self) -> AIOKafkaConsumer:
        policy = self.policy
        fetch_lean()
        return AIOKafkaConsumer(
            **policy.outbox.connection.options(),
            group_id=policy.outbox.group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=int(policy.session_timeout_s * 1000),
            heartbeat_interval_ms=int(min(policy.session_timeout_s / 3, 1.0) * 1000),
            rebalance_timeout_ms=int(policy.rebalance_timeout_s * 1000),
            request_timeout_ms=int(policy.request_timeout_s * 1000),
            fetch_max_wait_ms=_WAIT_MS,
            max_poll_records=policy.fetch_records,
        )

    # rebalancing

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause first, own later: nothing here may wait, for no heartbeats are sent meanwhile."""
        if self._stopping.is_set():
            return
        for tp in sorted(assigned):
            self._consumer.pause(tp)
            self._consumer.seek(tp, 0)  # any position, so that the client does not look for one itself
            self._own(tp)
        self._tell_owned()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Every assignor of this client takes everything away on each rebalance."""
        if revoked:
            self.counters.rebalances += 1
        await self._release([tp for tp in revoked if tp in self._owned])

    def _own(self, tp: TopicPartition) -> None:
        outbox = self._make_outbox(tp)
        partition = Partition(
            tp,
            self.policy.partition,
            outbox,
            self._ledger,
            self._substitute,
            first_offset=self._first_offset,
            on_acquired=self._begin,
            on_progress=self.pump,
            on_committed=self._on_committed,
            clock=self._clock,
        )
        owned = _Owned(partition, outbox)
        self._owned[tp] = owned
        self._rotation.append(tp)
        self._arming_order.append(tp)
        owned.task = asyncio.create_task(partition.run(), name=f"{self.policy.name} {tp.topic}-{tp.partition}")
        owned.task.add_done_callback(self._ended)

    def _make_outbox(self, tp: TopicPartition) -> Outbox:
        if self.policy.delivery == "exactly_once":
            return ExactlyOnce(self.policy.outbox, tp, self._router, self._ledger)
        return AtLeastOnce(self.policy.outbox, tp, self._router, self._consumer)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._crash is not None and not self._crash.done():
            log.critical("the plane of %s fails: %r", self.policy.name, error, extra={"action": "plane_failed"})
            self._crash.set_exception(error)

    async def _first_offset(self, tp: TopicPartition) -> int:
        """Where a group begins that has never committed. Raises `Lost`."""
        ask = self._consumer.beginning_offsets if self.policy.start == "earliest" else self._consumer.end_offsets
        try:
            offsets = await ask([tp])
        except KafkaError as error:
            raise Lost(f"the broker does not tell the {self.policy.start} offset: {error!r}") from error
        return int(offsets[tp])

    def _begin(self, partition: Partition) -> None:
        if partition.window is not None and partition.tp in self._owned:
            self._consumer.seek(partition.tp, partition.window.position)
            if not self._held:
                self._resume(partition)

    async def _release(self, tps: list[TopicPartition]) -> None:
        """Drain and let go. Ends by the drain deadline and twice the time of one more transaction, whatever happens."""
        leaving = [self._owned[tp] for tp in tps]
        if not leaving:
            return
        deadline = max(owned.partition.release() for owned in leaving)
        self._on_leaving()
        # one that is being acquired goes on to its first commit: opened and never committed, it would look like a loss
        tasks = {owned.task for owned in leaving}
        _, late = await asyncio.wait(tasks, timeout=deadline - self._clock() + _LAST_FLUSH_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_LAST_FLUSH_S)
        await asyncio.gather(*(self._forget(owned) for owned in leaving))
        self._tell_owned()

    def _tell_owned(self) -> None:
        """Tell the agent its share: asked anew each time, for partitions may be added to a topic."""
        partitions = self._consumer.partitions_for_topic(self.policy.topic) or ()
        self._on_owned(len(self._owned), max(len(partitions), len(self._owned)))

    async def _forget(self, owned: _Owned) -> None:
        partition, counters = owned.partition, self.counters
        if self._owned.get(partition.tp) is not owned:
            return  # a stop and a rebalance let go of it at once
        del self._owned[partition.tp]
        self._rotation.remove(partition.tp)
        self._arming_order.remove(partition.tp)
        counters.sent += owned.outbox.records
        counters.transactions += owned.outbox.transactions
        counters.recoveries += partition.recoveries
        if partition.window is not None:
            counters.faults += partition.window.faults
            counters.discarded += partition.window.discarded
        if partition.abandoned:
            counters.abandoned += partition.abandoned
            log.warning(
                "%s: %d records were in flight at the drain deadline; their outcomes will be discarded",
                partition.tp,
                partition.abandoned,
                extra={"action": "records_abandoned"},
            )
        await owned.outbox.close()

    # fetching

    async def _poll(self) -> None:
        """Fetch for ever. The fetch is never cancelled while we stay: the client would stop counting polls."""
        fetched_at = self._clock()
        while not self._stopping.is_set():
            await self._until_wanted()
            check_client(self._consumer)  # a new process mends what it raises, waiting does not
            try:
                fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
                self._misplaced(error)
                continue
            except UnicodeDecodeError:
                read_any_header()
                self._rewind()
                continue
            except KafkaError as error:
                denied = denial(error, reads=self.policy.topic, group=self.policy.outbox.group)
                if denied is not None:
                    self._fail(denied)
                    return
                if self._clock() - fetched_at > self.policy.outbox.watchdog_s:
                    raise  # the client's own tasks may be dead: a new process mends that, waiting does not
                log.warning("cannot fetch: %r", error, extra={"action": "fetch_failed"})
                self._rewind()
                await asyncio.sleep(_POLL_MS / 1000)
                continue
            fetched_at = self._clock()
            for tp, records in fetched.items():
                self._arrived(tp, records)
            await self._advance()
            self.pump()
            self._govern()

    async def _until_wanted(self) -> None:
        """Until the agent will soon want more, or it is time to look around. What is unpacked before only gets cold."""
        self._wanted.clear()
        if self._provided():
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_MS / 1000):
                    await self._wanted.wait()

    def _provided(self) -> bool:
        """The next two batches are there."""
        partitions = (owned.partition for owned in self._owned.values())
        pending = sum(p.window.pending for p in partitions if p.taking and p.window is not None)
        return pending >= 2 * self._batch_records

    def _arrived(self, tp: TopicPartition, records: list[Any]) -> None:
        owned = self._owned.get(tp)
        if owned is not None and owned.partition.taking and not owned.partition.paused:
            readable = self._readable(owned.partition, records)
            self.counters.fetched += len(readable)
            owned.partition.add(readable)

    def _readable(self, partition: Partition, records: list[Any]) -> list[Any]:
        """The records up to the first that only another worker can read: there the partition stops, loudly."""
        if self._unreadable is None:
            return records
        for index, record in enumerate(records):
            reason = self._unreadable(record)
            if reason is not None:
                self._pause(partition)
                partition.stop(f"offset {record.offset}: {reason}")
                return records[:index]
        return records

    def _rewind(self) -> None:
        """Fetch again from where the windows end: a fetch that raised may have dropped another partition's records."""
        for tp, owned in self._owned.items():
            window = owned.partition.window
            if window is not None and owned.partition.taking:
                with suppress(KafkaError):  # taken away this very moment
                    self._consumer.seek(tp, window.position)

    async def _advance(self) -> None:
        """Positions move without records, too: over transaction markers and what was aborted."""
        for tp, owned in list(self._owned.items()):
            window = owned.partition.window
            if window is not None and owned.partition.taking and not owned.partition.paused:
                with suppress(KafkaError):  # taken away this very moment
                    window.advance(await self._consumer.position(tp))

    def _misplaced(self, error: KafkaError) -> None:
        """A committed offset that the topic does not have any more stops that partition, loudly."""
        place = error.args[0] if error.args else None
        for tp in list(place) if isinstance(place, dict) else [place]:
            owned = self._owned.get(tp)
            if owned is not None and owned.partition.taking:
                self._pause(owned.partition)
                owned.partition.stop(
                    f"the topic has no record at the committed offset ({error!r}): records were deleted before they "
                    "were read, or the topic was made anew; reset the group's offsets to go on"
                )

    # handing out

    def pump(self) -> None:
        """Hand out batches while the inbox takes them and there is something due."""
        while not self._inbox.full and not self._stopping.is_set():
            leases = self._next_leases()
            if not leases:
                break
            self.counters.batches += 1
            self._inbox.offer(Batch(leases, self._clock, self.pump))
        for owned in self._owned.values():
            owned.partition.wake_if_ready()
        if self._relieving:
            self._relieve()
        if not self._wanted.is_set() and not self._provided():
            self._wanted.set()

    @property
    def _batch_records(self) -> int:
        """Most records in the next batch."""
        wanted = self._appetite()
        return self.policy.batch_records if wanted is None else min(self.policy.batch_records, wanted)

    def _next_leases(self) -> list[Lease]:
        now, most = self._clock(), self._batch_records
        windows = self._windows()
        armed = [window for window in windows if window.armed]
        if armed:
            return self._try(armed[0], most, now)
        self._arm_one()
        for window in windows:
            if window.alone:
                lease = window.take(most, now)
                if lease is not None:
                    return [lease]
        plain = [window for window in windows if not window.alone]
        if not self._batch_is_due(sum(window.available(most) for window in plain), most, now):
            return []
        return self._fill(plain, most, now)

    def _try(self, armed: Window, most: int, now: float) -> list[Lease]:
        """The batch that may kill the process goes alone: nobody else is to be blamed for it, nor it for others."""
        windows = (owned.partition.window for owned in self._owned.values())
        if any(window.held for window in windows if window is not None):
            return []
        lease = armed.take(most, now)
        return [lease] if lease is not None else []

    def _arm_one(self) -> None:
        """One partition at a time says, in a commit, that its next batch may kill the process; then the next one."""
        if any(owned.partition.arming for owned in self._owned.values() if owned.partition.taking):
            return
        for tp in self._arming_order:
            partition = self._owned[tp].partition
            if partition.taking and partition.window is not None and partition.window.wants_arming:
                self._arming_order.remove(tp)
                self._arming_order.append(tp)
                partition.arm()
                return

    def _windows(self) -> list[Window]:
        """Windows that may hand out records, another one first each time."""
        self._rotation.rotate(-1)
        partitions = (self._owned[tp].partition for tp in self._rotation)
        return [p.window for p in partitions if p.taking and p.window is not None]

    def _batch_is_due(self, pending: int, most: int, now: float) -> bool:
        """A batch is due when it is full, or when its first record has waited long enough."""
        if not pending:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        rest = self._waiting_since + self.policy.batch_wait_s - now
        if pending >= most or rest <= 0:
            self._waiting_since = None
            return True
        self._pump_in(rest)
        return False

    def _fill(self, windows: list[Window], room: int, now: float) -> list[Lease]:
        leases: list[Lease] = []
        for window in windows:
            lease = window.take(room, now) if room else None
            if lease is not None:
                leases.append(lease)
                room -= len(lease.slots)
        return leases

    def _pump_in(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._pump_now)

    def _pump_now(self) -> None:
        self._timer = None  # a loop may call a hair early: then what is not due yet sets the next timer
        self.pump()

    # backpressure

    def _govern(self) -> None:
        """A full window pauses its partition; half empty, it is resumed. The backlog stays in Kafka.

        So it does with all of them while the agent is not hungry: what it has would only wait.
        """
        held = not self._hungry()
        if held != self._held:
            self._tell_held(held)
        for owned in self._owned.values():
            partition, window = owned.partition, owned.partition.window
            if window is not None and not partition.paused and (held or window.full() or not partition.taking):
                self._pause(partition)
        self._relieve()

    def _relieve(self) -> None:
        """Resume what is half empty: wherever something became of records, for the next fetch may be a while."""
        if self._held:
            self._relieving = False
            return
        partitions = [owned.partition for owned in self._owned.values()]
        for partition in partitions:
            window = partition.window
            if partition.paused and partition.taking and window is not None and not window.full(_RESUME_SHARE):
                self._resume(partition)
        self._relieving = any(partition.paused and partition.stopped is None for partition in partitions)
        wait_at_broker(self._consumer, _HASTY_MS if self._relieving else _WAIT_MS)

    def _tell_held(self, held: bool) -> None:  # noqa: FBT001  # a state, and the only argument
        self._held = held
        text = "%s takes nothing for now: partitions are paused" if held else "%s takes records again"
        facts = {"action": "partitions_paused" if held else "partitions_resumed", "unfinished": self.unfinished}
        log.info(text, self.policy.name, extra=facts)

    def _pause(self, partition: Partition) -> None:
        partition.paused = True
        self._consumer.pause(partition.tp)

    def _resume(self, partition: Partition) -> None:
        partition.paused = False
        self._consumer.resume(partition.tp)

    # telling

    @property
    def unfinished(self) -> int:
        """Records fetched and without a committed outcome."""
        windows = (owned.partition.window for owned in self._owned.values())
        return sum(window.unfinished for window in windows if window is not None)

    def standings(self) -> list[Standing]:
        """Every assigned partition, in order."""
        return [_standing(owned) for _, owned in sorted(self._owned.items())]

    async def ends(self) -> dict[TopicPartition, int]:
        """Where the assigned partitions end, as the broker says now; of partition 0 where none is assigned.

        Raises `Lost` where it does not say.
        """
        if self._consumer is None:
            raise Lost("the consumer has not been started")
        try:
            ends: dict[TopicPartition, int] = await self._consumer.end_offsets(
                list(self._owned) or [TopicPartition(self.policy.topic, 0)]
            )
        except KafkaError as error:
            raise Lost(f"the broker does not tell where {self.policy.topic} ends: {error!r}") from error
        return ends

    def statistics(self) -> dict[str, Any]:
        """A snapshot, in the words of `__repr__`."""
        return {
            "agent": self.policy.name,
            "partitions": {f"{tp.topic}-{tp.partition}": repr(o.partition) for tp, o in self._owned.items()},
            "paused": sum(owned.partition.paused for owned in self._owned.values()),
            "unfinished": self.unfinished,
            "sent": self.counters.sent + sum(o.outbox.records for o in self._owned.values()),
            "transactions": self.counters.transactions + sum(o.outbox.transactions for o in self._owned.values()),
            "fetched": self.counters.fetched,
            "batches": self.counters.batches,
            "faults": self.counters.faults
            + sum(o.partition.window.faults for o in self._owned.values() if o.partition.window is not None),
            "discarded": self.counters.discarded,
            "abandoned": self.counters.abandoned,
            "recoveries": self.counters.recoveries + sum(o.partition.recoveries for o in self._owned.values()),
            "rebalances": self.counters.rebalances,
        }


def _standing(owned: _Owned) -> Standing:
    partition, window = owned.partition, owned.partition.window
    tp, sent = partition.tp, owned.outbox.records
    if partition.stopped is not None:
        unfinished = window.unfinished if window is not None else 0
        return Standing(tp.topic, tp.partition, "stopped", partition.stopped, None, unfinished, None, sent)
    if window is None:
        return Standing(tp.topic, tp.partition, "acquiring", None, None, 0, None, sent)
    state: Literal["paused", "running"] = "paused" if partition.paused else "running"
    return Standing(tp.topic, tp.partition, state, None, window.position, window.unfinished, window.oldest_ms, sent)
