"""What is said again of a transaction that has ended, over a coordinator that is played. Time is virtual."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    InvalidProducerEpoch,
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
)
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.errors import Disconnected, Lost
from bisupervised.streams.kafka.last_transaction import Described, LastTransaction, Producer, Reachable
from bisupervised.streams.kafka.producer import TieBroken
from bisupervised.streams.kafka.requests import DescribeTransactionsRequest, DescribeTransactionsResponse
from bisupervised.streams.kafka.sender import OutboxPolicy, Sender, TransactionalSender
from bisupervised.streams.plane.sending.coordinator import Coordination
from bisupervised.streams.plane.sending.outbox import ExactlyOnce
from bisupervised.streams.plane.sending.routing import Router
from bisupervised.streams.plane.window.marks import Progress
from support.coordination import NewGroup
from support.records import record_batch
from support.virtual_time import on_virtual_time

A, B, OFFSETS = TopicPartition("results", 0), TopicPartition("fallback", 2), TopicPartition("__consumer_offsets", 3)
PLAIN_MS, COMMITTED_MS, ABORTED_MS, AFTER_COMMIT_MS, AFTER_ABORT_MS = 15_000, 14_991, 14_992, 14_993, 14_994
#: of the producer of a first transaction, and where that was aborted
FIRST_MS, FIRST_ABORTED_MS, AFTER_FIRST_ABORT_MS = 14_995, 14_996, 14_997
VERSIONS = {3: (0, 5), 22: (0, 5), 24: (0, 5), 25: (0, 4), 26: (0, 5), 65: (0, 0)}

REQUEST = (
    b"\x02"  # transactional_ids: 1
    + b"\x05g:t0"
    + b"\x00"  # no tagged fields
)

RESPONSE = (
    b"\x00\x00\x00\x00"  # throttle_time_ms
    + b"\x02"  # transaction_states: 1
    + b"\x00\x00"  # error_code
    + b"\x05g:t0"
    + b"\x08Ongoing"
    + b"\x00\x00\x3a\x98"  # transaction_timeout_ms
    + b"\x00\x00\x00\x00\x00\x00\x00\x09"  # transaction_start_time_ms
    + b"\x00\x00\x00\x00\x00\x00\x00\x01"  # producer_id
    + b"\x00\x05"  # producer_epoch
    + b"\x02"  # topics: 1
    + b"\x08results"
    + b"\x02\x00\x00\x00\x04"  # partitions: [4]
    + b"\x00"  # no tagged fields
    + b"\x00"  # no tagged fields
    + b"\x00"  # no tagged fields
)


class FakeTransactionCoordinator:
    """A client, and the coordinator at its other end: states and fencing as Kafka has them."""

    def __init__(
        self, state: str = "NotFound", timeout_ms: int = PLAIN_MS, places: Iterable[TopicPartition] = ()
    ) -> None:
        self.state = state
        self.timeout_ms = timeout_ms
        self.epoch = 5
        self.places = set(places)
        self.said: list[tuple[Any, ...]] = []  #: requests that change something, and went through
        self.errors: dict[int, deque[int]] = {}  #: codes that the next requests of an API are answered with
        self.lookups: deque[Exception] = deque()
        self.versions = dict(VERSIONS)
        self.leaders: deque[int] = deque([1])  #: of every partition, as each question is answered; the last one stays
        self.leaderless: set[TopicPartition] = set()  #: whatever `leaders` says
        self.epochs: deque[int] = deque([7])  #: how often leaders changed, as `leaders`; told from version 10 on
        self.replicas = [1]  #: of every partition
        self.led: list[tuple[str, int]] = []  #: the state at each such question, and its answer
        self.overtaken = False  #: the producer commits its open transaction just before it is fenced

    async def coordinator_lookup(self, kind: CoordinationType, key: str) -> int:
        assert (kind, key) == (CoordinationType.TRANSACTION, "g:t:0")
        if self.lookups:
            raise self.lookups.popleft()
        return 5

    async def send(self, node: int, request: Any, *, group: ConnectionGroup) -> Any:
        assert (node, group) == (5, ConnectionGroup.COORDINATION)
        made = request.prepare(self.versions)
        codes = self.errors.get(made.API_KEY)
        code = codes.popleft() if codes else None
        answers = {
            3: self._metadata,
            65: self._described,
            22: self._fence,
            24: self._add,
            25: self._add_offsets,
            26: self._end,
        }
        return answers[made.API_KEY](made, code)

    def _metadata(self, made: Any, _code: int | None) -> Any:
        leader = self.leaders.popleft() if len(self.leaders) > 1 else self.leaders[0]
        epoch = self.epochs.popleft() if len(self.epochs) > 1 else self.epochs[0]
        self.led.append((self.state, leader))
        if made.API_VERSION >= 10:
            names = [name for _, name, _ in made.topics]
            told: list[Any] = [
                (0, name, bytes(16), False, self._partitions(name, leader, epoch), 0, {}) for name in names
            ]
            return made.RESPONSE_TYPE(0, [], "c", 1, told, 0, {})
        topics = [(0, name, False, self._partitions(name, leader)) for name in made.topics]
        return made.RESPONSE_TYPE(0, [], "c", 1, topics)

    def _partitions(self, topic: str, leader: int, *epoch: int) -> list[Any]:
        led = {number: -1 if TopicPartition(topic, number) in self.leaderless else leader for number in range(4)}
        tags: list[Any] = [{}] if epoch else []
        return [(0, number, node, *epoch, self.replicas, [1], [], *tags) for number, node in led.items()]

    def _described(self, made: Any, code: int | None) -> Any:
        if code is None:
            code = 105 if self.state == "NotFound" else 0
        topics: list[Any] = [(topic, [number], {}) for topic, number in sorted(self.places)]
        told: tuple[Any, ...] = (code, "g:t:0", self.state, self.timeout_ms, 0, 1, self.epoch, topics, {})
        self._go_on()
        return made.RESPONSE_TYPE(0, [told], {})

    def _go_on(self) -> None:
        if self.state.startswith("Prepare"):
            self.state, self.places = self.state.replace("Prepare", "Complete"), set()

    def _fence(self, made: Any, code: int | None) -> Any:
        if self.overtaken and self.state == "Ongoing":
            self.state, self.places = "CompleteCommit", set()
        if code is None and self.state == "Ongoing":
            self.state, code = "PrepareAbort", 51
            self.epoch += 1
        if code is None:
            self.state, self.timeout_ms = "Empty", made.transaction_timeout_ms
            self.epoch += 1
            self.said.append(("fence", made.transaction_timeout_ms))
        return made.RESPONSE_TYPE(0, code or 0, 1, self.epoch)

    def _add(self, made: Any, code: int | None) -> Any:
        places = {TopicPartition(topic, number) for topic, numbers in made.topics for number in numbers}
        if code is None:
            self._begin(made, places)
            self.said.append(("add", frozenset(places)))
        of_others = 55 if code else 0  # not attempted, because of the one
        errors = [(topic, [(number, code or 0 if topic == A.topic else of_others)]) for topic, number in sorted(places)]
        return made.RESPONSE_TYPE(0, errors)

    def _add_offsets(self, made: Any, code: int | None) -> Any:
        if code is None:
            self._begin(made, {OFFSETS})
            self.said.append(("offsets", made.group_id))
        return made.RESPONSE_TYPE(0, code or 0)

    def _begin(self, made: Any, places: set[TopicPartition]) -> None:
        assert (made.transactional_id, made.producer_id, made.producer_epoch) == ("g:t:0", 1, self.epoch)
        self.state = "Ongoing"
        self.places |= places

    def _end(self, made: Any, code: int | None) -> Any:
        if code is None:
            assert (made.producer_id, made.producer_epoch, self.state) == (1, self.epoch, "Ongoing")
            self.state = "PrepareCommit" if made.transaction_result else "PrepareAbort"
            self.said.append(("end", made.transaction_result))
        return made.RESPONSE_TYPE(0, code or 0)


def last_transaction(timeout_s: float = 15.0) -> LastTransaction:
    return LastTransaction("g:t:0", "g", timeout_s)


async def reachable() -> list[TopicPartition]:
    return [A, B]


async def say(
    fake: FakeTransactionCoordinator, last: LastTransaction | None = None, places: Reachable = reachable
) -> list[Any]:
    """What is said to the coordinator."""
    client: Any = fake
    await (last or last_transaction()).end_again(client, places)
    return fake.said


COMMIT = [("fence", COMMITTED_MS), ("add", frozenset({A, B})), ("offsets", "g"), ("end", True)]
ABORT_OFFSET = [("fence", ABORTED_MS), ("offsets", "g"), ("end", False)]
ABORT_FIRST = [("fence", FIRST_ABORTED_MS), ("offsets", "g"), ("end", False)]


def test_the_request_and_the_response_are_kafkas() -> None:
    made = DescribeTransactionsRequest("g:t0").prepare(VERSIONS)
    assert made.encode() == REQUEST
    rest = BytesIO(RESPONSE + b"next")
    ((*told,),) = DescribeTransactionsResponse.decode(rest).transactions
    assert told == [0, "g:t0", "Ongoing", 15_000, 9, 1, 5, [("results", [4], {})], {}]
    assert rest.read() == b"next"


@pytest.mark.parametrize(
    ("state", "timeout_ms", "expected"),
    [
        ("CompleteCommit", PLAIN_MS, COMMIT),
        ("PrepareCommit", PLAIN_MS, COMMIT),
        ("CompleteAbort", PLAIN_MS, ABORT_OFFSET),
        ("PrepareAbort", PLAIN_MS, ABORT_OFFSET),
        ("CompleteAbort", COMMITTED_MS, ABORT_OFFSET),  # the broker aborted what an owner left open that said commit
        ("Empty", COMMITTED_MS, COMMIT),  # an owner fenced the one before and got no further
        ("Empty", ABORTED_MS, ABORT_OFFSET),
        ("Empty", AFTER_COMMIT_MS, COMMIT),  # said, and then a producer was opened that did nothing
        ("Empty", AFTER_ABORT_MS, ABORT_OFFSET),
        ("CompleteCommit", FIRST_MS, COMMIT),
        ("CompleteAbort", FIRST_MS, ABORT_FIRST),
        ("CompleteAbort", FIRST_ABORTED_MS, ABORT_FIRST),
        ("Empty", FIRST_ABORTED_MS, ABORT_FIRST),
        ("Empty", AFTER_FIRST_ABORT_MS, ABORT_FIRST),
        ("Empty", FIRST_MS, []),
        ("Empty", PLAIN_MS, []),
        ("Dead", PLAIN_MS, []),
        ("NotFound", PLAIN_MS, []),
    ],
)
@on_virtual_time
async def test_how_it_ended_is_said_again(state: str, timeout_ms: int, expected: list[Any]) -> None:
    fake = FakeTransactionCoordinator(state, timeout_ms)
    assert await say(fake) == expected
    assert not expected or fake.state in {"CompleteCommit", "CompleteAbort"}, "its end is waited for"


@pytest.mark.parametrize(
    ("state", "timeout_ms", "expected"),
    [
        ("NotFound", PLAIN_MS, False),
        ("Empty", PLAIN_MS, False),  # opened, and nothing more
        ("Empty", FIRST_MS, False),
        ("Ongoing", FIRST_MS, False),
        ("PrepareAbort", FIRST_MS, False),
        ("CompleteAbort", FIRST_MS, False),
        ("CompleteAbort", FIRST_ABORTED_MS, False),
        ("Empty", AFTER_FIRST_ABORT_MS, False),
        ("CompleteCommit", FIRST_MS, True),
        ("CompleteAbort", PLAIN_MS, True),
        ("Ongoing", AFTER_COMMIT_MS, True),
        ("Empty", AFTER_COMMIT_MS, True),
        ("Empty", AFTER_ABORT_MS, True),
        ("Dead", PLAIN_MS, None),
    ],
)
@on_virtual_time
async def test_it_is_known_whether_anything_was_ever_committed(
    state: str, timeout_ms: int, expected: bool | None
) -> None:
    last = last_transaction()
    await say(FakeTransactionCoordinator(state, timeout_ms, [OFFSETS] if state == "Ongoing" else ()), last)
    assert last.ever_committed is expected


@pytest.mark.parametrize("timeout_ms", [PLAIN_MS, ABORTED_MS, AFTER_COMMIT_MS, AFTER_ABORT_MS])
@on_virtual_time
async def test_an_open_transaction_is_aborted_in_its_own_partitions(timeout_ms: int) -> None:
    """Another one may hold records of a commit before."""
    fake = FakeTransactionCoordinator("Ongoing", timeout_ms, places=[B, OFFSETS])
    assert await say(fake) == [("fence", ABORTED_MS), ("add", frozenset({B})), ("offsets", "g"), ("end", False)]


@on_virtual_time
async def test_what_was_seen_open_is_remembered_until_it_is_said() -> None:
    fake = FakeTransactionCoordinator("Ongoing", places=[B, TopicPartition("a topic we have no more", 0)])
    last = last_transaction()

    async def unreachable() -> list[TopicPartition]:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await say(fake, last, unreachable)
    assert fake.state == "Empty"
    assert ("add", frozenset({B})) in await say(fake, last)
    fake.said.clear()
    assert await say(fake, last) == ABORT_OFFSET, "and no longer"


@on_virtual_time
async def test_one_that_ends_just_before_it_is_fenced_loses_nothing() -> None:
    """Whether it was committed, nobody saw. Its records are not aborted; its offset is, so they may come twice."""
    fake = FakeTransactionCoordinator("Ongoing", places=[A, B, OFFSETS])
    fake.overtaken = True
    assert await say(fake) == ABORT_OFFSET


@on_virtual_time
async def test_an_owner_that_was_saying_commit_is_helped_to_its_end() -> None:
    """To fence it would abort what it says is committed."""
    fake = FakeTransactionCoordinator("Ongoing", COMMITTED_MS, [A])
    assert await say(fake) == [("end", True), *COMMIT]


@on_virtual_time
async def test_one_that_was_helped_by_another_already_is_looked_at_again() -> None:
    fake = FakeTransactionCoordinator("Ongoing", COMMITTED_MS, [A])
    fake.errors[26] = deque([47, 48, 49])
    assert await say(fake) == [("end", True), *COMMIT]


@on_virtual_time
async def test_nothing_is_said_while_a_partition_has_no_leader() -> None:
    """The coordinator would leave it out, and what hangs there would be aborted with the next transaction."""
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.leaders = deque([-1, -1, 1])
    assert await say(fake) == COMMIT
    assert fake.led == [("Empty", -1), ("Empty", -1), ("Empty", 1), ("CompleteCommit", 1)]


@on_virtual_time
async def test_it_is_said_once_more_where_a_partition_lost_its_leader_meanwhile() -> None:
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.leaders = deque([1, -1, 1])
    last = last_transaction()
    with pytest.raises(LeaderNotAvailableError):
        await say(fake, last)
    assert last.timeout_ms == PLAIN_MS, "nothing was said"
    assert await say(fake, last) == [*COMMIT, *COMMIT]
    assert last.timeout_ms == AFTER_COMMIT_MS


@pytest.mark.parametrize(
    ("leader", "copies", "unheard", "aborted"),
    [
        (-1, 1, {B}, {A}),  # a commit before it may hang there, and it wrote nothing there
        (1, 1, {B}, {A, B}),  # the coordinator has written its marker
        (-1, 1, set[TopicPartition](), {A, B}),  # what it wrote there must not be committed with the next one
        (-1, 3, {B}, {A, B}),  # a dying leader may have handed on what it did not acknowledge
    ],
)
@on_virtual_time
async def test_an_abort_leaves_out_where_nothing_was_written_for_want_of_a_leader(
    leader: int, copies: int, unheard: set[TopicPartition], aborted: set[TopicPartition]
) -> None:
    fake = FakeTransactionCoordinator("Ongoing", places=[A, B, OFFSETS])
    fake.replicas = list(range(copies))
    fake.leaders = deque([leader, 1])
    last = last_transaction()
    last.unheard = frozenset(unheard)
    assert await say(fake, last) == [
        ("fence", ABORTED_MS),
        ("add", frozenset(aborted)),
        ("offsets", "g"),
        ("end", False),
    ]
    assert not last.unheard


@on_virtual_time
async def test_a_coordinator_that_cannot_end_it_yet_is_asked_twice_a_second_in_the_end() -> None:
    """With two of three nodes dead, its log has too few copies: each try costs three questions."""
    fake = FakeTransactionCoordinator("Ongoing", places=[A, B, OFFSETS])
    fake.errors[22] = deque([51] * 30)
    last = last_transaction()
    last.unheard = frozenset({B})
    began = asyncio.get_running_loop().time()
    await say(fake, last)
    assert asyncio.get_running_loop().time() - began > 12.0


@on_virtual_time
async def test_partitions_that_are_not_in_it_need_no_leader() -> None:
    fake = FakeTransactionCoordinator("CompleteAbort")
    fake.leaders = deque([-1])
    assert await say(fake) == ABORT_OFFSET


@pytest.mark.parametrize("key", VERSIONS.keys() - {3})
@on_virtual_time
async def test_a_coordinator_that_is_not_ready_is_asked_again(key: int) -> None:
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.errors[key] = deque([14, 15, 16] if key == 22 else [14, 15, 16, 51])
    fake.lookups.append(GroupCoordinatorNotAvailableError())
    assert await say(fake) == COMMIT
    assert not fake.errors[key]


@on_virtual_time
async def test_one_that_opens_under_the_fence_is_looked_at_again() -> None:
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.errors[22] = deque([51])
    assert await say(fake) == COMMIT


@on_virtual_time
async def test_a_broker_that_cannot_describe_is_told_nothing() -> None:
    fake = FakeTransactionCoordinator("CompleteCommit")
    del fake.versions[65]
    last = last_transaction()
    assert await say(fake, last) == []
    assert last.ever_committed is None
    assert last.timeout_ms == PLAIN_MS


@on_virtual_time
async def test_what_is_not_allowed_is_named() -> None:
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.errors[65] = deque([53])
    with pytest.raises(TransactionalIdAuthorizationFailed, match="g:t:0"):
        await say(fake)
    fake.errors[24] = deque([29])
    with pytest.raises(TopicAuthorizationFailedError, match="results"):
        await say(fake)


@pytest.mark.parametrize(("code", "error"), [(47, InvalidProducerEpoch), (1234, UnknownError)])
@on_virtual_time
async def test_other_errors_are_raised(code: int, error: type[Exception]) -> None:
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.errors[24] = deque([code])
    with pytest.raises(error):
        await say(fake)


@pytest.mark.parametrize("timeout_s", [0.001, 0.02, 10.001, 10.002, 15.0, 900.0])
@on_virtual_time
async def test_a_timeout_tells_what_was_said_and_is_no_longer_than_asked_for(timeout_s: float) -> None:
    """A broker may have a longest. What stands in the settings is no mark."""
    last = last_transaction(timeout_s)
    plain_ms = last.timeout_ms
    assert plain_ms % 10 == 0
    assert plain_ms <= max(20, timeout_s * 1000)
    told = {}
    for state in ("CompleteCommit", "CompleteAbort", "NotFound"):
        fake = FakeTransactionCoordinator(state)
        await say(fake, last)
        told[state] = last.timeout_ms % 10
        assert 0 < last.timeout_ms <= plain_ms
        assert 0 < fake.timeout_ms <= plain_ms or not fake.said
    assert told == {"CompleteCommit": 3, "CompleteAbort": 4, "NotFound": 5}


# who says it


class FakeCoordination(NewGroup):
    """Writes down in which order it was asked."""

    def __init__(self, done: list[Any]) -> None:
        self.done = done

    async def end_again(self, last: LastTransaction, reachable: Reachable) -> None:
        self.done.append(("end again", set(await reachable())))

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1, 2} if topic == "fallback" else {0, 1}


async def test_it_is_said_before_a_producer_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new producer makes the coordinator forget."""
    done: list[Any] = []

    async def started(sender: Sender) -> None:
        done.append("open")
        sender._producer = FakeProducer()

    monkeypatch.setattr(Sender, "open", started)
    policy = OutboxPolicy(Connection("nowhere:9092"), "g", 15.0, 30.0, 60.0)
    router = Router({"results": "results", "fallback": "fallback"}, "t")
    await ExactlyOnce(policy, TopicPartition("requests", 1), router, FakeCoordination(done)).open()
    fallbacks = {TopicPartition("fallback", number) for number in range(3)}
    assert done == [("end again", {TopicPartition("results", 1), *fallbacks}), "open"]


class FakeProducer:
    """A producer whose transactions go through, over connections that break."""

    def __init__(self) -> None:
        self.commits = 0
        self.silent: set[str] = set()  #: topics that take nothing
        self.begins_after_s = 0.0  #: seconds for which the last transaction is still about to end
        self.breaks: tuple[int, int] | None = None  #: whose connection breaks meanwhile
        self._empty = True
        self._sender = SimpleNamespace(
            _coordinators={CoordinationType.TRANSACTION: 1, CoordinationType.GROUP: 2},
            _maybe_do_transactional_request=lambda: None,
        )
        self._txn_manager = SimpleNamespace(
            producer_id=1,
            producer_epoch=6,
            has_pid=lambda: True,
            is_empty_transaction=lambda: self._empty,
            partitions_to_add=lambda: {A},
            consumer_group_to_add=lambda: None,
        )
        self.leaders = {A: 3, B: 4}
        self.client = SimpleNamespace(_conns={}, cluster=SimpleNamespace(leader_for_partition=self.leaders.get))
        for node, group in ((1, ConnectionGroup.COORDINATION), (2, ConnectionGroup.COORDINATION), (3, 0), (4, 0)):
            self.connect(node, group)

    def connect(self, node: int = 1, group: int = ConnectionGroup.COORDINATION) -> None:
        """A new connection in place of the one that was."""
        self.client._conns[node, group] = SimpleNamespace(connected=lambda: True)

    def disconnect(self, node: int = 1, group: int = ConnectionGroup.COORDINATION) -> None:
        self.client._conns[node, group] = SimpleNamespace(connected=lambda: False)

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def begin_transaction(self) -> None:
        self._empty = True

    async def send_offsets_to_transaction(self, _offsets: object, _group: str) -> None:
        await self._begin()

    async def _begin(self) -> None:
        """As the client does: it asks until the last one has ended."""
        after_s, self.begins_after_s = self.begins_after_s, 0.0
        for _ in range(round(after_s / 0.1)):
            self._sender._maybe_do_transactional_request()
            await asyncio.sleep(0.1)
        if self.breaks is not None:
            self.disconnect(*self.breaks)
        self._sender._maybe_do_transactional_request()
        self._empty = False

    def create_batch(self) -> Any:
        return record_batch()

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0, 1}

    async def commit_transaction(self) -> None:
        self.commits += 1

    async def send_batch(self, _batch: object, topic: str, partition: int) -> asyncio.Future[object]:
        ack = asyncio.get_running_loop().create_future()
        try:
            await self._begin()
        except TieBroken as error:
            ack.set_exception(error)
            return ack
        if topic in self.silent:
            ack.set_exception(NotLeaderForPartitionError())
        else:
            ack.set_result(None)
        return ack


class Opened(ExactlyOnce):
    """Tells the producers it makes."""

    made: list[FakeProducer]

    def make(self) -> FakeProducer:
        self.made.append(FakeProducer())
        return self.made[-1]


async def opened(coordination: Coordination) -> Opened:
    policy = OutboxPolicy(Connection("nowhere:9092"), "g", 15.0, 30.0, 60.0)
    outbox = Opened(policy, TopicPartition("t", 0), Router({"results": "results"}, "t"), coordination)
    outbox.made = []
    outbox.sender._make_producer = outbox.make  # type: ignore[method-assign]  # played ones
    await outbox.open()
    return outbox


class PlayedCoordination(FakeCoordination):
    """Over a played coordinator."""

    def __init__(self, fake: FakeTransactionCoordinator) -> None:
        super().__init__([])
        self.client: Any = fake

    async def end_again(self, last: LastTransaction, reachable: Reachable) -> None:
        await last.end_again(self.client, reachable)


@on_virtual_time
async def test_the_producer_that_follows_carries_what_was_said() -> None:
    outbox = await opened(PlayedCoordination(FakeTransactionCoordinator("CompleteCommit")))
    made = TransactionalSender._make_producer(outbox.sender)
    assert made._txn_manager.transaction_timeout_ms == AFTER_COMMIT_MS
    await made.stop()


@on_virtual_time
async def test_a_coordinator_that_went_away_is_told_again_before_anything_is_sent() -> None:
    coordination = FakeCoordination([])
    outbox = await opened(coordination)
    (producer,) = outbox.made
    await outbox.send([], Progress(1))
    producer.connect()
    with pytest.raises(Lost, match="went away"):
        await outbox.send([], Progress(2))
    assert producer.commits == 1
    await outbox.open()
    assert len(coordination.done) == 2
    await outbox.send([], Progress(2))
    assert [producer.commits for producer in outbox.made] == [1, 1]


@on_virtual_time
async def test_it_is_known_where_a_transaction_wrote_nothing() -> None:
    seen: list[frozenset[TopicPartition]] = []

    class Told(FakeCoordination):
        async def end_again(self, last: LastTransaction, reachable: Reachable) -> None:
            seen.append(last.unheard)

    policy = OutboxPolicy(Connection("nowhere:9092"), "g", 15.0, 30.0, 60.0)
    router = Router({"results": "results", "fallback": "fallback"}, "t")
    outbox = Opened(policy, TopicPartition("t", 0), router, Told([]))
    outbox.made = []
    outbox.sender._make_producer = outbox.make  # type: ignore[method-assign]  # played ones
    await outbox.open()
    outbox.made[0].silent = {"results"}
    outcomes = [Outgoing("results", b"k", b"v", (), 5), Outgoing("fallback", b"k", b"v", (), 5)]
    with pytest.raises(Lost):
        await outbox.send(outcomes, Progress(1))
    await outbox.open()
    await outbox.send(outcomes, Progress(1))
    await outbox.open()
    assert seen == [frozenset(), {TopicPartition("results", 0)}, frozenset()]


@on_virtual_time
async def test_so_is_one_that_has_not_come_back() -> None:
    outbox = await opened(FakeCoordination([]))
    outbox.made[0].disconnect()
    with pytest.raises(Lost, match="went away"):
        await outbox.send([], Progress(1))


@on_virtual_time
async def test_a_connection_that_nobody_used_may_end() -> None:
    outbox = await opened(FakeCoordination([]))
    (producer,) = outbox.made
    producer.connect()
    await asyncio.sleep(540.0)
    await outbox.send([], Progress(1))
    await outbox.send([], Progress(2))
    assert producer.commits == 2
    producer.connect()
    with pytest.raises(Lost, match="went away"):
        await outbox.send([], Progress(3))


LEADER, GROUP, COORDINATOR = (3, ConnectionGroup.DEFAULT), (2, ConnectionGroup.COORDINATION), (1, 1)
RESULT = [Outgoing("results", b"k", b"v", (), 5)]


@pytest.mark.parametrize("tie", [LEADER, GROUP, COORDINATOR], ids=["leader", "group", "coordinator"])
@on_virtual_time
async def test_a_broker_of_the_last_transaction_that_went_away_lets_none_follow(tie: tuple[int, int]) -> None:
    """The marker may be missing, and the abort of the next one would lose what hangs."""
    coordination = FakeCoordination([])
    outbox = await opened(coordination)
    (producer,) = outbox.made
    await outbox.send(RESULT, Progress(1))
    producer.connect(*tie)
    with pytest.raises(Disconnected):
        await outbox.send(RESULT, Progress(2))
    assert producer.commits == 1
    await outbox.open()
    assert len(coordination.done) == 2, "it is said again how it ended"
    await outbox.send(RESULT, Progress(2))
    assert [producer.commits for producer in outbox.made] == [1, 1]


@pytest.mark.parametrize("outcomes", [RESULT, []], ids=["records", "offset alone"])
@pytest.mark.parametrize("tie", [LEADER, GROUP, COORDINATOR], ids=["leader", "group", "coordinator"])
@on_virtual_time
async def test_so_does_one_that_goes_while_the_next_waits_for_the_last_to_end(
    tie: tuple[int, int], outcomes: list[Outgoing]
) -> None:
    outbox = await opened(FakeCoordination([]))
    (producer,) = outbox.made
    await outbox.send(RESULT, Progress(1))
    producer.begins_after_s, producer.breaks = 1.0, tie
    with pytest.raises(Disconnected):
        await outbox.send(outcomes, Progress(2))
    assert producer.commits == 1
    assert producer._empty, "the broker was asked for no transaction after that"


@pytest.mark.parametrize(("ends_after_s", "follows"), [(1.0, True), (9.0, False)])
@on_virtual_time
async def test_one_that_is_silent_lets_none_follow(ends_after_s: float, follows: bool) -> None:
    """Its connection stands; the coordinator waits for it, and leaves it out when it leads no more."""
    outbox = await opened(FakeCoordination([]))
    (producer,) = outbox.made
    await outbox.send(RESULT, Progress(1))
    producer.begins_after_s = ends_after_s
    if follows:
        await outbox.send(RESULT, Progress(2))
    else:
        with pytest.raises(Disconnected):
            await outbox.send(RESULT, Progress(2))
    assert producer.commits == 1 + follows


@on_virtual_time
async def test_a_leader_that_the_last_transaction_did_not_use_may_go() -> None:
    outbox = await opened(FakeCoordination([]))
    (producer,) = outbox.made
    await outbox.send(RESULT, Progress(1))
    producer.disconnect(4, ConnectionGroup.DEFAULT)
    await outbox.send(RESULT, Progress(2))
    assert producer.commits == 2


@on_virtual_time
async def test_another_leader_counts_as_one_that_went_away() -> None:
    outbox = await opened(FakeCoordination([]))
    (producer,) = outbox.made
    await outbox.send(RESULT, Progress(1))
    producer.leaders[A] = 4
    with pytest.raises(Disconnected):
        await outbox.send(RESULT, Progress(2))


@on_virtual_time
async def test_a_producer_that_was_thrown_away_begins_nothing() -> None:
    outbox = await opened(FakeCoordination([]))
    (producer,) = outbox.made
    await producer.begin_transaction()
    outbox.discard()
    with pytest.raises(TieBroken):
        producer._sender._maybe_do_transactional_request()


@on_virtual_time
async def test_it_is_known_what_the_last_transaction_wrote() -> None:
    seen: list[Any] = []

    class Told(FakeCoordination):
        async def end_again(self, last: LastTransaction, reachable: Reachable) -> None:
            seen.append(last.written)

    outbox = await opened(Told([]))
    await outbox.send(RESULT, Progress(1))
    outbox.made[0].connect(*LEADER)
    with pytest.raises(Disconnected):
        await outbox.send([], Progress(2))
    await outbox.open()
    assert seen == [(None, frozenset()), (Producer(1, 6), {A})], "not that of one that never began"


@pytest.mark.parametrize(
    ("state", "timeout_ms", "producer", "left_out"),
    [
        ("CompleteCommit", PLAIN_MS, Producer(1, 5), True),
        ("CompleteCommit", PLAIN_MS, Producer(1, 4), False),  # another one wrote since
        ("Empty", COMMITTED_MS, Producer(1, 5), True),
    ],
)
@on_virtual_time
async def test_a_partition_that_ours_did_not_write_to_is_not_waited_for(
    state: str, timeout_ms: int, producer: Producer, left_out: bool
) -> None:
    fake = FakeTransactionCoordinator(state, timeout_ms)
    fake.leaderless = {B}
    last = last_transaction()
    last.written = producer, frozenset({A})
    if left_out:
        assert ("add", frozenset({A})) in await say(fake, last)
        assert last.written[0] is None
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(say(fake, last), 60.0)


@on_virtual_time
async def test_it_is_still_known_when_it_has_to_be_said_once_more() -> None:
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.leaderless = {B}
    fake.leaders = deque([1, -1, 1])
    last = last_transaction()
    last.written = Producer(1, 5), frozenset({A})
    with pytest.raises(LeaderNotAvailableError):
        await say(fake, last)
    assert len([said for said in await say(fake, last) if said == ("add", frozenset({A}))]) == 2


@on_virtual_time
async def test_a_leader_that_came_back_meanwhile_may_have_missed_the_marker() -> None:
    """It is the same one, and the count of leaders tells that nobody led for a moment."""
    fake = FakeTransactionCoordinator("CompleteCommit")
    fake.versions[3] = (0, 10)
    fake.epochs = deque([7, 8])
    last = last_transaction()
    with pytest.raises(LeaderNotAvailableError):
        await say(fake, last)
    assert await say(fake, last) == [*COMMIT, *COMMIT]


@pytest.mark.parametrize(
    ("state", "producer", "timed_out"),
    [
        ("CompleteAbort", Producer(7, 4), True),  # the broker aborts what is too old, and fences who had it
        ("CompleteAbort", Producer(7, 3), False),  # we aborted
        ("CompleteAbort", Producer(7, 5), False),  # another one has begun, and aborted
        ("CompleteAbort", Producer(8, 4), False),
        ("Empty", Producer(7, 4), False),  # another one has just taken over
        ("Ongoing", Producer(7, 4), False),
        ("CompleteCommit", Producer(7, 4), False),
    ],
)
def test_a_transaction_that_the_broker_ended_for_its_age(state: str, producer: Producer, timed_out: bool) -> None:
    described = Described(state, 0, producer, frozenset())
    assert described.timed_out(Producer(7, 3)) == timed_out
