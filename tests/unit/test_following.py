"""The reader of the topic, over a broker that is there, away, and back. Time is virtual."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from bisupervised.schemas.versions import ThresholdsEntry, encode_version
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.versions import following
from bisupervised.streams.versions.following import Follower
from bisupervised.streams.versions.in_force import InForce
from support.records import Record
from support.versions import PIPELINE, TERMS, chosen
from support.virtual_time import on_virtual_time

PLACE = TopicPartition("thresholds", 0)


@dataclass
class Broker:
    """One partition, and what befalls whoever asks."""

    records: list[Record] = field(default_factory=list)
    away: BaseException | None = None  #: raised by every question
    silent: bool = False  #: answers nothing at all
    deaf: bool = False  #: clients that are opened now never deliver anything, whatever they are told of the end
    opened: int = 0

    def write(self, *entries: ThresholdsEntry) -> None:
        for entry in entries:
            self.records.append(Record(encode_version(entry), len(self.records), topic=PLACE.topic))

    async def ask(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.away is not None:
            raise self.away


class Consumer:
    """What the follower asks of aiokafka's consumer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._at = 0
        self._deaf = broker.deaf

    async def start(self) -> None:
        await self._broker.ask()
        self._broker.opened += 1

    async def stop(self) -> None:
        return

    def assign(self, places: list[TopicPartition]) -> None:
        assert places == [PLACE]

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._at = offset

    async def position(self, place: TopicPartition) -> int:
        return self._at

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        await self._broker.ask()
        return {PLACE: 0}

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        await self._broker.ask()
        return {PLACE: len(self._broker.records)}

    async def getmany(self, place: TopicPartition, *, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        """As the client does: a broker that is away looks like one that has nothing."""
        nothing = self._broker.away or self._broker.silent or self._deaf
        found = [] if nothing else self._broker.records[self._at : self._at + 2]
        if not found:
            await asyncio.sleep(timeout_ms / 1000)
        self._at += len(found)
        return {PLACE: found} if found else {}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()

    def consumer(**options: Any) -> Consumer:
        assert (options["isolation_level"], options["auto_offset_reset"]) == ("read_committed", "none")
        return Consumer(made)

    monkeypatch.setattr(following, "AIOKafkaConsumer", consumer)
    monkeypatch.setattr(following, "check_client", lambda _: None)
    return made


def follower() -> Follower:
    return Follower(Connection("127.0.0.1:1"), PLACE.topic, InForce(PIPELINE, TERMS))


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(getattr(record, "action", "")) for record in caplog.records]


@on_virtual_time
async def read_to_the_end(broker: Broker) -> None:
    first = chosen([], 4)
    second = chosen([first], 1)
    third = chosen([first, second], 2)
    broker.write(first, second, third)
    one = follower()
    await one.settled()
    assert one.in_force.terms.version == third.version, "no former one has judged meanwhile"
    broker.write(chosen([first, second, third], 4))
    await asyncio.sleep(2.0)
    assert one.in_force.terms.local.threshold == 0.9
    await one.close()


def test_it_reads_to_the_end_before_anything_is_judged_and_goes_on(broker: Broker) -> None:
    read_to_the_end(broker)


@pytest.mark.parametrize("how", ["away", "silent", "denied"])
def test_a_topic_that_cannot_be_read_at_the_start_is_waited_for(
    broker: Broker, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO)
    entry = chosen([], 4)
    broker.write(entry)
    broker.silent = how == "silent"
    denied = TopicAuthorizationFailedError(PLACE.topic)
    broker.away = {"away": KafkaConnectionError("gone"), "denied": denied}.get(how)

    @on_virtual_time
    async def scenario() -> None:
        one = follower()
        waiting = asyncio.ensure_future(one.settled())
        await asyncio.sleep(3600.0)
        assert not waiting.done(), "it never falls back to the file"
        assert not one.in_force.settled
        assert one.in_force.waits_for.startswith("the topic of thresholds is not read yet: ")
        assert ("does not allow Read" in one.in_force.waits_for) == (how == "denied")
        assert actions(caplog) == ["versions_lost"]
        broker.away, broker.silent = None, False
        await waiting
        assert one.in_force.terms.version == entry.version
        assert actions(caplog) == ["versions_lost", "versions_found", "version_taken"]
        await one.close()

    scenario()


@pytest.mark.parametrize("empty", [False, True])
def test_a_client_that_delivers_nothing_of_what_is_there_is_opened_anew(
    broker: Broker, caplog: pytest.LogCaptureFixture, empty: bool
) -> None:
    """Its broker answers where the topic ends: so one tells that there is something. At the start, and later on."""
    caplog.set_level(logging.INFO)
    entry = chosen([], 4)
    if not empty:
        broker.write(entry)
    broker.deaf = True

    @on_virtual_time
    async def scenario() -> None:
        one = follower()
        waiting = asyncio.ensure_future(one.settled())
        await asyncio.sleep(1.0)
        assert waiting.done() == empty
        if empty:
            broker.write(entry)
        broker.deaf = False
        await asyncio.sleep(60.0)
        assert one.in_force.terms.version == entry.version
        assert actions(caplog)[0] == "versions_lost"
        assert broker.opened == 2
        await one.close()

    scenario()


@pytest.mark.parametrize("how", ["away", "silent"])
def test_one_that_is_lost_leaves_the_last_version_until_it_is_back(
    broker: Broker, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO)
    entry = chosen([], 4)
    broker.write(entry)

    @on_virtual_time
    async def scenario() -> None:
        one = follower()
        await one.settled()
        broker.away, broker.silent = (KafkaConnectionError("gone") if how == "away" else None), how == "silent"
        await asyncio.sleep(60.0)
        assert one.in_force.lost
        assert (one.in_force.settled, one.in_force.terms.version) == (True, entry.version)
        assert one.in_force.statistics()["lost"] == one.in_force.lost
        following_one = chosen([entry], 1)
        broker.write(following_one)
        broker.away, broker.silent = None, False
        await asyncio.sleep(30.0)
        assert one.in_force.lost == ""
        assert one.in_force.terms.version == following_one.version
        assert actions(caplog) == ["version_taken", "versions_lost", "versions_found", "version_taken"]
        await one.close()

    scenario()


def test_what_is_no_version_is_passed_over(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    entry = chosen([], 4)
    broker.records = [Record(b"{}", 0, topic=PLACE.topic), Record(None, 1, topic=PLACE.topic)]
    broker.write(entry)

    @on_virtual_time
    async def scenario() -> None:
        one = follower()
        await one.settled()
        assert one.in_force.terms.version == entry.version
        assert one.in_force.unreadable == 2
        assert actions(caplog) == ["version_unreadable"] * 2
        await one.close()

    scenario()


def test_it_stops_while_it_waits(broker: Broker) -> None:
    broker.silent = True

    @on_virtual_time
    async def scenario() -> None:
        one = follower()
        waiting = asyncio.ensure_future(one.settled())
        await asyncio.sleep(1.0)
        await one.close()
        assert not waiting.done()
        waiting.cancel()

    scenario()
