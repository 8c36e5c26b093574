"""What a job makes of a broker that goes away, forgets, or takes less than a batch. Time is virtual."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata
from bisupervised.streams.kafka.errors import Disconnected, Lost, RecordsRefused, Unsettled
from bisupervised.streams.kafka.refusals import Refusal
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.tools.job import Interrupted, Job, Send, Superseded
from support.virtual_time import on_virtual_time

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "remote" / "open_inference.toml"
A, B = TopicPartition("fallback", 0), TopicPartition("fallback", 1)
FIRST, SECOND = OffsetAndMetadata(3, "first"), OffsetAndMetadata(5, "second")


@dataclass
class PlayedBroker:
    """Sender and coordinator in one: what it committed, and how the next questions and sends end."""

    stored: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)
    answers: deque[Exception | dict[TopicPartition, OffsetAndMetadata]] = field(default_factory=deque)
    sends: deque[Exception | None] = field(default_factory=deque)
    limit: int = 1000  #: bytes of the largest record
    tells: bool = False  #: which record of a batch it refuses
    followed_another: bool = False
    first: bool = False  #: by the coordinator's word
    taken: bool = False  #: another run has the name
    opened: int = 0
    sent: list[tuple[bytes | None, tuple[str, int]]] = field(default_factory=list)
    asked_for_stable: list[bool] = field(default_factory=list)

    async def open(self) -> None:
        self.opened += 1

    async def superseded(self) -> bool:
        return self.taken

    async def close(self) -> None: ...

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1, 2}

    async def committed(
        self, places: Iterable[TopicPartition], *, stable: bool = True
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        self.asked_for_stable.append(stable)
        answer = self.answers.popleft() if self.answers else self.stored
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    async def send(
        self,
        records: Sequence[Send],
        places: Sequence[tuple[str, int]],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        *,
        alone: bool = False,
    ) -> None:
        end = self.sends.popleft() if self.sends else None
        if end is not None:
            raise end
        culprits: dict[int, Refusal] = {
            index: Refusal(10) for index, each in enumerate(records) if len(each.value or b"") > self.limit
        }
        if culprits:
            raise RecordsRefused(culprits if alone or self.tells else {})
        self.sent += [(record.value, place) for record, place in zip(records, places, strict=True)]
        self.stored |= offsets


def job_over(broker: PlayedBroker) -> Job:
    settings = load_settings(EXAMPLE, {"BISUPERVISED_REMOTE__API_KEY": "key"})
    job = Job(settings, "replay-one", [A, B], "requests", 2**62)
    played: Any = broker
    job._sender = job._coordinator = played
    return job


async def opened(broker: PlayedBroker) -> Job:
    job = job_over(broker)
    await job.open()
    return job


def send(value: bytes | None, partition: int | None = 0, key: bytes | None = None) -> Send:
    return Send("requests", partition, key, value, (), 1_700_000_000_000)


@on_virtual_time
async def test_it_begins_with_what_is_committed_for_good() -> None:
    broker = PlayedBroker({A: FIRST}, answers=deque([Lost("starting"), Unsettled(), {A: SECOND}]))
    assert await job_over(broker).open() == {A: SECOND}
    assert broker.opened == 3, "what hangs is ended again before it is asked again"
    assert all(broker.asked_for_stable)


@on_virtual_time
async def test_whoever_only_looks_takes_what_there_is() -> None:
    broker = PlayedBroker({A: FIRST})
    assert await job_over(broker).committed() == {A: FIRST}
    assert (broker.opened, broker.asked_for_stable) == (0, [False])


@on_virtual_time
async def test_no_progress_is_not_believed_where_a_run_was_before() -> None:
    """A coordinator that is loading its log may not know it yet; the job would begin anew."""
    broker = PlayedBroker(answers=deque([{}, {}, {A: FIRST}]), followed_another=True)
    assert await job_over(broker).open() == {A: FIRST}
    with pytest.raises(Interrupted, match="take another name"):
        await job_over(PlayedBroker(followed_another=True)).open()
    assert await job_over(PlayedBroker()).open() == {}


@on_virtual_time
async def test_after_the_first_commit_of_all_comes_another_producer() -> None:
    """So a run that dies in its first transaction can be told from one whose progress is lost."""
    broker = PlayedBroker(first=True)
    job = await opened(broker)
    await job.commit([], {A: FIRST})
    assert broker.opened == 2
    broker.taken = True
    with pytest.raises(Superseded):
        await job.commit([], {A: SECOND})
    assert broker.opened == 2, "one that took over meanwhile is not fenced"


@on_virtual_time
async def test_a_broker_that_went_away_and_came_back_between_two_transactions_is_gone_on_with() -> None:
    broker = PlayedBroker({A: FIRST})
    job = await opened(broker)
    await job.commit([send(b"1")], {A: SECOND})
    broker.sends.append(Disconnected())
    broker.answers += [Lost("starting"), {A: FIRST}, {A: SECOND}]
    assert await job.commit([send(b"2")], {B: FIRST}) == []
    assert [value for value, _ in broker.sent] == [b"1", b"2"]
    assert broker.opened == 4


@pytest.mark.parametrize("found", [{A: OffsetAndMetadata(9, "another")}, {A: SECOND, B: FIRST}])
@on_virtual_time
async def test_whoever_went_on_meanwhile_has_the_job(found: dict[TopicPartition, OffsetAndMetadata]) -> None:
    broker = PlayedBroker({A: SECOND})
    job = await opened(broker)
    broker.sends.append(Disconnected())
    broker.answers.append(found)
    with pytest.raises(Superseded):
        await job.commit([send(b"1")], {A: SECOND})
    assert broker.sent == []


@on_virtual_time
async def test_a_run_that_took_over_is_not_fenced() -> None:
    broker = PlayedBroker({A: FIRST})
    job = await opened(broker)
    broker.sends.append(Disconnected())
    broker.taken = True
    with pytest.raises(Superseded):
        await job.commit([send(b"1")], {A: SECOND})
    assert broker.opened == 1


def from_(cause: Exception) -> Lost:
    error = Lost(repr(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "raised", "told"),
    [
        (from_(ProducerFenced()), Interrupted, r"transaction timeout occurred.*run it again"),
        (from_(TimeoutError()), Interrupted, r"\(TimeoutError\): run it again"),
    ],
)
@on_virtual_time
async def test_what_is_lost_on_the_way_ends_the_run(error: Exception, raised: type[Exception], told: str) -> None:
    broker = PlayedBroker({A: FIRST}, sends=deque([error]))
    job = await opened(broker)
    with pytest.raises(raised, match=told):
        await job.commit([send(b"1")], {A: SECOND})
    assert broker.sent == []


@pytest.mark.parametrize("tells", [True, False])
@on_virtual_time
async def test_records_that_are_too_large_are_named_and_nothing_is_committed(tells: bool) -> None:
    broker = PlayedBroker(limit=3, tells=tells)
    job = await opened(broker)
    records = [send(b"123"), send(b"1234"), send(None), send(b"12345")]
    assert await job.commit(records, {A: FIRST}) == [1, 3]
    assert (broker.stored, broker.opened) == ({}, 2 if tells else 3), (
        "the sequence numbers of what is refused are missing"
    )
    assert await job.commit(records[::2], {A: FIRST}) == []
    assert broker.stored == {A: FIRST}


@on_virtual_time
async def test_a_record_goes_where_its_key_says_and_else_anywhere() -> None:
    broker = PlayedBroker()
    job = await opened(broker)
    await job.commit([send(b"1", 2, b"key"), send(b"2", None, b"key"), *[send(b"3", None)] * 3], {})
    # murmur2, as Kafka's own partitioner
    assert [place for _, place in broker.sent] == [("requests", number) for number in (2, 1, 2, 0, 1)]
