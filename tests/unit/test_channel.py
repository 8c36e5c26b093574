"""The channel under a real Faust app, without Kafka: what an agent drops by crashing comes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from typing import Any

import faust
import pytest
from bisupervised.streams.plane.window.batch import Batch
from bisupervised.streams.plane.window.window import Window
from bisupervised.streams.worker.app import _App, _Boot
from bisupervised.streams.worker.channel import BatchChannel
from bisupervised.streams.worker.restarts import AgentRestarts
from support.virtual_time import VirtualTimeLoop
from support.windows import answers, log, make_window, window_policy

Body = Callable[[AsyncIterable[Batch]], Awaitable[None]]
Scenario = Callable[[faust.App, BatchChannel], Awaitable[None]]
Prepare = Callable[[BatchChannel], None]


class Feeder:
    """As much of the data plane as a channel needs: a window that is emptied into it, batch by batch."""

    def __init__(self, channel: BatchChannel, window: Window, batch_records: int = 2) -> None:
        self.channel = channel
        self.window = window
        self.done = asyncio.Event()
        self.sent: list[bytes | None] = []
        self._batch_records = batch_records
        self._now = 0.0
        channel.on_taken = self.pump

    def pump(self) -> None:
        self._now += 1.0  # every redelivery is due
        while not self.channel.full and (lease := self.window.take(self._batch_records, self._now)):
            assert self.channel.offer(Batch([lease], lambda: self._now, self.pump))
        plan = self.window.plan()
        self.sent += [outcome.value for outcome in plan.outcomes]
        self.window.committed(plan)
        if not self.window.unfinished:
            self.done.set()


def make_app() -> faust.App:
    """Where no loop runs, as in `create_app`: Faust looks at source files."""
    app = _App("channel-test", broker="kafka://unused", web_enabled=False, autodiscover=False)
    app.boot_strategy = _Boot(app)
    return app


def with_agent(body: Body) -> tuple[faust.App, BatchChannel]:
    """An app whose only agent has this body."""
    app = make_app()
    channel = BatchChannel(app)
    app.agent(channel, name="tested", supervisor_strategy=AgentRestarts)(body)
    return app, channel


@pytest.fixture
def channel() -> BatchChannel:
    """Made where no loop runs, see `make_app`."""
    return BatchChannel(make_app())


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    """Made before the app, which looks for one, as `run_worker` does."""
    made = VirtualTimeLoop()
    asyncio.set_event_loop(made)
    yield made
    for task in asyncio.all_tasks(made):  # Faust leaves some behind
        task.cancel()
    made.run_until_complete(asyncio.sleep(0.1))
    made.run_until_complete(made.shutdown_asyncgens())
    made.close()
    asyncio.set_event_loop(None)


def live(loop: VirtualTimeLoop, body: Body, scenario: Scenario, prepare: Prepare | None = None) -> None:
    """The life of an app with this agent: prepared, started, put through the scenario, stopped."""
    app, channel = with_agent(body)
    if prepare is not None:
        prepare(channel)

    async def life() -> None:
        async with asyncio.timeout(200.0):
            await app.start()
            try:
                await scenario(app, channel)
            finally:
                await app.stop()

    try:
        loop.run_until_complete(life())
    finally:
        thread: Any = app.consumer
        thread._thread.thread_loop.close()  # Faust makes it for its own client, used or not, and forgets it


def one_batch() -> Batch:
    window = make_window()
    window.add(log(0))
    lease = window.take(1, 0.0)
    assert lease is not None
    return Batch([lease], lambda: 0.0, lambda: None)


async def test_a_full_channel_says_no_and_keeps_what_it_has(channel: BatchChannel) -> None:
    first, second = one_batch(), one_batch()
    assert not channel.full
    assert channel.offer(first)
    assert channel.full
    assert not channel.offer(second)
    assert channel.queue.get_nowait() is first
    assert channel.offer(second)


async def test_on_taken_is_called_after_the_agent_took_a_batch(channel: BatchChannel) -> None:
    free = []
    channel.on_taken = lambda: free.append(not channel.full)
    channel.offer(one_batch())
    assert free == []
    channel.queue.get_nowait()
    await asyncio.sleep(0)
    assert free == [True]


def test_every_clone_is_the_channel_itself(channel: BatchChannel) -> None:
    assert channel.clone(is_iterator=True) is channel
    assert channel.clone_using_queue(channel.queue) is channel


async def answering(batches: AsyncIterable[Batch]) -> None:
    async for batch in batches:
        with batch:
            await asyncio.sleep(0)
            batch.resolve(answers(batch.records))


def test_an_agent_gets_every_batch(loop: VirtualTimeLoop) -> None:
    window = make_window()
    window.add(log(*range(200)))

    async def scenario(app: faust.App, channel: BatchChannel) -> None:
        feeder = Feeder(channel, window)
        feeder.pump()
        await feeder.done.wait()
        assert feeder.sent == [b"answer %d" % offset for offset in range(200)]

    live(loop, answering, scenario)


def test_what_was_offered_before_the_agent_started_is_not_lost(loop: VirtualTimeLoop) -> None:
    window = make_window()
    window.add(log(0, 1, 2))
    feeders: list[Feeder] = []

    def prepare(channel: BatchChannel) -> None:
        feeders.append(Feeder(channel, window))
        feeders[0].pump()

    async def scenario(app: faust.App, channel: BatchChannel) -> None:
        await feeders[0].done.wait()
        assert len(feeders[0].sent) == 3

    live(loop, answering, scenario, prepare)


@pytest.mark.parametrize("between", [True, False])
def test_nothing_is_lost_when_the_agent_crashes_and_is_restarted(loop: VirtualTimeLoop, between: bool) -> None:
    """Whether it raises inside the block of a batch or between two."""
    crashes = 0

    async def crashing(batches: AsyncIterable[Batch]) -> None:
        nonlocal crashes
        async for batch in batches:
            with batch:
                await asyncio.sleep(0)
                if crashes < 8:
                    crashes += 1
                    raise RuntimeError("again")
                batch.resolve(answers(batch.records))
            if between and crashes < 12:
                crashes += 1
                raise RuntimeError("between two batches")

    window = make_window(window_policy(tries=100))
    window.add(log(*range(40)))

    async def scenario(app: faust.App, channel: BatchChannel) -> None:
        feeder = Feeder(channel, window)
        feeder.pump()
        await feeder.done.wait()
        assert sorted(feeder.sent, key=repr) == sorted((b"answer %d" % o for o in range(40)), key=repr)

        assert app.agents["tested"].supervisor.restarts == crashes

    live(loop, crashing, scenario)
    assert crashes == (12 if between else 8)
    assert loop.time() < 1002.0, "a crash was noticed only when the supervisor looked by itself"
    assert window.faults == 8
    assert window.held == window.unfinished == 0


def test_an_agent_that_only_crashes_ends_the_app(loop: VirtualTimeLoop) -> None:
    async def crashing(batches: AsyncIterable[Batch]) -> None:
        raise RuntimeError("always")

    async def scenario(app: faust.App, channel: BatchChannel) -> None:
        await app.wait_until_stopped()
        assert isinstance(app.crash_reason, SystemExit)

    live(loop, crashing, scenario)
    assert loop.time() < 1003.0, "a crash was noticed only when the supervisor looked by itself"


async def test_resuming_the_flow_control_clears_nothing(channel: BatchChannel) -> None:
    batch = one_batch()
    channel.offer(batch)
    channel.app.flow_control.suspend()
    channel.app.flow_control.resume()
    assert channel.full
    assert channel.queue.get_nowait() is batch


def test_stop_ends_an_agent_that_waits_for_a_batch(loop: VirtualTimeLoop) -> None:
    async def scenario(app: faust.App, channel: BatchChannel) -> None:
        await asyncio.sleep(0)
        async with asyncio.timeout(3.0):
            await app.stop()

    live(loop, answering, scenario)


def test_stop_ends_an_agent_that_was_restarted(loop: VirtualTimeLoop) -> None:
    """As Faust is, it would wait for the restarted agent for ever."""
    crashed = asyncio.Event()

    async def crashing_once(batches: AsyncIterable[Batch]) -> None:
        if not crashed.is_set():
            crashed.set()
            raise RuntimeError("once")
        await answering(batches)

    async def scenario(app: faust.App, channel: BatchChannel) -> None:
        await crashed.wait()
        await asyncio.sleep(0.1)
        async with asyncio.timeout(3.0):
            await app.stop()

    live(loop, crashing_once, scenario)
    assert loop.time() < 1003.0


def test_stop_ends_an_agent_in_the_middle_of_a_batch_and_gives_it_back(loop: VirtualTimeLoop) -> None:
    inside = asyncio.Event()

    async def hanging(batches: AsyncIterable[Batch]) -> None:
        async for batch in batches:
            with batch:
                inside.set()
                await asyncio.Event().wait()

    window = make_window()
    window.add(log(0))
    lease = window.take(1, 0.0)
    assert lease is not None
    batch = Batch([lease], lambda: 0.0, lambda: None)

    async def scenario(app: faust.App, channel: BatchChannel) -> None:
        channel.offer(batch)
        async with asyncio.timeout(3.0):
            await inside.wait()
            await app.stop()

    live(loop, hanging, scenario)
    assert (window.held, window.pending, window.faults) == (0, 1, 0)
