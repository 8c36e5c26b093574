"""At least once, over owners that lose the partition, die, or do not know yet that they lost it: what comes twice.

The owners are real, down to the outbox; the producer, the group and the output partition are played.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import OffsetAndMetadata
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.outbox import AtLeastOnce
from bisupervised.streams.plane.sending.routing import Router
from bisupervised.streams.plane.window.marks import Progress, decode
from hypothesis import given
from hypothesis import strategies as st
from support.coordination import NewGroup
from support.partitions import TP, Owner
from support.records import Record, record_batch
from support.virtual_time import on_virtual_time
from support.windows import answer, window_policy

POLICY = OutboxPolicy(Connection("nowhere"), "shop-local", 10.0, 5.0, watchdog_s=60.0)
KEYS = 3
RECORDS = 40

#: how a request ends: `lost` before the broker had it, `unheard` after that
Ending = Literal["well", "lost", "unheard"]


@dataclass
class Broker(NewGroup):
    """The group and the output partition. Only the present member may commit."""

    endings: deque[Ending]
    stored: OffsetAndMetadata | None = field(default_factory=lambda: OffsetAndMetadata(0, ""))
    member: Member | None = None
    arrived: list[int] = field(default_factory=list)  # offsets of the requests, in the order in which outcomes came

    async def progress(self, tp: TopicPartition) -> Progress | None:
        return None if self.stored is None else decode(self.stored.offset, self.stored.metadata)

    def ends(self) -> Ending:
        return self.endings.popleft() if self.endings else "well"


class Member:
    """One owner's producer and consumer. It counts what it sent, and its sends that are not committed."""

    def __init__(self, broker: Broker, takes_s: float) -> None:
        self._broker = broker
        self._takes_s = takes_s
        self.sent: Counter[int] = Counter()  # that arrived, by offset
        self.unheard: Counter[int] = Counter()  # of which it does not know that they arrived
        self.unheard_sends = 0
        self.uncommitted = self.most_uncommitted = 0

    def create_batch(self) -> Any:
        return record_batch()

    async def send_batch(self, batch: Any, topic: str, partition: int) -> asyncio.Task[None]:
        return asyncio.create_task(self._arrive([record.value for record in DefaultRecordBatch(bytes(batch._build()))]))

    async def _arrive(self, values: list[bytes]) -> None:
        await asyncio.sleep(self._takes_s)
        ending = self._broker.ends()
        if ending != "lost":
            offsets = [int(value.split()[-1]) for value in values]
            self._broker.arrived += offsets
            self.sent.update(offsets)
            if ending == "unheard":
                self.unheard.update(offsets)
                self.unheard_sends += 1
            self.uncommitted += 1
            self.most_uncommitted = max(self.most_uncommitted, self.uncommitted)
        if ending != "well":
            raise KafkaError("the connection broke")

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        sends = self.uncommitted
        await asyncio.sleep(self._takes_s / 2)
        if self._broker.member is not self:
            raise CommitFailedError
        ending = self._broker.ends()
        if ending != "lost":
            self._broker.stored = offsets[TP]
            self.uncommitted -= sends
        if ending != "well":
            raise KafkaError("the connection broke")

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


def begin(broker: Broker, takes_s: float) -> tuple[Owner, Member]:
    """Another owner, which the group knows from now on."""
    member: Any = Member(broker, takes_s)
    outbox = AtLeastOnce(POLICY, TP, Router({"results": "results"}, "requests", {"results": 1 << 20}), member)
    outbox.sender._make_producer = lambda: member  # type: ignore[method-assign]  # no broker is there
    broker.member = member
    return Owner(broker, outbox=outbox, window=window_policy(ordering="key"), reopen_s=0.5), member


def records(begin: int) -> list[Record]:
    return [Record(b"v", offset, key=b"key %d" % (offset % KEYS)) for offset in range(begin, RECORDS)]


async def work(owner: Owner, steps: list[int]) -> None:
    """Answer so many records at each step."""
    await owner.owned.wait()
    owner.partition.add(records(owner.partition.position or 0))
    for step in steps:
        lease = owner.partition.take(step, asyncio.get_running_loop().time())
        if lease is not None:
            lease.resolve([answer(slot.record) for slot in lease.slots])
            owner.partition.wake_if_ready()
        await asyncio.sleep(0.02)


Life = tuple[list[int], Literal["dies", "released", "zombie"], float]
LIVES = st.tuples(
    st.lists(st.integers(1, 4), min_size=3, max_size=8),
    st.sampled_from(("dies", "released", "zombie")),
    st.sampled_from((0.001, 0.05, 0.2, 3.0)),
)


async def end(owner: Owner, how: str, broker: Broker) -> None:
    """It dies, or hears of the rebalance, before the next one begins or a while after that."""
    if how == "dies":
        owner.task.cancel()
    if how == "released":
        broker.member = None
    if how != "zombie":
        owner.partition.release(asyncio.get_running_loop().time())
        with suppress(asyncio.CancelledError):
            await owner.task


@given(
    st.lists(LIVES, min_size=1, max_size=4),
    st.lists(st.sampled_from(("well", "well", "well", "lost", "unheard")), min_size=12, max_size=40).map(deque),
)
def test_what_comes_twice_was_sent_and_not_committed_and_first_outcomes_keep_the_order(
    lives: list[Life], endings: deque[Ending]
) -> None:
    @on_virtual_time
    async def scenario() -> None:
        broker, zombies = Broker(endings), []
        for steps, how, takes_s in lives:
            owner, member = begin(broker, takes_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(20.0):
                    await work(owner, steps)
            await end(owner, how, broker)
            zombies += [owner] if how == "zombie" else []
            check(broker, member)
        broker.endings.clear()
        owner, member = begin(broker, 0.01)
        await work(owner, [RECORDS])
        await asyncio.sleep(5.0)
        for zombie in zombies:
            await end(zombie, "released", broker)
        broker.member = member
        await owner.release()
        check(broker, member)
        assert set(broker.arrived) == set(range(RECORDS)), "lost"
        for key in range(KEYS):
            firsts = [offset for offset in dict.fromkeys(broker.arrived) if offset % KEYS == key]
            assert firsts == sorted(firsts), "out of order"

    scenario()


def check(broker: Broker, member: Member) -> None:
    """At most two sends at a time, and one more for each of which the owner did not hear. It repeats only these."""
    assert member.most_uncommitted <= 2 + member.unheard_sends
    for offset, times in member.sent.items():
        assert times <= 1 + member.unheard[offset], offset
