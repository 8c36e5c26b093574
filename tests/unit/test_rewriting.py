"""Where a run that rewrites a topic begins, whatever a broker that has just started says. Time is virtual."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.kafka.errors import Lost
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.offline.rewriting import OutputTopics, Rewriting, _Place
from bisupervised.streams.plane.window.marks import Progress
from bisupervised.streams.settings.file import load_settings
from support.virtual_time import on_virtual_time

TP = TopicPartition("answers", 0)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "remote" / "open_inference.toml"
PATIENCE_S = 60.0


class PlayedBroker:
    """Outbox, coordinator and consumer in one: it has forgotten what is committed for so many questions."""

    def __init__(self, stored: Progress | None, *, forgets: int = 0, first: bool = False) -> None:
        self.answers: deque[Progress | None] = deque([None] * forgets)
        self.stored = stored
        self.first = first  #: nobody ever committed
        self.opened = 0
        self.sent: list[tuple[list[Any], Progress]] = []

    @property
    def used_before(self) -> bool:
        return not self.first

    async def open(self) -> None:
        self.opened += 1
        self.first = self.first and self.stored is None

    async def send(self, outcomes: list[Any], progress: Progress) -> None:
        self.sent.append((outcomes, progress))
        self.stored = progress

    async def progress(self, tp: TopicPartition) -> Progress | None:
        return self.answers.popleft() if self.answers else self.stored

    async def topic_id(self, topic: str) -> str:
        return "id"

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 3)


async def begins_at(broker: PlayedBroker) -> int:
    played: Any = broker
    settings = load_settings(EXAMPLE, {"BISUPERVISED_REMOTE__API_KEY": "key"})
    run = Rewriting(settings, "answers", "rejudge", OutputTopics("again-results", "again-fallback"))
    policy = OutboxPolicy(Connection("nowhere:9092"), run.group, 10.0, 15.0, PATIENCE_S)
    return (await _Place(run, policy, TP, played, played)._opened(played)).offset


@on_virtual_time
async def test_a_first_run_commits_where_it_begins_before_it_writes_a_record() -> None:
    """So a run that dies in its first transaction can be told from one whose progress is lost."""
    broker = PlayedBroker(None, first=True)
    assert await begins_at(broker) == 3
    assert broker.sent == [([], Progress(3, topic_id="id"))]
    assert broker.opened == 2


@on_virtual_time
async def test_a_run_goes_on_where_the_last_one_ended() -> None:
    broker = PlayedBroker(Progress(7, topic_id="id"))
    assert await begins_at(broker) == 7
    assert (broker.sent, broker.opened) == ([], 1)


@on_virtual_time
async def test_progress_that_the_broker_has_forgotten_for_a_while_is_waited_for() -> None:
    """Begun at the first record, it would write everything a second time."""
    assert await begins_at(PlayedBroker(Progress(7, topic_id="id"), forgets=20)) == 7


@on_virtual_time
async def test_progress_that_stays_forgotten_ends_the_run() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(Lost, match="nothing is committed of answers-0, though a run has committed there"):
        await begins_at(PlayedBroker(None))
    assert asyncio.get_running_loop().time() - began >= PATIENCE_S
