"""The data plane: one input topic, one consumer group, one agent. Written once, used by all three agents.

    consumer ─▶ window of each partition ─▶ batches ─▶ inbox ─▶ agent
                        ▲                                         │
                        └────────────── outcomes ◀────────────────┘
    window ─▶ outbox (outcomes and offset, one transaction)

The loop is here, and the one place where batches go out (`pump`). Its parts:

    fetching.py      what the consumer is told, and what becomes of what it returns
    ownership.py     who owns what: taking a partition over, giving it up
    handing_out.py   which records go to the agent next
    partition.py     one partition from its acquisition to its release: its state, its task
    taking_over.py   what is committed for it, and where it begins where nothing is
    witness.py       whether somebody worked there before, where no offset tells
    committing.py    what of its window is committed, and what became of what was lost
    window/          which of its records are fetched, held, answered, sent
    sending/         sending and committing
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from ...agents.tasks import begin
from ...schemas.records import Incoming, Outgoing
from ..kafka.consumer import Dealing
from ..kafka.errors import denial
from .fetching import Fetching
from .handing_out import HandingOut
from .ownership import Ownership
from .policy import PlanePolicy
from .ports import AgentPort, Clients
from .standing import Counters, End, Standing
from .state import State
from .window.batch import Batch

log = logging.getLogger(__name__)

#: milliseconds one fetch may wait; also how often an idle plane looks around
_POLL_MS = 200
#: seconds in which the client may leave the group by itself; and then seconds in which we say it in its place
LEAVING_S, SAYING_S = 0.5, 1.0
#: seconds in which the client may end after that: it waits for a broker that is gone
_END_S = 10.0


class DataPlane(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Moves the records of one input topic through one agent. To its partitions it is a `PlanePort`."""

    def __init__(
        self, policy: PlanePolicy, agent: AgentPort, clients: Clients, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.policy = policy
        self.counters = Counters()
        self._agent = agent
        self._inbox = agent.inbox
        self._clients = clients
        self._clock = clock
        self._handing_out = HandingOut(policy.batch_wait_s)
        self._owned = Ownership(policy, clients, agent, self, self._handing_out, self.counters, clock)
        self._fetching = Fetching(policy, clients, self._owned, agent, self.counters)
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()
        self._wanted = asyncio.Event()  # more records
        self._crash: asyncio.Future[None] | None = None
        self._partitions = 0  # of the topic, as the agent was told

    def __repr__(self) -> str:
        return f"<DataPlane {self.policy.name} {list(self._owned.values())}>"

    # life

    async def run(self) -> None:
        """Consume until `stop`. Raises what cannot be mended here, for the worker to end on."""
        self._crash = asyncio.get_running_loop().create_future()
        self._inbox.on_taken = self.pump
        await self._fetching.start(self, Dealing(self._owned.says, self._owned.hears))
        polling = begin(self._poll(), f"fetching for {self.policy.name}", self.failed)
        try:
            await asyncio.wait({polling, self._crash}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            await self._shut_down(polling)
        if self._crash.done():  # what ends the fetching is told there, too
            self._crash.result()

    def stop(self) -> None:
        """Take no new records, end what is in flight, leave the group."""
        self._stopping.set()

    async def _shut_down(self, polling: asyncio.Task[None]) -> None:
        await self._release(list(self._owned))
        # a fetch waits out a rebalance; the group is being left, so nothing is lost by ending it
        await asyncio.wait({polling}, timeout=2 * _POLL_MS / 1000)
        polling.cancel()
        leaving = begin(self._leave(polling), f"{self.policy.name} leaving its group")
        await asyncio.wait({leaving}, timeout=LEAVING_S)
        if not leaving.done():
            await self._fetching.say_goodbye(SAYING_S)
        await asyncio.wait({leaving}, timeout=_END_S)
        if leaving.done():
            leaving.result()
        else:
            text = "%s: the client does not end; the broker gives its partitions away without its word"
            log.warning(text, self.policy.name, extra={"action": "leave_failed"})
        if self._timer is not None:
            self._timer.cancel()

    async def _leave(self, polling: asyncio.Task[None]) -> None:
        await asyncio.wait({polling})
        await self._fetching.stop()
        await self._owned.close()
        await self._clients.coordinator.close()

    async def _poll(self) -> None:
        """Fetch for ever. The fetch is never cancelled while we stay: the client would stop counting polls."""
        fetched_at = self._clock()
        while not self._stopping.is_set():
            await self._until_wanted()
            self._fetching.check()
            try:
                if not await self._fetching.fetch(_POLL_MS):
                    continue
            except KafkaError as error:
                denied = denial(error, reads=self.policy.topic, group=self.policy.outbox.group)
                if denied is not None:
                    self.failed(denied)
                    return
                if self._clock() - fetched_at > self.policy.outbox.watchdog_s:
                    raise  # the client's own tasks may be dead: a new process mends that, waiting does not
                log.warning("cannot fetch: %r", error, extra={"action": "fetch_failed"})
                self._fetching.rewind()
                await asyncio.sleep(_POLL_MS / 1000)
                continue
            fetched_at = self._clock()
            if self._owned and self._fetching.partitions_in_all() != self._partitions:
                self._tell_owned()  # some were added
            self.pump()
            self._fetching.govern()

    async def _until_wanted(self) -> None:
        """Until the agent will soon want more, or it is time to look around. What is unpacked before only gets cold."""
        self._wanted.clear()
        if self._provided:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_MS / 1000):
                    await self._wanted.wait()

    # rebalancing

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause first, own later: nothing here may wait, for no heartbeats are sent meanwhile."""
        if self._stopping.is_set():
            return
        for tp in sorted(assigned):
            self._fetching.prepare(tp)
            self._owned.own(tp)
        self._tell_owned()
        self._fetching.count_anew()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Every assignor of this client takes everything away on each rebalance."""
        if revoked:
            self.counters.rebalances += 1
        await self._release([tp for tp in revoked if tp in self._owned])

    async def _release(self, tps: Sequence[TopicPartition]) -> None:
        if tps:
            await self._owned.release(tps)
            self._tell_owned()

    def _tell_owned(self) -> None:
        """Tell the agent its share of the partitions that are known now."""
        self._partitions = self._fetching.partitions_in_all()
        self._agent.owns(len(self._owned), self._partitions)

    # handing out

    def pump(self) -> None:
        """Hand out batches while the inbox takes them and there is something due.

        Called whenever that may have changed: records have come, the agent has taken a batch, a batch has ended, a
        commit has gone through, the first record of a batch has waited long enough.
        """
        while not self._inbox.full and not self._stopping.is_set():
            following = self._handing_out.next(self._batch_records, self._clock())
            if following.arm is not None:
                following.arm.arm()
            if not following.leases:
                self._pump_again(following.again_s)
                break
            self.counters.batches += 1
            self._inbox.offer(Batch(following.leases, self._clock, self.pump))
        for partition in self._owned.partitions:
            partition.wake_if_ready()
        self._fetching.relieve()
        if not self._wanted.is_set() and not self._provided:
            self._wanted.set()

    def _pump_again(self, delay_s: float | None) -> None:
        if delay_s is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._pump_now)

    def _pump_now(self) -> None:
        self._timer = None  # a loop may call a hair early: then what is not due yet sets the next timer
        self.pump()

    @property
    def _batch_records(self) -> int:
        """Most records in the next batch."""
        wanted = self._agent.appetite
        return self.policy.batch_records if wanted is None else min(self.policy.batch_records, wanted)

    @property
    def _provided(self) -> bool:
        return self._handing_out.provided(self._batch_records)

    # asked and told by partitions

    @property
    def skips_backlog(self) -> bool:
        """What was there when the group began is passed over."""
        return self.policy.start == "latest"

    async def worked_before(self, reachable: Sequence[TopicPartition]) -> bool:
        """Outcomes of this agent are in one of these partitions, or were. Raises `Lost`."""
        return await self._fetching.worked_before(reachable)

    def acquired(self, tp: TopicPartition, topic_id: str) -> None:
        """A partition may be fetched."""
        self._agent.reads(tp.partition, topic_id)
        self._fetching.acquired(tp)

    def requested_ms(self, record: Incoming) -> int:
        """When the request was made that a record is about."""
        return self._agent.requested_ms(record)

    def unwanted(self, tp: TopicPartition) -> None:
        """Nothing more is to be fetched of a partition."""
        self._fetching.unwanted(tp)

    def progressed(self) -> None:
        """A partition has committed something."""
        self.pump()

    def committed(self, outcomes: Sequence[Outgoing]) -> None:
        """These outcomes left in one transaction."""
        self._agent.committed(outcomes)

    def failed(self, error: BaseException) -> None:
        """End `run` with this error."""
        if self._crash is not None and not self._crash.done():
            log.critical("the plane of %s fails: %r", self.policy.name, error, extra={"action": "plane_failed"})
            self._crash.set_exception(error)

    # telling

    @property
    def unfinished(self) -> int:
        """Records fetched and without a committed outcome."""
        return sum(partition.unfinished for partition in self._owned.values())

    def standings(self) -> list[Standing]:
        """Every assigned partition, in order."""
        return [partition.standing() for _, partition in sorted(self._owned.items())]

    async def topic_is_there(self) -> bool:
        """Whether the broker has the topic that is read. Raises `Lost` where it does not say."""
        return await self._fetching.topic_is_there()

    async def ends(self) -> dict[TopicPartition, End]:
        """Where the assigned partitions end, as the broker says now; of partition 0 where none is assigned.

        Raises `Lost` where it does not say.
        """
        return await self._fetching.ends()

    async def unread_before(self, places: Mapping[TopicPartition, int], moment_ms: int) -> set[TopicPartition]:
        """Those whose first record from the offset on was written before the moment. Raises `Lost`."""
        return await self._fetching.unread_before(places, moment_ms)

    def statistics(self) -> dict[str, Any]:
        """A snapshot, in the words of `__repr__`."""
        return {
            "agent": self.policy.name,
            "partitions": {f"{tp.topic}-{tp.partition}": repr(partition) for tp, partition in self._owned.items()},
            "paused": sum(partition.state is not State.RUNNING for partition in self._owned.values()),
            "unfinished": self.unfinished,
            "fetched": self.counters.fetched,
            "batches": self.counters.batches,
            "discarded": self.counters.discarded,
            "abandoned": self.counters.abandoned,
            "rebalances": self.counters.rebalances,
            **self._owned.totals(),
        }
