"""The last transaction of a transactional id is ended once more by whoever takes over: Kafka may have lost its markers.

After a broker's kill -9 a coordinator of Kafka 4.4.0 was seen to call a transaction complete whose markers it had not
written, to some of its partitions or to all ([chaos](../docs/chaos.md)). Its records and its offset then hang: nobody
sees them, until the next marker of the same producer id ends them, and ends them as *that* transaction does. So it is
said again, before anything else, how they end. `LastTransaction.end_again`:

    describe ─▶ fence, and write down how it ended ─▶ add its partitions ─▶ end it that way ─▶ wait for the markers

**How it ended** is what the coordinator says before we become its producer, for that makes it forget. We may die half
way, another may take over, and the markers may be lost once more; so the ending is written where the next owner looks:
into the last digit of the transaction's timeout, which Kafka keeps for a transactional id and every new producer sets
(`_SAYS` while it is said, `_SAID` by the producer that is opened after that, `_FIRST` where there was nothing to say).

**What may be said, for which partitions.** To commit records that should not be makes some come twice; to abort records
that should be committed loses them; with an offset it is the other way round. So:

- after a commit, every partition that can be reached is committed, and the offset. The transactions of one producer id
  follow one another, none of ours is aborted but by a new owner, and that ended it before it wrote anything: what hangs
  now is of transactions that were to be committed.
- after an abort, the offset is aborted, and those partitions alone that the transaction was seen to have while it was
  open. The others may hang from a commit before it.

**When it may be said.** A coordinator of Kafka 4.4.0 writes no marker into a partition that has no leader at that
moment, and calls the transaction complete. So it is said only while every partition has one, by the word of the
coordinator's own broker; where another leads one meanwhile, it is said once more. A partition that our own last
transaction did not write to need not have one (`written`): what is left out then was ended before.

**When the next transaction may begin.** What hangs of a commit is lost where the next transaction over its partition
is aborted, and nobody can abort only a part of one. So a sender begins none before it knows that every marker of the
last one is there (`TransactionalSender`). It asks nobody for that. A partition has no leader only after its leader
went away: at once, which ends our connection to it, or silently, which lets the coordinator wait for seconds. Either
makes the sender open again.

**What is left out of an abort.** A leader that stops in order and has the only copy leaves its partition a moment
before it ends our connection. A commit may hang there then, and the next transaction fails, for it can write nothing
there. To say that one's abort in this partition would lose what hangs. So a partition that has no leader when the
transaction is fenced, from which its producer heard nothing (`unheard`), and which has one copy, is left out: the
coordinator writes no marker there, nothing of the aborted transaction is there, and the next commit ends what hangs. A
partition with more copies is never left out: a dying leader may have handed on what it did not acknowledge, and the
next commit would end that, too.

**Whether anything was ever committed** (`ever_committed`) is known in the same way. A producer that is opened where
nothing was carries the mark `_FIRST`, and so do its transactions. So that they are one, and hold no record, its owner
commits where it begins, and opens a new producer, which carries another mark.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    LeaderNotAvailableError,
    NotCoordinatorError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    for_code,
)
from aiokafka.protocol.api import Request, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse_v0,
    EndTxnRequest,
    InitProducerIdRequest,
)

from .requests import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    Leader,
    LeadersRequest,
    leaders_in,
)

Reachable = Callable[[], Awaitable[Iterable[TopicPartition]]]

#: milliseconds to which a timeout is rounded; what is left over is a mark
_TICK_MS = 10


class Ending(Enum):
    """How a transaction ended, or an open one is going to."""

    COMMITTED = "committed"
    ABORTED = "aborted"  #: others may have been committed before it
    FIRST_ABORTED = "first aborted"  #: and none was ever committed


#: marks of a producer that says again how the last transaction ended, and of the ordinary one after it
_SAYS = {Ending.COMMITTED: 1, Ending.ABORTED: 2, Ending.FIRST_ABORTED: 6}
_SAID = {Ending.COMMITTED: 3, Ending.ABORTED: 4, Ending.FIRST_ABORTED: 7}
#: how a transaction ended before a producer with this mark was opened
_MARKED = {mark: ending for marks in (_SAYS, _SAID) for ending, mark in marks.items()}
#: mark of a producer that was opened where there was no transaction
_FIRST = 5
#: marks of producers before whose first transaction none was committed
_BEFORE_ANY = (_FIRST, _SAYS[Ending.FIRST_ABORTED], _SAID[Ending.FIRST_ABORTED])
#: seconds until a coordinator that is not ready yet is asked again
_AGAIN_S = 0.01
#: seconds of the longest rest before it is asked again: a marker may wait for a broker that is away, and a coordinator
#: for enough copies of its log
_LONGEST_S = 0.5
#: seconds until a coordinator is asked again whether every partition has a leader
_LED_YET_S = 1.0
_NO_LEADER = -1  # in an answer about metadata
_NOT_FOUND = 105  # TRANSACTIONAL_ID_NOT_FOUND, which the client does not know
_NOT_ATTEMPTED = 55  # said of partitions beside the one with the error
_OVERTAKEN = (InvalidTxnState, InvalidProducerEpoch, InvalidProducerIdMapping)
_NOT_READY = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)


class Producer(NamedTuple):
    """Who may write under a transactional id."""

    id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Described:
    """What a coordinator says of the last transaction of a transactional id."""

    state: str
    mark: int  #: last digit of the timeout
    producer: Producer
    partitions: frozenset[TopicPartition]  #: of a transaction that is open or about to end

    @property
    def pending(self) -> bool:
        """The coordinator is about to end it, or to fence its producer."""
        return self.state.startswith("Prepare")

    @property
    def open(self) -> bool:
        """Its producer has not ended it."""
        return self.state == "Ongoing"

    @property
    def interrupted_commit(self) -> bool:
        """An owner was saying again that it is committed, and got no further."""
        return self.open and self.mark == _SAYS[Ending.COMMITTED]

    def timed_out(self, ours: Producer) -> bool:
        """It looks as a broker leaves it that aborts a transaction for its age: our producer is fenced, for nobody."""
        return self.state == "CompleteAbort" and self.producer == Producer(ours.id, ours.epoch + 1)

    @property
    def ending(self) -> Ending | None:
        """How it ended, and an open one is going to; None where there was none, or nobody knows any more."""
        match self.state:
            case "CompleteCommit":
                return Ending.COMMITTED
            case "CompleteAbort" | "Ongoing":
                return Ending.FIRST_ABORTED if self.mark in _BEFORE_ANY else Ending.ABORTED
            case "Empty":
                return _MARKED.get(self.mark)
        return None

    @property
    def ever_committed(self) -> bool | None:
        """A transaction was committed, this one or one before; None where nobody knows any more."""
        if self.state == "Empty" and self.ending is None:
            return False  # a producer was opened, and no transaction ever ran
        return None if self.ending is None else self.ending is not Ending.FIRST_ABORTED


#: what is known of a transactional id that the coordinator does not know
_NOTHING = Described("Empty", _FIRST, Producer(-1, -1), frozenset())


class LastTransaction:
    """The last transaction of one transactional id, whoever began it."""

    def __init__(self, transactional_id: str, group: str, timeout_s: float) -> None:
        self._transactional_id = transactional_id
        self._group = group
        self._timeout_ms = max(2, int(timeout_s * 1000) // _TICK_MS) * _TICK_MS
        self._said: Ending | None = None
        self.ever_committed: bool | None = None  #: by the coordinator's word; None where it does not tell
        self._seen_open: frozenset[TopicPartition] = frozenset()  # kept over tries: the coordinator forgets them
        #: partitions of our own transaction, if one failed, in which nothing was acknowledged
        self.unheard: frozenset[TopicPartition] = frozenset()
        #: who wrote the last transaction of ours that it committed, or was about to, and where; what was before it in
        #: other partitions has ended
        self.written: tuple[Producer | None, frozenset[TopicPartition]] = None, frozenset()

    @property
    def timeout_ms(self) -> int:
        """Of the producer to be opened now."""
        if self._said is not None:
            return self._marked(_SAID[self._said])
        return self._marked(_FIRST) if self.ever_committed is False else self._timeout_ms

    def _marked(self, mark: int) -> int:
        return self._timeout_ms - _TICK_MS + mark  # no longer than asked for: a broker may have a longest

    async def end_again(self, client: AIOKafkaClient, reachable: Reachable) -> None:
        """End it as it ended, in every partition where that is known, and wait until the coordinator has done so.

        Costs one question where there was no transaction. Whoever had the id can write nothing after this, if there
        was one. Raises `KafkaError`; waits without end for a coordinator that is not ready.
        """
        coordinator = _TransactionCoordinator(client, self._transactional_id)
        ending, producer = await self._taken_over(coordinator)
        self._said = None
        if producer is not None and ending is not None:
            await self._say(coordinator, ending, producer, set(await reachable()))

    async def _say(
        self, coordinator: _TransactionCoordinator, ending: Ending, producer: Producer, places: set[TopicPartition]
    ) -> None:
        committed = ending is Ending.COMMITTED
        said = places if committed else places & self._seen_open
        whose, written = self.written
        leaders = await coordinator.leaders_of(said, said & written if committed and whose == producer else said)
        await coordinator.add(producer, leaders.keys(), self._group)
        await coordinator.end(producer, committed=committed)
        await coordinator.settled()
        if await coordinator.leaders(leaders) != leaders:
            raise LeaderNotAvailableError("a partition lost its leader while its transaction was ended again")
        self._said = ending
        self._seen_open = self.unheard = frozenset()
        self.written = None, frozenset()

    async def _taken_over(self, coordinator: _TransactionCoordinator) -> tuple[Ending | None, Producer | None]:
        """How it ended, and the producer we became, which nobody precedes any more. No producer: nothing to say."""
        rest_s = _AGAIN_S
        while True:
            last = await coordinator.settled()
            self.ever_committed = None if last is None else last.ever_committed
            if last is None or last.ending is None:
                return None, None
            if last.interrupted_commit:
                with suppress(*_OVERTAKEN):
                    await coordinator.end(last.producer, committed=True)  # to fence would abort it
            else:
                without = await coordinator.lost(last.partitions & self.unheard)
                producer = await coordinator.fence(self._marked(_SAYS[last.ending]))
                if last.producer == self.written[0] and producer is not None:
                    self.written = producer, self.written[1]  # we are who wrote it still, under another name
                if last.open:  # not fenced but followed: it ended just before, nobody saw how
                    self._seen_open = last.partitions - without if producer is None else frozenset()
                if producer is not None:
                    return last.ending, producer
            await asyncio.sleep(rest_s)
            rest_s = min(2 * rest_s, _LONGEST_S)


async def last_of(client: AIOKafkaClient, transactional_id: str) -> Described | None:
    """The last transaction of this transactional id, when it has ended; None where the broker does not tell.

    Raises `KafkaError`; waits without end for a coordinator that is not ready.
    """
    last = await _TransactionCoordinator(client, transactional_id).settled()
    return None if last is _NOTHING else last


class _TransactionCoordinator:
    """The requests to the coordinator of one transactional id. Each waits for one that is not ready."""

    def __init__(self, client: AIOKafkaClient, transactional_id: str) -> None:
        self._client = client
        self._id = transactional_id

    async def settled(self) -> Described | None:
        """The last transaction, when it is not about to end any more; None where nobody can tell."""
        rest_s = _AGAIN_S
        while True:
            last = await self._described()
            if last is None or not last.pending:
                return last
            await asyncio.sleep(rest_s)
            rest_s = min(2 * rest_s, _LONGEST_S)

    async def _described(self) -> Described | None:
        try:
            response = await self._asked(DescribeTransactionsRequest(self._id))
        except (IncompatibleBrokerVersion, NotImplementedError):  # a broker before 3.0
            return None
        ((code, _, state, timeout_ms, _, *producer, topics, _),) = response.transactions
        if code == _NOT_FOUND:
            return _NOTHING
        partitions = frozenset(TopicPartition(topic, number) for topic, numbers, _ in topics for number in numbers)
        return Described(state, timeout_ms % _TICK_MS, Producer(*producer), partitions)

    async def leaders_of(
        self, places: Iterable[TopicPartition], needed: Collection[TopicPartition]
    ) -> dict[TopicPartition, Leader]:
        """Who leads each of these, as soon as each that is needed has a leader. What has none is not in it."""
        while True:
            found = await self.leaders(places)
            if found.keys() >= set(needed):
                return found
            await asyncio.sleep(_LED_YET_S)

    async def leaders(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Leader]:
        """Who leads each of these, as the coordinator's broker knows it. What has no leader is not in it."""
        return {tp: leader for tp, leader in (await self._leaders(places)).items() if leader.node != _NO_LEADER}

    async def lost(self, places: Iterable[TopicPartition]) -> frozenset[TopicPartition]:
        """Those that have no leader and one copy."""
        found = (await self._leaders(places)).items()
        return frozenset(tp for tp, leader in found if leader.node == _NO_LEADER and leader.copies == 1)

    async def _leaders(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Leader]:
        wanted = frozenset(places)
        if not wanted:
            return {}
        found = leaders_in(await self._asked(LeadersRequest({tp.topic for tp in wanted})))
        return {tp: leader for tp, leader in found.items() if tp in wanted}

    async def fence(self, timeout_ms: int) -> Producer | None:
        """Become the producer. None where a transaction is open: it is aborted now, and its producer fenced."""
        try:
            response = await self._asked(InitProducerIdRequest(self._id, timeout_ms), again=_NOT_READY)
        except ConcurrentTransactions:
            return None
        return Producer(response.producer_id, response.producer_epoch)

    async def add(self, producer: Producer, places: Iterable[TopicPartition], group: str) -> None:
        """Begin a transaction over these partitions and the group's offsets."""
        topics = defaultdict(list)
        for tp in sorted(places):
            topics[tp.topic].append(tp.partition)
        if topics:
            await self._asked(AddPartitionsToTxnRequest(self._id, *producer, list(topics.items())))
        await self._asked(AddOffsetsToTxnRequest(self._id, *producer, group))

    async def end(self, producer: Producer, *, committed: bool) -> None:
        """Commit or abort what this producer has open."""
        await self._asked(EndTxnRequest(self._id, *producer, committed))

    async def _asked(
        self, request: Request, again: tuple[type[KafkaError], ...] = (*_NOT_READY, ConcurrentTransactions)
    ) -> Response:
        while True:
            try:
                node = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, self._id)
                response = await self._client.send(node, request, group=ConnectionGroup.COORDINATION)
                _raise_for(response)
            except again:
                await asyncio.sleep(_AGAIN_S)
            except TransactionalIdAuthorizationFailed as error:
                raise TransactionalIdAuthorizationFailed(self._id) from error  # the client does not say which
            else:
                return response


def _raise_for(response: Response) -> None:
    for code, topic in _codes(response):
        if code not in (0, _NOT_FOUND, _NOT_ATTEMPTED):
            error = for_code(code)
            raise error(f"error {code}") if error is UnknownError else error(topic)


def _codes(response: Response) -> Iterator[tuple[int, str]]:
    """Every error code of a response, and the topic that it is about."""
    if isinstance(response, DescribeTransactionsResponse):
        return ((code, "") for code, *_ in response.transactions)
    if isinstance(response, AddPartitionsToTxnResponse_v0):
        return ((code, topic) for topic, partitions in response.errors for _, code in partitions)
    if response.API_KEY == MetadataRequest.API_KEY:
        return iter(())  # what it says of each topic is looked at by whoever asks
    return iter([(response.error_code, "")])
