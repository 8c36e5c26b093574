"""Who owns what: the partitions of this member of the group, each with its outbox and the task that runs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from .handing_out import HandingOut
from .partition import Partition
from .policy import PlanePolicy
from .ports import AgentPort, Clients, PlanePort
from .sending.outbox import Outbox
from .standing import Counters

log = logging.getLogger(__name__)

#: seconds after the drain deadline in which the last transaction may end, and then what was cancelled
_LAST_FLUSH_S = 5.0


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
        self._owned: dict[TopicPartition, _Owned] = {}

    def __getitem__(self, tp: TopicPartition) -> Partition:
        return self._owned[tp].partition

    def __iter__(self) -> Iterator[TopicPartition]:
        return iter(self._owned)

    def __len__(self) -> int:
        return len(self._owned)

    def own(self, tp: TopicPartition) -> None:
        """Begin to take this partition over."""
        outbox, coordinator = self._clients.make_outbox(tp), self._clients.coordinator
        policy, substitute = self._policy.partition, self._agent.substitute
        partition = Partition(tp, policy, outbox, coordinator, substitute, self._plane, self._clock)
        task = asyncio.create_task(partition.run(), name=f"{self._policy.name} {tp.topic}-{tp.partition}")
        task.add_done_callback(self._ended)
        if tp in self._owned:  # a rebalance that was cut short by an error did not let go of it
            self._handing_out.remove(self._owned[tp].partition)
        self._owned[tp] = _Owned(partition, outbox, task)
        self._handing_out.add(partition)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._plane.failed(error)

    async def release(self, tps: Collection[TopicPartition]) -> None:
        """Drain and let go. Ends by the drain deadline and twice the time of one more transaction, whatever happens."""
        leaving = [self._owned[tp] for tp in tps]
        deadline = max(owned.partition.release() for owned in leaving)
        self._agent.leaves()
        # one that is being acquired goes on to its first commit: the next owner finds less to end again
        tasks = {owned.task for owned in leaving}
        _, late = await asyncio.wait(tasks, timeout=deadline - self._clock() + _LAST_FLUSH_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_LAST_FLUSH_S)
        await asyncio.gather(*(self._forget(owned) for owned in leaving))

    async def _forget(self, owned: _Owned) -> None:
        partition = owned.partition
        if self._owned.get(partition.tp) is not owned:
            return  # a stop and a rebalance let go of it at once
        del self._owned[partition.tp]
        self._handing_out.remove(partition)
        self._count(owned)
        if partition.abandoned:
            log.warning(
                "%s: %d records were in flight at the drain deadline; their outcomes will be discarded",
                partition.tp,
                partition.abandoned,
                extra={"action": "records_abandoned"},
            )
        await owned.outbox.close()

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
