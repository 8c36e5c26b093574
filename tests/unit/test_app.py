"""The application under Faust, without Kafka: what its log says from the start to the stop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterable, Iterator
from typing import Any

import faust
import pytest
from bisupervised.streams.plane.window.batch import Batch
from bisupervised.streams.settings.file import ConfigurationFile
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker import app as module
from bisupervised.streams.worker.channel import BatchChannel
from bisupervised.streams.worker.preflight import TopicFacts
from bisupervised.streams.worker.restarts import AgentRestarts
from mode import Service
from support.configurations import configuration_of
from support.logs import logging_as_it_was, written
from support.virtual_time import VirtualTimeLoop, on_virtual_time

SETTINGS: dict[str, Any] = {
    "local": {"model": "module:callable", "threshold": 0.5},
    "remote": {"url": "http://127.0.0.1", "model": "large", "threshold": 0.5},
    "web": {"enabled": False},
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is written from INFO on."""
    with logging_as_it_was():
        yield written("INFO", as_json=False)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[VirtualTimeLoop, faust.App]]:
    """The application with all its services, and with one agent, which reads from no topic."""

    async def no_broker(*_: Any) -> TopicFacts:
        return TopicFacts({}, {}, {})

    monkeypatch.setattr(module, "until_answered", no_broker)
    monkeypatch.setattr(module, "settle_heap", lambda: None)
    loop = VirtualTimeLoop()
    asyncio.set_event_loop(loop)
    app = module.create_app(configuration_of(Settings.model_validate(SETTINGS)), (), ConfigurationFile(None))
    yield loop, app
    consumer: Any = app.consumer
    consumer._thread.thread_loop.close()  # Faust makes it for its own client, used or not, and forgets it
    for task in asyncio.all_tasks(loop):  # Faust leaves some behind
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)


def live(loop: VirtualTimeLoop, app: faust.App) -> None:
    async def life() -> None:
        await app.start()
        await asyncio.sleep(5.0)
        await app.stop()

    loop.run_until_complete(life())


def test_a_worker_that_starts_and_stops_says_nothing_in_fausts_words(
    made: tuple[VirtualTimeLoop, faust.App], log: io.StringIO
) -> None:
    loop, app = made

    async def waiting(batches: AsyncIterable[Batch]) -> None:
        async for _ in batches:
            pass

    app.agent(BatchChannel(app), name="waiting", supervisor_strategy=AgentRestarts)(waiting)
    live(loop, app)
    lines = log.getvalue().splitlines()
    assert [line for line in lines if "[^" in line or "Start" in line or "Stop" in line] == []


def test_what_goes_wrong_with_a_service_is_still_told(
    made: tuple[VirtualTimeLoop, faust.App], log: io.StringIO
) -> None:
    loop, app = made
    crashes = 0

    async def crashing(batches: AsyncIterable[Batch]) -> None:
        nonlocal crashes
        if crashes < 1:
            crashes += 1
            raise RuntimeError("the cause")
        async for _ in batches:
            pass

    app.agent(BatchChannel(app), name="crashing", supervisor_strategy=AgentRestarts)(crashing)
    live(loop, app)
    assert "RuntimeError: the cause" in log.getvalue()
    assert " ERROR " in log.getvalue()
    module._App.logger.warning("of a service")
    assert "WARNING  faust.services" in log.getvalue()


def test_every_service_of_the_worker_logs_as_a_library() -> None:
    def all_of(kind: type[Service]) -> Iterator[type[Service]]:
        for inner in kind.__subclasses__():
            yield inner
            yield from all_of(inner)

    ours = [kind for kind in all_of(Service) if kind.__module__.startswith("bisupervised.")]
    assert {kind.__name__ for kind in ours} >= {"_App", "Planes", "Reloading", "AgentRestarts"}
    assert {kind.logger.name for kind in ours} == {"faust.services"}


@on_virtual_time
async def test_a_worker_that_has_stopped_ends_without_the_second_that_fausts_own_sleeps() -> None:
    took: list[float] = []
    nobody: Any = None  # it asks nothing of the worker
    for kind in (faust.Worker, module._Worker):
        began = asyncio.get_running_loop().time()
        await kind._sentinel_task(nobody)
        took.append(asyncio.get_running_loop().time() - began)
    assert took == pytest.approx([1.0, 0.05])
