"""How often the clients of a process ask who leads what. Time is virtual."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from itertools import pairwise
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from bisupervised.streams.kafka import metadata
from bisupervised.streams.kafka.metadata import Pace, Turns
from support.virtual_time import on_virtual_time


def times(pace: Pace, until: float, every: float = 0.001) -> list[float]:
    """When one asks that wants to know again as soon as it is answered."""
    found, now = [], 0.0
    while now < until:
        now += pace.rest_s(now)
        pace.asks(now)
        found.append(now)
        now += every
    return found


def test_the_first_goes_out_at_once_and_the_others_after_longer_and_longer_rests() -> None:
    found = times(Pace(), 6.0)
    rests = [round(after - before, 2) for before, after in pairwise(found)]
    assert rests[:6] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_after_a_calm_one_goes_out_at_once() -> None:
    pace = Pace()
    last = times(pace, 20.0)[-1]
    assert pace.rest_s(last + 0.5) > 0.0
    assert pace.rest_s(last + 5.1) == 0.0


def test_a_client_that_asks_now_and_then_never_waits() -> None:
    pace = Pace()
    for minute in range(10):
        assert pace.rest_s(300.0 * minute) == 0.0
        pace.asks(300.0 * minute)


def test_a_question_about_another_topic_is_a_first_one() -> None:
    pace = Pace()
    pace.asks(0.0, {"a"})
    assert pace.rest_s(0.001, {"a"}) > 0.0
    assert pace.rest_s(0.001, {"a", "b"}) == 0.0
    pace.asks(0.001, {"a", "b"})
    assert pace.rest_s(0.002, {"a", "b"}) > 0.0
    assert pace.rest_s(0.002, {"a"}) > 0.0, "what was asked before is asked again"


def test_turns_come_one_after_the_other_and_none_is_kept_for_later() -> None:
    turns = Turns()
    assert [round(turns.take_s(10.0), 2) for _ in range(3)] == [0.0, 0.04, 0.08]
    assert turns.take_s(20.0) == 0.0


class Asking:
    """Clients of a process that all want to know, again and again: a node is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[float] = []
        monkeypatch.setattr(metadata, "_ask", self._ask)
        monkeypatch.setattr(metadata, "_turns", Turns())
        monkeypatch.setattr(AIOKafkaClient, "_metadata_update", metadata._paced)

    async def _ask(self, *_: Any) -> bool:
        self.asked.append(asyncio.get_running_loop().time())
        return True

    async def run(self, clients: int, seconds: float) -> list[int]:
        """How many questions each of them asks."""
        made = [AIOKafkaClient() for _ in range(clients)]
        counts = [0] * clients

        async def want(index: int) -> None:
            while True:
                await made[index]._metadata_update(made[index].cluster, set())
                counts[index] += 1
                await asyncio.sleep(0.001)

        wanting = [asyncio.create_task(want(index)) for index in range(clients)]
        await asyncio.sleep(seconds)
        for task in wanting:
            task.cancel()
        await asyncio.gather(*wanting, return_exceptions=True)
        for client in made:
            await client.close()
        return counts

    def most_in_a_second(self) -> int:
        return max(bisect_left(self.asked, since + 1.0) - index for index, since in enumerate(self.asked))


@on_virtual_time
async def test_a_client_that_gets_to_know_topic_after_topic_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    asking = Asking(monkeypatch)
    client = AIOKafkaClient()
    topics: set[str] = set()
    for topic in "abcd":
        topics.add(topic)  # the client keeps one set, and adds to it
        await client._metadata_update(client.cluster, topics)
    assert asking.asked == [asking.asked[0]] * 4
    await client.close()


@pytest.mark.parametrize("clients", [1, 12, 24, 100])
@on_virtual_time
async def test_all_clients_of_a_process_ask_once_each_and_25_times_a_second_together(
    clients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with four partitions of each agent has a dozen: it asks less than 50 times in its worst second."""
    asking = Asking(monkeypatch)
    counts = await asking.run(clients, 60.0)
    assert asking.most_in_a_second() <= clients + 26
    later = [now for now in asking.asked if now > asking.asked[0] + 1.0]
    assert len(later) <= 59 * 26
    assert min(counts) >= 60 * 25 // (2 * clients) or min(counts) >= 59, "and each of them goes on asking"
