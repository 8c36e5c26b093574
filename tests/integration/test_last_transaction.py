"""Transactions whose markers are missing: the next owner says again how they ended, and believes no offset before.

A coordinator that loses markers is played by a producer that writes on after the end, past the coordinator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.structs import OffsetAndMetadata
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.kafka import last_transaction
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.errors import Disconnected, Unsettled
from bisupervised.streams.kafka.last_transaction import LastTransaction
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.coordinator import Coordinator
from bisupervised.streams.plane.sending.outbox import ExactlyOnce
from bisupervised.streams.plane.sending.routing import Router
from bisupervised.streams.plane.window.marks import Progress
from bisupervised.streams.sandbox.broker import Broker
from support.pipeline import Pipeline, Setup

BEFORE, AFTER = Progress(1, frozenset({4}), "n"), Progress(2, frozenset({5}), "b")


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that lets a producer write without an open transaction."""
    properties = {"transaction.partition.verification.enable": "false"}
    with Broker(tmp_path_factory.mktemp("careless"), properties=properties) as running:
        yield running


@pytest.fixture
def pipeline(careless: Broker, setup: Setup) -> Pipeline:
    return setup(careless.bootstrap_servers, partitions=1)[1]


def record(value: bytes) -> Outgoing:
    return Outgoing("results", b"key", value, (), 1_700_000_000_000)


class Owners:
    """Owners of the one partition, one after the other, over one coordinator."""

    def __init__(self, pipeline: Pipeline, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self.policy = OutboxPolicy(Connection(pipeline.servers), pipeline.group("local"), 15, 10, 20)
        self.source, self.output = pipeline.tp("requests", 0), pipeline.tp("results", 0)

    def make(self) -> ExactlyOnce:
        return ExactlyOnce(
            self.policy, self.source, Router({"results": self.output.topic}, self.source.topic), self.coordinator
        )

    async def former(self) -> ExactlyOnce:
        """An owner that has committed something."""
        owner = self.make()
        await owner.open()
        await owner.send([record(b"before")], BEFORE)
        return owner

    async def transact(
        self, owner: ExactlyOnce, end: Literal["commit", "abort", "never"], *values: bytes, offset: bool = False
    ) -> None:
        """A transaction with these records, and with the offset or without."""
        producer = owner.sender.producer
        await producer.begin_transaction()
        await self._write(owner, producer, *values, offset=offset)
        if end == "commit":
            await producer.commit_transaction()
        elif end == "abort":
            await producer.abort_transaction()

    async def hang(self, owner: ExactlyOnce, *values: bytes, offset: bool = False) -> None:
        """More of the transaction before, for which no marker comes: the coordinator does not know of it."""
        await self.settled(owner)  # a marker that is still on its way would end this, too
        producer = owner.sender.producer
        await producer.begin_transaction()
        producer._txn_manager._txn_partitions.add(self.output)
        producer._txn_manager.consumer_group_added(self.policy.group)
        await self._write(owner, producer, *values, offset=offset)
        producer._txn_manager._txn_partitions.clear()
        producer._txn_manager._txn_consumer_group = None
        producer._txn_manager.state = TransactionState.READY

    async def settled(self, owner: ExactlyOnce) -> None:
        """The coordinator is there, and not about to end anything."""
        await self.coordinator._asked(
            lambda client: last_transaction._TransactionCoordinator(client, owner.transactional_id).settled()
        )

    async def _write(self, owner: ExactlyOnce, producer: Any, *values: bytes, offset: bool) -> None:
        await owner.sender.deliver([record(value) for value in values], [self.output] * len(values))
        if offset:
            offsets = {self.source: OffsetAndMetadata(AFTER.offset, AFTER.metadata())}
            await producer.send_offsets_to_transaction(offsets, self.policy.group)

    async def succeed(self) -> Progress | None:
        """What the next owner finds committed, in time for it to go on without a second look."""
        heir = self.make()
        await heir.open()
        try:
            return await self.coordinator.progress(self.source)
        finally:
            await heir.close()

    async def say_again(self, last: LastTransaction | None = None) -> None:
        """The first step of opening, alone."""
        last = last or LastTransaction(self.make().transactional_id, self.policy.group, 15)

        async def reachable() -> list[TopicPartition]:
            return [self.output]

        await self.coordinator.end_again(last, reachable)


@asynccontextmanager
async def owners(pipeline: Pipeline) -> AsyncIterator[Owners]:
    coordinator = Coordinator(Connection(pipeline.servers), pipeline.group("local"))
    try:
        yield Owners(pipeline, coordinator)
    finally:
        await coordinator.close()


def run(pipeline: Pipeline, act: Callable[[Owners, ExactlyOnce], Coroutine[Any, Any, None]]) -> Progress | None:
    """What the next owner finds after a former one has acted."""

    async def both() -> Progress | None:
        async with owners(pipeline) as made:
            former = await made.former()
            await act(made, former)
            await former.close()
            return await made.succeed()

    return asyncio.run(both())


def seen(pipeline: Pipeline) -> list[bytes]:
    """What a consumer of the output reads."""
    return [found.value for found in pipeline.records("results")]


def test_a_committed_transaction_without_any_marker(pipeline: Pipeline) -> None:
    """The old offset was told, the work done again, and the first commit after it made both visible."""

    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.hang(former, b"hanging", offset=True)

    assert run(pipeline, act) == AFTER
    assert seen(pipeline) == [b"before", b"hanging"]


def test_a_committed_transaction_without_the_marker_of_its_offset(pipeline: Pipeline) -> None:
    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.transact(former, "commit", b"seen")
        await made.hang(former, offset=True)

    assert run(pipeline, act) == AFTER
    assert seen(pipeline) == [b"before", b"seen"]


def test_a_committed_transaction_without_the_marker_of_its_records(pipeline: Pipeline) -> None:
    """Nothing comes twice, but consumers of this partition saw nothing until the next commit."""

    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.transact(former, "commit", offset=True)
        await made.hang(former, b"hanging")

    assert run(pipeline, act) == AFTER
    assert seen(pipeline) == [b"before", b"hanging"]


def test_an_aborted_transaction_without_the_marker_of_its_offset(pipeline: Pipeline) -> None:
    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.transact(former, "abort", b"aborted")
        await made.hang(former, offset=True)

    assert run(pipeline, act) == BEFORE
    assert seen(pipeline) == [b"before"]


def test_an_open_transaction_is_aborted(pipeline: Pipeline) -> None:
    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.transact(former, "never", b"open", offset=True)

    assert run(pipeline, act) == BEFORE
    assert seen(pipeline) == [b"before"]


@pytest.mark.parametrize("end", ["abort", "never"])
def test_a_committed_record_is_not_lost_to_an_abort_after_it(
    pipeline: Pipeline, end: Literal["abort", "never"]
) -> None:
    """The transaction that is aborted had nothing to do with its partition, so that is left alone."""

    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.transact(former, "commit", offset=True)
        await made.hang(former, b"hanging")
        await made.transact(former, end, offset=True)
        heir = made.make()
        await heir.open()
        await heir.send([record(b"after")], AFTER)
        await heir.close()

    assert run(pipeline, act) == AFTER
    assert seen(pipeline) == [b"before", b"hanging", b"after"]


def test_an_owner_whose_leader_went_away_ends_its_last_transaction_again_before_it_sends(pipeline: Pipeline) -> None:
    """Its coordinator is there all the while. The next transaction is aborted, and loses nothing of the last one."""

    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.hang(former, b"hanging")
        client = former.sender.producer.client
        leader = client.cluster.leader_for_partition(made.output)
        client._conns[leader, ConnectionGroup.DEFAULT].close()
        with pytest.raises(Disconnected):
            await former.send([record(b"not sent")], AFTER)
        await former.open()
        await made.transact(former, "never", b"open")

    assert run(pipeline, act) == BEFORE
    assert seen(pipeline) == [b"before", b"hanging"]


def test_an_offset_that_hangs_and_nobody_knows_why_is_not_believed(pipeline: Pipeline) -> None:
    """A producer that says nothing again has made the coordinator forget."""

    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.hang(former, b"hanging", offset=True)
        forgetful = AIOKafkaProducer(bootstrap_servers=pipeline.servers, transactional_id=former.transactional_id)
        await forgetful.start()
        await forgetful.stop()

    with pytest.raises(Unsettled):
        run(pipeline, act)
    assert seen(pipeline) == [b"before"]


class Broken(Exception):
    """The owner ends here."""


@pytest.mark.parametrize("step", ["add", "end"])
def test_an_owner_that_ends_before_it_has_said_so(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Fenced and nothing more, or with its transaction open: the next one goes on with it."""

    async def broken(*_: object, **__: object) -> None:
        raise Broken

    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.hang(former, b"hanging", offset=True)
        monkeypatch.setattr(last_transaction._TransactionCoordinator, step, broken)
        with pytest.raises(Broken):
            await made.say_again()
        monkeypatch.undo()

    assert run(pipeline, act) == AFTER
    assert seen(pipeline) == [b"before", b"hanging"]


def test_markers_that_are_lost_when_it_is_said_again(pipeline: Pipeline) -> None:
    """An owner has said it and was opened, and did nothing yet: the next one says it once more."""

    async def act(made: Owners, former: ExactlyOnce) -> None:
        second = made.make()
        await second.open()
        await made.hang(second, b"hanging", offset=True)
        await second.close()

    assert run(pipeline, act) == AFTER
    assert seen(pipeline) == [b"before", b"hanging"]


def test_what_was_open_is_aborted_again_where_the_first_try_was_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator forgets which partitions an aborted transaction had; whoever saw it open does not."""

    async def act(made: Owners, former: ExactlyOnce) -> None:
        await made.transact(former, "never", b"open", offset=True)
        last = LastTransaction(former.transactional_id, made.policy.group, 15)
        added: list[set[TopicPartition]] = []
        add = last_transaction._TransactionCoordinator.add

        async def broken(coordinator: Any, producer: Any, places: set[TopicPartition], group: str) -> None:
            added.append(places)
            if len(added) == 1:
                raise Broken
            await add(coordinator, producer, places, group)

        monkeypatch.setattr(last_transaction._TransactionCoordinator, "add", broken)
        with pytest.raises(Broken):
            await made.say_again(last)
        await made.say_again(last)
        await made.say_again()  # as another process would
        assert added == [{made.output}, {made.output}, set()]

    assert run(pipeline, act) == BEFORE
    assert seen(pipeline) == [b"before"]


def test_a_first_owner_asks_once_and_says_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    send = AIOKafkaClient.send

    async def heard(client: AIOKafkaClient, node: int, request: Any, **more: Any) -> Any:
        asked.append(type(request).__name__)
        return await send(client, node, request, **more)

    async def first() -> None:
        async with owners(pipeline) as made:
            owner = made.make()
            await made.settled(owner)  # of a new broker's first one it is asked for again and again
            monkeypatch.setattr(AIOKafkaClient, "send", heard)
            await made.say_again()
            monkeypatch.undo()
            await owner.open()
            assert not owner.used_before
            await owner.close()

    asyncio.run(first())
    assert asked == ["FindCoordinatorRequest", "DescribeTransactionsRequest"]


def test_an_owner_that_ends_before_its_first_commit_leaves_nothing_behind(pipeline: Pipeline) -> None:
    """Opened and no more, then inside its first transaction: the next one is the first. After a commit it is not."""

    async def lives() -> list[tuple[bool, bool]]:
        async with owners(pipeline) as made:
            found = []
            for act in ("open", "never", "abort", "open", "commit", "open"):
                owner = made.make()
                await owner.open()
                found.append((owner.first, owner.used_before))
                assert (await made.coordinator.progress(made.source) is None) is owner.first
                if act != "open":
                    await made.transact(owner, act, offset=True)  # type: ignore[arg-type]  # one of the three
                await owner.close()
            return found

    assert asyncio.run(lives()) == [(True, False)] * 5 + [(False, True)]


def test_an_heir_of_a_first_owner_goes_on_as_any(pipeline: Pipeline) -> None:
    """The producer after the first commit carries another mark, so that an abort under it is not taken for a first."""

    async def lives() -> tuple[bool, bool]:
        async with owners(pipeline) as made:
            first = await made.former()
            await first.open()
            await made.transact(first, "never", b"open", offset=True)
            heir = made.make()
            await heir.open()
            assert await made.coordinator.progress(made.source) == BEFORE
            await first.close()
            await heir.close()
            return heir.first, heir.used_before

    assert asyncio.run(lives()) == (False, True)
