"""Which outcomes tell that an agent worked here before: its own ones, and those that are gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from bisupervised.schemas.avro import ResultEncoder
from bisupervised.schemas.codec import fall_back, forward, publish
from bisupervised.schemas.records import Facts, Outgoing, Result, Source, Verdict
from bisupervised.streams.flow import AGENTS, steps
from bisupervised.streams.kafka.errors import Lost
from bisupervised.streams.kafka.requests import Bounds
from bisupervised.streams.plane.witness import worked_before
from bisupervised.streams.settings.file import load_settings
from support.records import Record
from support.virtual_time import on_virtual_time

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "remote" / "open_inference.toml"
SETTINGS = load_settings(EXAMPLE, {"BISUPERVISED_REMOTE__API_KEY": "key"})
A, B = TopicPartition("results", 0), TopicPartition("fallback", 0)
OURS, FOREIGN = Source(SETTINGS.topics.requests, 0, 7), Source("of another pipeline", 0, 7)


class Log:
    """A consumer over partitions: where each begins, and its records; None is a marker."""

    def __init__(self, **logs: tuple[int, list[bytes | None]]) -> None:
        self._logs = {TopicPartition(topic, 0): log for topic, log in logs.items()}
        self._positions: dict[TopicPartition, int] = {}
        self.started = self.stopped = 0
        self.error: Exception | None = None
        self.denied: tuple[str, ...] = ()

    @property
    def bounds(self) -> dict[TopicPartition, Bounds]:
        return {tp: Bounds(begin, begin + len(values)) for tp, (begin, values) in self._logs.items()}

    async def start(self) -> None:
        self.started += 1
        if self.error:
            raise self.error

    async def stop(self) -> None:
        self.stopped += 1

    def assign(self, places: list[TopicPartition]) -> None:
        self._positions = dict.fromkeys(places, -1)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._positions[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._positions[tp]

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        found = {}
        for topic in {tp.topic for tp in self._positions} & set(self.denied):
            raise TopicAuthorizationFailedError(topic)
        for tp, position in self._positions.items():
            begin, values = self._logs[tp]
            rest = list(enumerate(values, begin))[position - begin :][:100]
            found[tp] = [Record(value, offset, tp.topic) for offset, value in rest if value is not None]
            self._positions[tp] = position + len(rest)
        if not any(found.values()):  # markers alone are no reason for a client to answer before the time
            await asyncio.sleep(timeout_ms / 1000)
        return found


class Ours:
    """An agent that knows what it wrote."""

    def wrote(self, record: Any) -> bool:
        return bool(record.value == b"ours")


async def worked(log: Log) -> bool:
    return await worked_before(log.bounds, lambda: log, Ours())


async def test_fresh_topics_cost_no_second_consumer() -> None:
    log = Log(results=(0, []), fallback=(0, []))
    assert not await worked(log)
    assert log.started == 0


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (Log(results=(0, [b"foreign", b"ours"]), fallback=(0, [])), True),
        (Log(results=(0, [b"foreign"] * 300), fallback=(0, [None])), False),
        (Log(results=(0, [None] * 3), fallback=(0, [None])), False),  # markers of who took over
        (Log(results=(5, []), fallback=(0, [])), True),  # all that was there is gone
        (Log(results=(5, [b"foreign"]), fallback=(0, [])), False),
        (Log(results=(0, [b"ours", *[b"foreign"] * 1000]), fallback=(0, [])), False),  # the last ones are looked at
        (Log(results=(0, [b"ours", *[b"foreign"] * 999]), fallback=(0, [])), True),
    ],
)
async def test_the_last_records_tell_and_so_does_a_topic_that_is_empty_by_now(log: Log, expected: bool) -> None:
    assert await worked(log) is expected
    assert log.started == log.stopped


@on_virtual_time
async def test_markers_alone_do_not_hold_up_the_start() -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    assert not await worked(Log(results=(0, [None]), fallback=(0, [None])))
    assert clock() - began < 0.1


@pytest.mark.parametrize(
    ("denied", "ours", "expected"),
    [
        (("results", "fallback"), b"ours", False),  # markers of a transaction may be all that is there
        (("fallback",), b"foreign", False),
        (("fallback",), b"ours", True),  # the other one tells
    ],
)
async def test_outcomes_that_may_not_be_read_tell_nothing(denied: tuple[str, ...], ours: bytes, expected: bool) -> None:
    log = Log(results=(0, [ours]), fallback=(0, [b"ours"]))
    log.denied = denied
    assert await worked(log) is expected


async def test_a_broker_that_does_not_answer_is_asked_again() -> None:
    log = Log(results=(0, [b"ours"]), fallback=(0, []))
    log.error = KafkaConnectionError("away")
    with pytest.raises(Lost):
        await worked(log)


def lies(outcome: Outgoing) -> Any:
    """An outcome as it lies in its topic."""
    return Record(outcome.value, 0, SETTINGS.topics.name_of(outcome.to), headers=outcome.headers)


def result(source: Source, answered_by: Any, remote: Verdict | None = None) -> Any:
    return lies(publish(Record(b"", 0, "requests"), Result(source, 1, answered_by, 0.9, 0.5, remote=remote)))


def in_avro(source: Source, answered_by: Any, remote: Verdict | None = None) -> Any:
    made = Result(source, 1, answered_by, 0.9, 0.5, remote=remote)
    return lies(publish(Record(b"", 0, "requests"), made, ResultEncoder(7)))


def fallen(source: Source, agent: str) -> Any:
    return lies(fall_back(Record(b"", 0, "requests"), Facts(source), "timeout", "late", agent))


VERDICT = Verdict(1, 0.9)


@pytest.mark.parametrize(
    ("record", "by"),
    [
        (result(OURS, "local"), AGENTS[:1]),
        (result(OURS, "remote"), AGENTS),
        (result(OURS, "local", VERDICT), AGENTS),  # arbitrated
        (result(FOREIGN, "remote"), ()),
        (in_avro(OURS, "local"), AGENTS[:1]),
        (in_avro(OURS, "remote"), AGENTS),
        (in_avro(OURS, "local", VERDICT), AGENTS),
        (in_avro(FOREIGN, "remote"), ()),
        (Record(b"\0\0\0\0\7not ours", 0, SETTINGS.topics.results), ()),
        (fallen(OURS, "local"), AGENTS[:1]),
        (fallen(OURS, "remote"), AGENTS[:2]),
        (fallen(OURS, "remote_supervisor"), AGENTS),
        (fallen(FOREIGN, "remote_supervisor"), ()),
        (lies(forward(Record(b"", 0, "requests"), "doubtful", Facts(OURS))), AGENTS[:1]),
        (lies(forward(Record(b"", 0, "requests"), "answers", Facts(OURS))), AGENTS[:2]),
        (Record(b"not ours", 0, SETTINGS.topics.results), ()),
        (Record(b"not ours", 0, SETTINGS.topics.fallback), ()),
        (Record(None, 0, SETTINGS.topics.results), ()),
    ],
)
def test_an_outcome_bears_witness_for_who_wrote_it_and_who_was_there_before(record: Any, by: tuple[str, ...]) -> None:
    assert tuple(name for name, step in steps(SETTINGS).items() if step.wrote(record)) == by
