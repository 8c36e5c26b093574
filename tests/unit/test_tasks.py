"""No task of ours ends without somebody hearing of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from bisupervised.agents.tasks import MISSED_S, WORKED_S, Rests, begin, end, persistently
from support.virtual_time import on_virtual_time


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["action"] for record in caplog.records]


async def fails() -> None:
    raise RuntimeError("a fault of ours")


@on_virtual_time
async def test_a_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    task = begin(fails(), "counting")
    await asyncio.wait({task})
    [record] = caplog.records
    assert (record.getMessage(), record.exc_info is not None) == (
        "counting has failed, and has ended: RuntimeError('a fault of ours')",
        True,
    )
    assert actions(caplog) == ["task_failed"]


@on_virtual_time
async def test_or_told_to_who_began_it(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[BaseException] = []
    await asyncio.wait({begin(fails(), "counting", heard.append)})
    assert [str(error) for error in heard] == ["a fault of ours"]
    assert actions(caplog) == []


@on_virtual_time
async def test_one_that_is_cancelled_or_ends_well_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[BaseException] = []
    sleeping, done = (
        begin(asyncio.sleep(10), "sleeping", heard.append),
        begin(asyncio.sleep(0, 7), "done", heard.append),
    )
    await asyncio.sleep(1)
    sleeping.cancel()
    await asyncio.wait({sleeping})
    assert (await done, heard, actions(caplog)) == (7, [], [])


@on_virtual_time
async def test_what_is_for_ever_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    began: list[float] = []

    async def body() -> None:
        began.append(asyncio.get_running_loop().time())
        raise [ValueError("one"), KeyError("another")][len(began) % 2]

    task = begin(persistently(body, "writing", again_s=2.0), "writing")
    await asyncio.sleep(5)
    assert [at - began[0] for at in began] == [0.0, 2.0, 4.0]
    assert actions(caplog) == ["task_restarted"] * 3
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@on_virtual_time
async def test_tasks_are_ended_together() -> None:
    tasks = [begin(asyncio.sleep(10), "sleeping"), begin(asyncio.sleep(20), "sleeping longer")]
    await end(tasks)
    assert [task.cancelled() for task in tasks] == [True, True]
    await end(tasks)
    await end([])


@on_virtual_time
async def test_one_that_misses_it_is_cancelled_again(caplog: pytest.LogCaptureFixture) -> None:
    async def misses() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(1000)

    task = begin(misses(), "missing it")
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    await end([task])
    assert (task.cancelled(), asyncio.get_running_loop().time() - began) == (True, MISSED_S)
    assert actions(caplog) == ["task_cancelled_again"]


def test_what_fails_at_once_rests_longer_each_time() -> None:
    rests = Rests(1.0, 10.0)
    assert [rests.after(0.0) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_what_had_worked_for_a_while_rests_as_at_first() -> None:
    rests = Rests(1.0, 10.0)
    assert [rests.after(worked_s) for worked_s in (0.0, 0.0, WORKED_S, 0.0, WORKED_S)] == [1.0, 2.0, 1.0, 2.0, 1.0]
