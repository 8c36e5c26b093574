"""What is measured of a worker, besides what its parts count. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bisupervised.agents.agents import Agent
from bisupervised.streams.plane.standing import End
from bisupervised.streams.telemetry.health import Health, HealthPolicy
from bisupervised.streams.telemetry.monitor import Monitor
from bisupervised.streams.telemetry.observation import Observation
from bisupervised.streams.telemetry.running_step import RunningStep
from bisupervised.streams.web.watch import Watch
from support.outcomes import REQUESTED_MS, answered
from support.planes import A, World
from support.virtual_time import on_virtual_time

pytestmark = pytest.mark.unit


class Idle(Agent):
    async def run(self, batches: Any) -> None: ...

    def statistics(self) -> dict[str, Any]:
        return {"waiting": 3}


def running_step(world: World) -> RunningStep:
    observation = Observation("local", lambda: REQUESTED_MS)
    observation.committed([answered()])
    return RunningStep(world.plane, Idle(), observation, lambda: 4)


async def monitored(
    step: RunningStep,
    seconds: float,
    meanwhile: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> Monitor:
    monitor = Monitor([step], price_per_call=0.5, clock=clock or asyncio.get_running_loop().time, now_ms=lambda: 7.0)
    running = asyncio.create_task(monitor.run())
    await asyncio.sleep(seconds)
    meanwhile()
    await asyncio.sleep(seconds)
    assert not running.done(), "measuring goes on whatever happens"
    running.cancel()
    await asyncio.wait([running])
    return monitor


@on_virtual_time
async def test_a_view_holds_what_every_part_tells() -> None:
    world = World()
    await world.own(A)
    view = (await monitored(running_step(world), 1.0)).view()
    [step] = view.steps
    assert (step.agent, step.restarts, step.told) == ("local", 4, {"waiting": 3})
    assert step.outcomes["answered_by"] == {"local": 1}
    assert [standing.partition for standing in step.standings] == [0]
    assert (view.now_ms, view.started_ms, view.price_per_call) == (7.0, 7.0, 0.5)
    await world.stop()


@on_virtual_time
async def test_lag_is_known_once_the_broker_has_told_where_partitions_end() -> None:
    world = World()
    world.consumer.offsets = lambda which: 5
    await world.own(A)
    step = running_step(world)
    [standing] = step.view().standings
    assert step.view().lag(standing) is None
    await monitored(step, 1.0)
    assert step.view().lag(standing) == 5
    await world.stop()


@on_virtual_time
async def test_lag_is_measured_to_the_end_and_it_is_said_once_that_readers_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.consumer.offsets = lambda which: 50 if which == "high" else 3
    await world.own(A)
    step = running_step(world)
    watch = Watch(
        monitor := Monitor([step], clock=asyncio.get_running_loop().time), health := Health(HealthPolicy(30.0), [])
    )
    watch._clock = asyncio.get_running_loop().time
    running = asyncio.create_task(monitor.run())
    said = []
    for _ in range(3):
        await asyncio.sleep(16.0)
        watch.look()
        said.append(
            [record.getMessage() for record in caplog.records if getattr(record, "action", "") == "readers_wait"]
        )
    [standing] = step.view().standings
    assert (step.view().lag(standing), step.view().held_back(standing)) == (50, 47)
    assert [len(lines) for lines in said] == [0, 1, 1]
    assert "requests-0: readers wait at offset 3" in said[1][0]
    assert "47 records" in said[1][0]
    now = asyncio.get_running_loop().time()
    assert any("has 47 records behind a transaction that somebody has had open for" in r for r in health.reasons(now))
    world.consumer.offsets = lambda which: 50
    await asyncio.sleep(6.0)
    watch.look()
    assert not any("behind a transaction" in reason for reason in health.reasons(now))
    assert step.view().held_back(standing) == 0
    running.cancel()
    await asyncio.wait([running])
    await world.stop()


@on_virtual_time
async def test_transactions_that_follow_one_another_hold_nobody_back(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    asked = [0]

    def busy(which: str) -> int:
        asked[0] += which == "end"
        return 10 * asked[0] + (5 if which == "high" else 0)

    world.consumer.offsets = busy
    await world.own(A)
    await monitored(running_step(world), 60.0)
    assert not [record for record in caplog.records if getattr(record, "action", "") == "readers_wait"]
    await world.stop()


@on_virtual_time
async def test_a_broker_that_does_not_tell_ends_nothing() -> None:
    world = World()

    def away(which: str) -> int:
        raise RuntimeError("closed")

    world.consumer.offsets = away
    await world.own(A)
    step = running_step(world)
    await monitored(step, 10.0, lambda: setattr(world.consumer, "offsets", lambda which: 5))
    assert list(step.ends.values()) == [End(5, 5)], "it is asked again"
    await world.stop()


@on_virtual_time
async def test_the_loop_is_late_when_its_time_passes_unseen() -> None:
    world = World()
    await world.own(A)
    loop, stolen = asyncio.get_running_loop(), [0.0]
    monitor = await monitored(
        running_step(world), 1.2, lambda: stolen.__setitem__(0, 2.0), clock=lambda: loop.time() + stolen[0]
    )
    assert monitor.view().loop_lag_s == pytest.approx(2.0)
    await world.stop()


@on_virtual_time
async def test_an_old_delay_is_forgotten() -> None:
    world = World()
    await world.own(A)
    loop, stolen = asyncio.get_running_loop(), [0.0]
    monitor = await monitored(
        running_step(world), 40.0, lambda: stolen.__setitem__(0, 2.0), clock=lambda: loop.time() + stolen[0]
    )
    assert monitor.view().loop_lag_s == pytest.approx(0.0)
    await world.stop()
