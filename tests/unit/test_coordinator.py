"""The connection over which one group's coordinators are asked: one that hangs is given up, and another opened."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NotLeaderForPartitionError
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.deadline import within
from bisupervised.streams.kafka.errors import Lost
from bisupervised.streams.kafka.requests import Bounds
from bisupervised.streams.plane.sending import coordinator
from bisupervised.streams.plane.sending.coordinator import Coordinator
from support.virtual_time import on_virtual_time


class Client:
    """A connection whose questions hang, where it is told to."""

    made: list[Client]
    hang = True

    def __init__(self, **_: Any) -> None:
        self.closed = False
        self.made.append(self)

    async def bootstrap(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        if self.hang and len(self.made) == 1:
            await asyncio.Event().wait()
        return {0, 1}


@pytest.fixture(autouse=True)
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    Client.made = []
    monkeypatch.setattr(coordinator, "AskingClient", Client)
    return Client.made


async def patiently(asked: Coordinator, patience_s: float) -> None:
    async with within(patience_s):
        await asked.partitions_for("topic")


@pytest.mark.parametrize("patience_s", [3.0, 30.0])
def test_a_connection_that_hangs_is_given_up_whoever_gives_up_waiting(patience_s: float, clients: list[Client]) -> None:
    """The deadline of the question, or the one that its asker shares between several."""

    @on_virtual_time
    async def scenario() -> None:
        asked = Coordinator(Connection("nowhere:9092"), "group")
        with pytest.raises(Lost):
            await patiently(asked, patience_s)
        assert await asked.partitions_for("topic") == {0, 1}
        await asyncio.sleep(0)
        assert [client.closed for client in clients] == [True, False]
        await asked.close()

    scenario()


@on_virtual_time
async def test_one_question_that_fails_late_leaves_the_connection_of_the_others_alone(clients: list[Client]) -> None:
    asked = Coordinator(Connection("nowhere:9092"), "group")
    first, late = (asyncio.create_task(asked.partitions_for("topic")) for _ in range(2))
    await asyncio.sleep(5.0)
    first.cancel()
    await asyncio.sleep(0)
    assert await asked.partitions_for("topic") == {0, 1}
    with pytest.raises(Lost):
        await late
    assert await asked.partitions_for("topic") == {0, 1}
    assert [client.closed for client in clients] == [True, False]
    await asked.close()


class Leaders(Client):
    """A broker that leads every partition. It notes what it is asked, and by whom it was known then."""

    hang = False
    cluster = SimpleNamespace(leader_for_partition=lambda tp: 0)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.known: set[str] = set()
        self.asked: list[tuple[int, list[Any]]] = []
        self.new = 0  # questions to a leader that has just begun to lead, and does not know it yet
        self.looks = 0

    async def force_metadata_update(self) -> None:
        self.looks += 1

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        await asyncio.sleep(1.0)
        self.known.add(topic)
        return {0}

    async def send(self, node: int, request: Any) -> Any:
        _, isolation, topics = request._replica_id, request._isolation_level, request._topics
        assert {topic for topic, _ in topics} <= self.known
        self.asked.append((isolation, topics))
        error = NotLeaderForPartitionError.errno if len(self.asked) <= self.new else 0
        return SimpleNamespace(
            topics=[
                (topic, [(number, error, -1, 3 if which == -2 else 9) for number, which in places])
                for topic, places in topics
            ]
        )


@on_virtual_time
async def test_where_partitions_end_is_asked_when_all_their_topics_are_known_which_takes_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coordinator, "AskingClient", Leaders)
    asked, places = Coordinator(Connection("nowhere:9092"), "group"), [TopicPartition(name, 0) for name in "abc"]
    began = asyncio.get_running_loop().time()
    assert await asked.bounds(places) == dict.fromkeys(places, Bounds(3, 9))
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.0)
    [leaders] = Leaders.made
    assert [isolation for isolation, _ in leaders.asked] == [1, 1], "what is committed"  # type: ignore[attr-defined]
    await asked.close()


@on_virtual_time
async def test_a_leader_that_has_just_begun_to_lead_is_asked_again_over_the_same_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fresh(Leaders):
        async def bootstrap(self) -> None:
            self.new = 3

    monkeypatch.setattr(coordinator, "AskingClient", Fresh)
    asked, place = Coordinator(Connection("nowhere:9092"), "group"), TopicPartition("a", 0)
    assert await asked.bounds([place]) == {place: Bounds(3, 9)}
    [leaders] = Leaders.made
    assert leaders.looks == 2  # type: ignore[attr-defined]
    await asked.close()


@on_virtual_time
async def test_steps_share_one_deadline() -> None:
    async def steps() -> None:
        async with within(10.0):
            await asyncio.sleep(6.0)
            await asyncio.sleep(6.0)

    began = asyncio.get_running_loop().time()
    with pytest.raises(Lost, match="within 10 s"):
        await steps()
    assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)
