"""A start waits for a broker. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bisupervised.streams.kafka.errors import BrokerUnreachable, NotLetIn
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker import preflight as module
from bisupervised.streams.worker.preflight import TopicFacts, until_answered
from support.configurations import SMALLEST, configuration_of
from support.virtual_time import on_virtual_time

FACTS = TopicFacts({}, {}, {})


def settings(start_wait_s: float) -> Settings:
    return Settings.model_validate(
        {
            "kafka": {"start_wait_s": start_wait_s},
            "local": {"model": "module:callable", "threshold": 0.5},
            "remote": {"url": "http://127.0.0.1", "model": "large", "threshold": 0.5},
        }
    )


def test_what_is_missing_is_made_by_a_command_that_reads_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "my own.toml"
    path.write_text(SMALLEST)
    told = module._missing(load_settings(path, {}), "requests")
    assert told.endswith(f"run: bisupervised topics create --config '{path}'")
    assert module._missing(settings(0.0), "requests").endswith("run: bisupervised topics create")


async def started(monkeypatch: pytest.MonkeyPatch, wait_s: float, answers: Iterator[Exception | TopicFacts]) -> Any:
    """What comes of a start, and after how many seconds."""

    async def asked(*_: Any) -> TopicFacts:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "preflight", asked)
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        found: Any = await until_answered(configuration_of(settings(wait_s)), [])
    except BrokerUnreachable as error:
        found = error
    return found, round(clock() - began)


def away() -> Iterator[Exception | TopicFacts]:
    while True:
        yield BrokerUnreachable("no broker")


@on_virtual_time
async def test_it_begins_when_one_answers() -> None:
    with pytest.MonkeyPatch.context() as patch:
        answers: list[Exception | TopicFacts] = [BrokerUnreachable("no broker"), BrokerUnreachable("no broker"), FACTS]
        assert await started(patch, 60.0, iter(answers)) == (FACTS, 2)


@pytest.mark.parametrize("wait_s", [0.0, 5.0, 60.0])
def test_it_gives_up_after_the_settings_time(wait_s: float) -> None:
    @on_virtual_time
    async def scenario() -> None:
        with pytest.MonkeyPatch.context() as patch:
            found, seconds = await started(patch, wait_s, away())
            assert isinstance(found, BrokerUnreachable)
            assert seconds == wait_s

    scenario()


@on_virtual_time
async def test_it_does_not_wait_where_it_is_not_let_in() -> None:
    with pytest.MonkeyPatch.context() as patch:
        found, seconds = await started(patch, 60.0, iter([NotLetIn("wrong password")]))
        assert isinstance(found, NotLetIn)
        assert seconds == 0
