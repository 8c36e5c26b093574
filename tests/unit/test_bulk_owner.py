"""What the owner of a partition says in its log."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest
from bisupervised.agents.remote.bulk.fold import BulkLedger
from bisupervised.agents.remote.bulk.gate import BulkGate
from bisupervised.agents.remote.bulk.queue import TokenQueue
from bisupervised.agents.tasks import begin
from bisupervised.schemas.bulk import BatchTold, BulkEntry
from bisupervised.streams.bulk.life import Life
from bisupervised.streams.bulk.owner import BatchGivenUp, Owner
from bisupervised.streams.bulk.policy import BulkPolicy, Means
from bisupervised.streams.bulk.reading import PartitionReader
from bisupervised.streams.bulk.standing import BulkStanding
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.routing import Router
from support.virtual_time import on_virtual_time


class SlowLog:
    """A log that takes a while for each entry."""

    def __init__(self) -> None:
        self.entries: list[BulkEntry] = []

    async def commit(self, _leaving: Any, entry: BulkEntry) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.entries.append(entry)


def owner() -> tuple[Owner, SlowLog]:
    nowhere = cast("Any", None)
    outbox = OutboxPolicy(nowhere, "shop-bulk", 10.0, 10.0, 60.0)
    policy = BulkPolicy(nowhere, outbox, "shop", "batched", "batches", 1_000_000, "openai_batch", "us")
    means = Means(nowhere, nowhere, TokenQueue(), BulkGate(), BulkStanding())
    made, log = Owner(policy, means, 0, Router({}, "batched")), SlowLog()
    made._writer = cast("Any", log)
    return made, log


def batch(first: int, **changes: Any) -> BatchTold:
    return msgspec.structs.replace(BatchTold(f"b{first}", first, first + 10, "running", "openai_batch"), **changes)


@pytest.mark.asyncio
async def test_a_batch_that_is_over_stays_over_whatever_is_said_beside_it() -> None:
    """Every entry that tells of all batches is said while others are on their way."""
    made, log = owner()
    for first in range(0, 3000, 20):
        await made.tell(batch(first))
        await asyncio.gather(made.tell(batch(first, state="ended")), made.tell(batch(first + 10, state="settling")))
        await made.tell(batch(first + 10, state="ended"))
    ledger = BulkLedger("")
    for entry in log.entries:
        ledger.take(entry)
    assert ledger.open == {}
    assert sum(entry.whole for entry in log.entries) > 5


class Silent:
    """A reader of a partition in which nothing is."""

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return


@pytest.mark.asyncio
async def test_a_batch_is_split_in_one_entry_and_its_parts_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that entry none of the parts is known, and after it the batch is not any more."""
    made, log = owner()
    began: list[str] = []

    async def lives(life: Life) -> None:
        began.append(life.batch.id)

    monkeypatch.setattr(Life, "run", lives)
    await made.tell(batch(0))
    parts = [batch(0, id="b0-4", end=4, state="closed"), batch(4, id="b4-10", end=10, state="closed")]
    await made.split(batch(0, state="ended", split=2), parts)
    await asyncio.gather(*made._living)
    assert len(log.entries) == 2
    assert {told.id: told.state for told in log.entries[-1].batches} == {
        "b0": "ended",
        "b0-4": "closed",
        "b4-10": "closed",
    }
    assert list(made._ledger.open) == began == ["b0-4", "b4-10"]


@pytest.mark.asyncio
async def test_a_batch_that_fails_is_heard_of_though_it_was_closed_while_others_were_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: Any) -> None:
        return

    async def fails(*_: Any) -> None:
        raise OSError("no space left on device")

    async def closes_one(*_: Any) -> None:
        for _turn in range(5):
            await asyncio.sleep(0)
        made._live(batch(0), None)
        await asyncio.Event().wait()

    made, log = owner()
    monkeypatch.setattr(made, "_take_over", nothing)
    monkeypatch.setattr(made, "_fill", closes_one)
    monkeypatch.setattr(made, "reader", Silent)
    monkeypatch.setattr(Life, "run", fails)
    log.close = nothing  # type: ignore[attr-defined]  # as the real one has it
    with pytest.raises(OSError, match="no space left"):
        await asyncio.wait_for(made.run(), 5.0)


class StoppedAtOnce:
    """A client that is stopped before its tasks have begun: awaiting them raises what cancelled them."""

    async def stop(self) -> None:
        raise asyncio.CancelledError


@pytest.mark.asyncio
async def test_a_client_that_is_stopped_at_once_cancels_nobody_else() -> None:
    reader = PartitionReader.__new__(PartitionReader)
    reader._consumer = StoppedAtOnce()
    await reader.close()


@pytest.mark.asyncio
async def test_a_batch_that_is_cancelled_from_within_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        return

    async def cancelled(*_: Any) -> None:
        raise asyncio.CancelledError

    made, log = owner()
    monkeypatch.setattr(made, "_take_over", nothing)
    monkeypatch.setattr(made, "_fill", lambda _: asyncio.Event().wait())
    monkeypatch.setattr(made, "reader", Silent)
    monkeypatch.setattr(Life, "run", cancelled)
    log.close = nothing  # type: ignore[attr-defined]  # as the real one has it
    made._ledger.open["b0"] = batch(0)
    with pytest.raises(BatchGivenUp, match="b0"):
        await made.run()


@pytest.mark.parametrize("turns", range(6))
@on_virtual_time
async def test_what_waits_for_room_ends_when_it_is_cancelled_as_room_is_told(turns: int) -> None:
    """`asyncio.wait_for` of Python 3.11 loses a cancellation that comes as what it waits for has come: the owner then
    waited for ever for the filling of batches to end, and nobody owned its partition.
    """
    made, _ = owner()
    made._ledger.open.update({f"b{first}": batch(first) for first in range(made.policy.in_flight)})
    filling = begin(made._until_room(), "filling")
    await asyncio.sleep(0.1)
    made._room.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    filling.cancel()
    await asyncio.wait({filling}, timeout=10)
    assert filling.cancelled()
