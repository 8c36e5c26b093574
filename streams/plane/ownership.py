"""Who owns what: the partitions of this member of the group, each with its outbox and the task that runs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from ...agents.tasks import begin
from .draining import Draining
from .handing_out import HandingOut
from .partition import Partition
from .policy import PlanePolicy
from .ports import AgentPort, Clients, PlanePort
from .sending.outbox import Outbox
from .standing import Counters, name_of
from .window.acquittal import Word, words_from

log = logging.getLogger(__name__)

#: seconds after the drain deadline in which the last transaction may end
LAST_FLUSH_S = 3.0
#: seconds in which what was cancelled may end, and producers close; after that they end beside what follows
CLOSING_S = 0.5


@dataclass(frozen=True, slots=True)
class _Owned:
    partition: Partition
    outbox: Outbox
    task: asyncio.Task[None]


class Ownership(Mapping[TopicPartition, Partition]):
    """The partitions owned now. Owning one begins its task and has it handed out; releasing it ends both."""

    def __init__(
        self,
        policy: PlanePolicy,
        clients: Clients,
        agent: AgentPort,
        plane: PlanePort,
        handing_out: HandingOut,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._clients = clients
        self._agent = agent
        self._plane = plane
        self._handing_out = handing_out
        self._counters = counters
        self._clock = clock
        self._draining = Draining(policy.partition.drain_s)
        self._owned: dict[TopicPartition, _Owned] = {}
        self._past: dict[TopicPartition, Partition] = {}  # of this member, until it has joined again
        self._heard: dict[TopicPartition, list[Word]] = {}  # of the partitions that it is given
        self._closing: set[asyncio.Task[None]] = set()

    def __getitem__(self, tp: TopicPartition) -> Partition:
        return self._owned[tp].partition

    def __iter__(self) -> Iterator[TopicPartition]:
        return iter(self._owned)

    def __len__(self) -> int:
        return len(self._owned)

    @property
    def partitions(self) -> list[Partition]:
        """The owned ones. As `values()`, which takes three times as long for each batch."""
        return [owned.partition for owned in self._owned.values()]

    def own(self, tp: TopicPartition) -> None:
        """Begin to take this partition over."""
        if tp in self._owned:  # a rebalance that was cut short by an error did not let go of it
            self._owned[tp].task.cancel()
            self._forget(self._owned[tp])
        outbox, coordinator = self._clients.make_outbox(tp), self._clients.coordinator
        policy, agent, heard = self._policy.partition, self._agent, self._heard.pop(tp, ())
        partition = Partition(
            tp, policy, outbox, coordinator, agent.substitute, agent.companions, self._plane, self._clock, heard
        )
        task = begin(partition.run(), f"{self._policy.name} {tp.topic}-{tp.partition}", self._plane.failed)
        self._owned[tp] = _Owned(partition, outbox, task)
        self._handing_out.add(partition)

    def says(self) -> dict[TopicPartition, list[Word]]:
        """What this member tells its group of partitions that it had, as it joins again: who gets them hears it."""
        return {tp: words for tp, partition in self._past.items() if (words := partition.words)}

    def hears(self, told: Mapping[TopicPartition, object]) -> None:
        """What was told of the partitions that this member gets now. It also knows what it said itself."""
        self._heard = {tp: words_from(said) for tp, said in told.items()}
        for tp, words in self.says().items():
            self._heard.setdefault(tp, []).extend(words)
        self._past.clear()

    async def release(self, tps: Collection[TopicPartition]) -> None:
        """Drain and let go. Ends by the drain deadline, the last transaction and the closing, whatever happens."""
        until = self._draining.begin(self._clock())
        try:
            await self._let_go([self._owned[tp] for tp in tps], until)
        finally:
            self._draining.end(self._clock())

    async def _let_go(self, leaving: Sequence[_Owned], until: float) -> None:
        for owned in leaving:
            owned.partition.release(until)
        self._agent.leaves()
        # one that is being acquired goes on to its first commit: the next owner finds less to end again
        tasks = {owned.task for owned in leaving}
        _, late = await asyncio.wait(tasks, timeout=max(0.0, until + LAST_FLUSH_S - self._clock()))
        closed_by = self._clock() + CLOSING_S
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CLOSING_S)
        for owned in leaving:
            self._forget(owned)
        if self._closing:
            await asyncio.wait(self._closing, timeout=max(0.0, closed_by - self._clock()))

    def _forget(self, owned: _Owned) -> None:
        partition = owned.partition
        if self._owned.get(partition.tp) is not owned:
            return  # a stop and a rebalance let go of it at once
        del self._owned[partition.tp]
        self._past[partition.tp] = partition
        self._handing_out.remove(partition)
        self._count(owned)
        if partition.abandoned:
            log.warning(
                "%s: %d records were in flight at the drain deadline; their outcomes will be discarded",
                name_of(partition.tp),
                partition.abandoned,
                extra={"action": "records_abandoned"},
            )
        closing = begin(owned.outbox.close(), "closing an outbox", self._plane.failed)
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait until every producer is closed that takes longer than a release may."""
        if self._closing:
            await asyncio.wait(self._closing)

    def _count(self, owned: _Owned) -> None:
        partition, counters = owned.partition, self._counters
        counters.sent += owned.outbox.records
        counters.transactions += owned.outbox.transactions
        counters.recoveries += partition.recoveries
        counters.faults += partition.faults
        counters.discarded += partition.discarded
        counters.abandoned += partition.abandoned

    def totals(self) -> dict[str, int]:
        """What has become of records, of the partitions owned now and of those released before."""
        counters, owned = self._counters, self._owned.values()
        return {
            "sent": counters.sent + sum(each.outbox.records for each in owned),
            "transactions": counters.transactions + sum(each.outbox.transactions for each in owned),
            "faults": counters.faults + sum(each.partition.faults for each in owned),
            "recoveries": counters.recoveries + sum(each.partition.recoveries for each in owned),
        }
