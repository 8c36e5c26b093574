"""A named job over topics: the records it sends and how far it has come are committed in one transaction.

The name is a consumer group, which keeps the progress, and a transactional id, which lets one run at a time write.
So a job that is killed and run again repeats nothing and misses nothing, whatever became of the broker meanwhile.
Errors:

    JobError
    ├── Superseded   another run of the same job took over; this one can commit nothing more
    └── Interrupted  the broker was lost on the way; run again, and it goes on from what is committed
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from ...schemas.errors import BiSupervisedError
from ...schemas.records import Headers
from ..kafka.client import hear_left_errors
from ..kafka.errors import Disconnected, Lost, NotAllowed, OutboxError, RecordsRefused
from ..kafka.last_transaction import LastTransaction
from ..kafka.sender import TransactionalSender, until_answered
from ..plane.sending.coordinator import Coordinator
from ..plane.sending.routing import hash_of_key
from ..settings.broker import connection, outbox_policy
from ..settings.tables import Settings

log = logging.getLogger(__name__)

#: bytes of the largest record that is sent: what is too large, the broker says
_RECORD_BYTES = 256 * 1024 * 1024
#: bytes of one record batch: less than nearly every topic takes
_BATCH_BYTES = 16 * 1024

Offsets: TypeAlias = Mapping[TopicPartition, OffsetAndMetadata]


class JobError(BiSupervisedError):
    """The job did not finish. Nothing of what was under way is committed, or all of it is."""


class Superseded(JobError):
    """Another run of the same name took over."""


class Interrupted(JobError):
    """The broker was lost on the way."""


@dataclass(frozen=True, slots=True)
class Send:
    """One record to send."""

    topic: str
    partition: int | None  #: None leaves it to the key
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int  #: milliseconds since epoch


class Job:
    """One run of a named job."""

    def __init__(self, settings: Settings, group: str, places: Sequence[TopicPartition], to: str, own_ms: int) -> None:
        """`places`: partitions whose offsets tell how far it has come; `to`: the topic that it sends to; `own_ms`: age
        up to which a record bears its own timestamp there.
        """
        policy = replace(outbox_policy(settings, connection(settings.kafka), group), batch_bytes=_BATCH_BYTES)
        self.group = group
        self._places = places
        self._to = to
        self._partitions = 0  # of the topic that it sends to
        self._patience_s = policy.watchdog_s
        self._alone = False  # the topic takes less than a batch: each record goes in one of its own
        self._committed: dict[TopicPartition, OffsetAndMetadata] = {}  # as this run knows it
        self._coordinator = Coordinator(policy.connection, group)
        self._sender = TransactionalSender(policy, group, {to: _RECORD_BYTES}, self._end_again, own_ms={to: own_ms})

    async def topic_id(self, topic: str) -> str:
        """The id of a topic, '' where the broker has none. Raises `Interrupted`."""
        async with self._watched():
            return await until_answered(lambda: self._coordinator.topic_id(topic), self._patience_s)

    async def committed(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What former runs have committed by now; one that is under way may change it. Raises `Interrupted`."""
        async with self._watched():
            return await until_answered(
                lambda: self._coordinator.committed(self._places, stable=False), self._patience_s
            )

    async def open(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """Become the one run that may commit: a former one is fenced, and its open transaction aborted.

        Returns what former runs committed, for good. Raises `JobError`.
        """
        hear_left_errors(asyncio.get_running_loop())
        async with self._watched():
            self._committed = await until_answered(self._begun, self._patience_s)
        return dict(self._committed)

    async def close(self) -> None:
        """Close the connections. A transaction that is still open is aborted by the next run, or by the broker."""
        await self._sender.close()
        await self._coordinator.close()

    async def commit(self, records: Sequence[Send], offsets: Offsets) -> list[int]:
        """Send the records and commit the offsets, all or nothing. The first commit of a name must hold no record.

        Returns the indexes of records that the broker refuses, most of them for their size: then nothing was committed.
        Raises `Superseded` or `Interrupted`.
        """
        async with self._watched():
            try:
                await self._send(records, offsets)
            except RecordsRefused as error:
                await self._open_again()
                for why in dict.fromkeys(str(refusal) for refusal in error.culprits.values()):
                    log.error("the broker refuses records: %s", why, extra={"action": "record_refused"})
                return sorted(error.culprits)
            self._committed.update(offsets)
            if self._sender.first:  # a run that dies in its first transaction can be told from one that has committed
                await self._open_again()
        return []

    # taking over

    async def _end_again(self, last: LastTransaction) -> None:
        await self._coordinator.end_again(last, self._reachable)

    async def _reachable(self) -> list[TopicPartition]:
        return [TopicPartition(self._to, number) for number in await self._coordinator.partitions_for(self._to)]

    async def _begun(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What former runs committed. Raises `Lost` also where a coordinator that has just started knows none of it."""
        committed = await self._taken_over()
        if not committed and self._sender.followed_another:
            raise Lost(
                "nothing is committed, though a run of this name has committed; if that stays so, take another name"
            )
        return committed

    async def _taken_over(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What is committed, when nobody else can change it any more. Raises `Lost`: to be asked again."""
        await self._sender.open()
        self._partitions = len(await self._reachable())
        return await self._coordinator.committed(self._places)

    async def _open_again(self) -> None:
        """A new producer, with which this run goes on if no other one did: the last one is in no state to.

        The broker went away between two transactions, or refused records: their sequence numbers are missing then.
        """
        await until_answered(self._taken_over_again, self._patience_s)

    async def _taken_over_again(self) -> None:
        if await self._sender.superseded():
            raise self._superseded()
        found = await self._taken_over()
        if any(tp not in found or found[tp].offset < ours.offset for tp, ours in self._committed.items()):
            raise Lost("the broker knows less than this run has committed")
        if found != self._committed:
            raise self._superseded()

    # sending

    async def _send(self, records: Sequence[Send], offsets: Offsets) -> None:
        """One transaction; the same again where the broker went away before it, or tells of whole batches only."""
        places = [(record.topic, self._partition(index, record)) for index, record in enumerate(records)]
        while True:
            try:
                await self._sender.send(records, places, offsets, alone=self._alone)
            except Disconnected:
                await self._open_again()
            except RecordsRefused as error:
                if error.culprits:
                    raise
                await self._open_again()
                self._alone = True
            else:
                return

    def _partition(self, index: int, record: Send) -> int:
        if record.partition is not None:
            return record.partition
        return (index if record.key is None else hash_of_key(record.key)) % self._partitions

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Say what a lost transaction means for the job."""
        try:
            yield
        except (OutboxError, NotAllowed) as error:
            if await self._sender.superseded():  # a producer is fenced for its age, too, and nobody took over
                raise self._superseded() from error
            why = error.__cause__ or error
            told = str(why) or type(why).__name__
            raise Interrupted(f"{self.group} was interrupted ({told}): run it again, and it goes on") from error

    def _superseded(self) -> Superseded:
        return Superseded(f"another run of {self.group} took over; this one has ended, and sent nothing since")
