"""Which partition an outcome goes to. The hashes are those that Kafka's own test of its partitioner expects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from bisupervised.schemas.records import Outgoing, Route
from bisupervised.streams.kafka.producer import DEFAULT_MESSAGE_BYTES
from bisupervised.streams.plane.sending.routing import Router, Routing
from support.virtual_time import on_virtual_time

#: org.apache.kafka.common.utils.UtilsTest.testMurmur2, signed 32-bit
MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
MANY = 2**31 - 1  # so many partitions that a partition's number tells the hash


IN = "requests"
TOPICS: dict[Route, str] = {"results": "out-results", "fallback": "out-fallback"}


class FakeProducer:
    """Knows how many partitions a topic has."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.counts[topic]))


class AskedTogether:
    """Answers when it has been asked for all topics, as a client does that asks the broker for all of them at once."""

    def __init__(self, topics: int) -> None:
        self._all = asyncio.Barrier(topics)

    async def partitions_for(self, _topic: str) -> set[int]:
        async with asyncio.timeout(1.0):
            await self._all.wait()
        return {0, 1}


@on_virtual_time
async def test_all_topics_are_asked_for_in_one_question() -> None:
    assert await Router(TOPICS, IN).learn(AskedTogether(1 + len(TOPICS))) == Routing(2, dict.fromkeys(TOPICS, 2))


async def learned(router: Router, sources: int, results: int, fallback: int) -> Routing:
    producer: Any = FakeProducer({IN: sources, "out-results": results, "out-fallback": fallback})
    return await router.learn(producer)


async def routing(sources: int, results: int, fallback: int) -> Routing:
    return await learned(Router(TOPICS, IN), sources, results, fallback)


def outcome(to: Route, key: bytes | None) -> Outgoing:
    return Outgoing(to, key, b"", (), 0)


@pytest.mark.parametrize(("key", "expected"), MURMUR2.items())
def test_a_key_has_the_hash_that_javas_client_gives_it(key: bytes, expected: int) -> None:
    made = Routing(4, {"results": MANY})
    assert made.partition(outcome("results", key), 0) == (expected & 0x7FFFFFFF) % MANY


async def test_as_many_partitions_keep_the_records_own() -> None:
    made = await routing(4, 4, 8)
    for source in range(4):
        assert made.partition(outcome("results", b"foobar"), source) == source
        assert made.partition(outcome("results", None), source) == source


async def test_other_counts_hash_the_key_wherever_it_came_from() -> None:
    made = await routing(4, 4, 8)
    found = {made.partition(outcome("fallback", b"foobar"), source) for source in range(4)}
    assert found == {(MURMUR2[b"foobar"] & 0x7FFFFFFF) % 8}


async def test_records_without_a_key_are_spread_by_their_source() -> None:
    made = await routing(4, 3, 1)
    assert [made.partition(outcome("results", None), source) for source in range(4)] == [0, 1, 2, 0]
    assert [made.partition(outcome("fallback", b"foobar"), source) for source in range(4)] == [0, 0, 0, 0]


async def test_what_can_be_reached_is_ones_own_partition_or_every_one_of_a_hashed_topic() -> None:
    router = Router(TOPICS, IN)
    made = await learned(router, 2, 2, 3)
    reachable = {TopicPartition("out-results", 1), *(TopicPartition("out-fallback", number) for number in range(3))}
    assert set(router.reachable(made, 1)) == reachable
    assert len(router.reachable(made, 1)) == len(reachable)


async def test_whatever_goes_out_goes_where_it_was_said_to_be_reachable() -> None:
    router = Router(TOPICS, IN)
    made = await learned(router, 4, 4, 7)
    for source in range(4):
        for key in (None, *MURMUR2):
            for to, topic in TOPICS.items():
                place = TopicPartition(topic, made.partition(outcome(to, key), source))
                assert place in router.reachable(made, source)


def test_an_empty_key_is_a_key() -> None:
    made = Routing(4, {"results": 7})
    assert len({made.partition(outcome("results", b""), source) for source in range(4)}) == 1


def test_limits_are_the_brokers_default_unless_told() -> None:
    assert Router({"results": "r"}, IN).limits == {"results": DEFAULT_MESSAGE_BYTES}
    assert Router({"results": "r"}, IN, {"results": 10}).limits == {"results": 10}


async def test_partitions_added_to_the_input_alone_are_hashed_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The others have no partition of these numbers: there was no outcome, and no end to the tries."""
    router = Router(TOPICS, IN)
    router.use(await learned(router, 4, 4, 4))
    assert caplog.records == []
    for _ in range(2):
        made = router.use(await learned(router, 8, 4, 8))
    assert made.partition(outcome("results", b"foobar"), 6) == (MURMUR2[b"foobar"] & 0x7FFFFFFF) % 4
    assert made.partition(outcome("fallback", b"foobar"), 6) == 6
    (told,) = caplog.records
    assert told.__dict__["action"] == "partitions_differ"
    assert told.getMessage().startswith("requests has 8 partitions, out-results 4: ")


async def test_where_all_have_grown_a_running_worker_keeps_the_partition_as_a_new_one_does() -> None:
    router = Router(TOPICS, IN)
    router.use(await learned(router, 4, 4, 4))
    made = router.use(await learned(router, 8, 8, 8))
    assert [made.partition(outcome("results", b"foobar"), source) for source in range(8)] == list(range(8))


async def test_what_could_be_reached_before_partitions_were_added_still_counts() -> None:
    """A last transaction went there, and may have to be ended again."""
    router = Router(TOPICS, IN)
    router.use(await learned(router, 8, 4, 8))
    now = await learned(router, 8, 8, 8)
    found = router.reachable(now, 6)
    assert [place.partition for place in found if place.topic == "out-results"] == [0, 1, 2, 3, 6]
    made_anew = await learned(router, 2, 2, 2)
    assert {place.partition for place in router.reachable(made_anew, 1)} == {0, 1}, "none that is not there"
