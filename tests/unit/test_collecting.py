"""When cyclic garbage is collected, and on which thread its finalizers run."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from bisupervised.streams.worker.collecting import CollectPolicy, CollectRule, collect_by_need

POLICY = CollectPolicy(young=100, middle=5, old=3, share=0.02)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    assert gc.isenabled()
    yield
    assert gc.isenabled(), "it is on again when the worker has ended"


@pytest.mark.parametrize(
    ("counts", "due"),
    [
        ((100, 5, 3), None),
        ((101, 5, 3), 0),
        ((0, 6, 3), 1),
        ((101, 6, 3), 1),
        ((0, 0, 4), 2),
        ((1000, 6, 4), 2),
        ((0, 0, 0), None),
    ],
)
def test_a_generation_is_due_by_its_count(counts: tuple[int, int, int], due: int | None) -> None:
    assert CollectRule(POLICY).due(counts, 0.0) == due


def test_collections_of_all_take_at_most_their_share_of_the_time() -> None:
    """However long one takes, and however much there is to do."""
    rule, now, spent = CollectRule(POLICY), 0.0, 0.0
    while now < 1000.0:
        if rule.due((1000, 6, 100), now) == 2:
            rule.collected_all(now, now + 0.4)
            spent += 0.4
            now += 0.4
        now += 0.1
    assert 0.01 <= spent / now <= 0.021


def test_the_younger_ones_go_on_meanwhile() -> None:
    rule = CollectRule(POLICY)
    rule.collected_all(0.0, 1.0)
    assert [rule.due((1000, middle, 100), 2.0) for middle in (0, 6)] == [0, 1]


class Ring:
    """Garbage that only the collector finds; it says on which thread it was finalized."""

    def __init__(self, threads: set[int]) -> None:
        self.threads = threads
        self.itself = self

    def __del__(self) -> None:
        self.threads.add(threading.get_ident())


def make_rings(threads: set[int], count: int) -> None:
    for _ in range(count):
        Ring(threads)


@asynccontextmanager
async def collecting() -> AsyncIterator[None]:
    task = asyncio.create_task(collect_by_need(CollectRule(CollectPolicy()), look_s=0.001))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_finalizers_run_on_the_loops_thread_though_another_makes_the_garbage() -> None:
    threads = set[int]()
    async with collecting():
        await asyncio.to_thread(make_rings, threads, 50_000)
        assert not gc.isenabled()
        for _ in range(1000):
            await asyncio.sleep(0.001)
            if threads and gc.get_count()[0] < CollectPolicy().young:
                break
        assert threads == {threading.get_ident()}


async def test_by_itself_python_collects_wherever_garbage_is_made() -> None:
    """What the timer is for; where this fails, it is not needed any more."""
    threads = set[int]()
    await asyncio.to_thread(make_rings, threads, 50_000)
    assert threads - {threading.get_ident()}


async def test_garbage_does_not_pile_up() -> None:
    """Hundreds of thousands of objects in circles are made; at most a few looks' worth are there at any time."""
    most = 0
    async with collecting():
        for _ in range(200):
            make_rings(set(), 2000)
            most = max(most, gc.get_count()[0])
            await asyncio.sleep(0.0015)
    assert most < 40_000
