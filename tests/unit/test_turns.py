"""Whose transaction is next. Time is virtual."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bisupervised.streams.plane.sending.turns import Turns
from support.partitions import Owner, ScriptedBroker
from support.virtual_time import on_virtual_time


class Office:
    """Where they take turns; `log` has who began and when, seconds since it opened."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._opened = asyncio.get_running_loop().time()
        self.log: list[tuple[str, float]] = []

    def sends(self, name: str, takes_s: float, patience_s: float) -> asyncio.Task[None]:
        """Fails after so long where it takes less than nothing."""
        return asyncio.create_task(self._send(name, takes_s, patience_s))

    async def _send(self, name: str, takes_s: float, patience_s: float) -> None:
        async with self._turns.turn(patience_s):
            self.log.append((name, asyncio.get_running_loop().time() - self._opened))
            await asyncio.sleep(abs(takes_s))
            if takes_s < 0:
                raise ValueError


@on_virtual_time
async def test_one_goes_after_the_other_in_the_order_in_which_they_came() -> None:
    office = Office()
    await asyncio.gather(*(office.sends(name, 2.0, 60.0) for name in "abc"))
    assert office.log == [("a", 0.0), ("b", 2.0), ("c", 4.0)]


@on_virtual_time
async def test_who_is_alone_waits_for_nobody() -> None:
    office = Office()
    await office.sends("a", 2.0, 60.0)
    await office.sends("a", 2.0, 60.0)
    assert office.log == [("a", 0.0), ("a", 2.0)]


@on_virtual_time
async def test_nobody_waits_longer_than_it_wants_to_for_one_that_hangs() -> None:
    office = Office()
    await asyncio.gather(office.sends("hangs", 100.0, 0.0), office.sends("b", 2.0, 5.0), office.sends("c", 2.0, 0.0))
    assert office.log == [("hangs", 0.0), ("c", 0.0), ("b", 5.0)]


@on_virtual_time
async def test_who_gives_up_waiting_keeps_nobody_waiting() -> None:
    office = Office()
    first, gone, last = (office.sends(name, 2.0, 60.0) for name in ("first", "gone", "last"))
    await asyncio.sleep(1.0)
    gone.cancel()
    await asyncio.gather(first, last)
    assert office.log == [("first", 0.0), ("last", 2.0)]


@on_virtual_time
async def test_one_that_fails_ends_its_turn() -> None:
    office = Office()
    failing, following = office.sends("fails", -1.0, 60.0), office.sends("b", 2.0, 60.0)
    with suppress(ValueError):
        await failing
    await following
    assert office.log == [("fails", 0.0), ("b", 1.0)]


@on_virtual_time
async def test_a_partition_that_others_hold_up_waits_for_their_transactions() -> None:
    turns = Turns()
    one, other = Owner(ScriptedBroker(), turns=turns), Owner(ScriptedBroker(), turns=turns)
    one.broker.takes_s = 0.05
    await one.answer(40)
    one.broker.takes_s = 1.0
    await one.answer(41)  # so they hold it up
    one.broker.takes_s, other.broker.takes_s = 0.0, 0.05
    mine, theirs = await one.take(42), await other.take(40)
    other.resolve(theirs)
    await asyncio.sleep(0.01)
    one.resolve(mine)
    await asyncio.sleep(0.03)
    assert one.broker.sent[2:] == other.broker.sent == []
    await asyncio.sleep(0.02)
    assert one.broker.sent[2:] == [b"answer 42"]
    assert other.broker.sent == [b"answer 40"]
    await asyncio.gather(one.release(), other.release())
