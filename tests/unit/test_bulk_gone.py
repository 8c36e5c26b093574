"""A batch whose records were deleted before their inputs had an outcome: only a person can say how it goes on."""

from __future__ import annotations

import asyncio

import pytest
from support.lives import Partition, ToldProvider, at_once, batched
from support.virtual_time import on_virtual_time

#: before the first look at a batch
SOON_MS = 5_000


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to disk is written at once: virtual time does not pass while a thread works."""
    monkeypatch.setattr(asyncio, "to_thread", at_once)


async def with_gone(*, begin_anew: bool = False, deadline_ms: int | None = None) -> Partition:
    """Two batches of ten at the provider, and the topic has lost the first four records since."""
    deadline_ms = deadline_ms and round(asyncio.get_running_loop().time() * 1000) + deadline_ms
    provider, records = ToldProvider(), [batched(offset, deadline_ms=deadline_ms) for offset in range(20)]
    partition = Partition(records, provider, begin_anew=begin_anew)
    await partition.close((0, 10), (10, 20))
    await partition.until(lambda: len(provider.created) == 2)
    partition.begins = 4
    return partition


def failure(partition: Partition) -> str:
    return partition.owner.means.standing.failures.get(0, "")


@on_virtual_time
async def test_it_stands_still_and_says_what_to_do_and_the_others_go_on() -> None:
    partition = await with_gone()
    await partition.until(lambda: failure(partition) and len(partition.owner._ledger.open) == 1)
    assert "offsets 0 to 3 were deleted before the inputs there had their outcome" in failure(partition)
    assert "--begin-anew" in failure(partition)
    assert partition.outcomes() == {offset: ["answers"] for offset in range(10, 20)}
    await partition.stop()


@on_virtual_time
async def test_it_holds_no_place_at_the_provider_that_others_wait_for() -> None:
    """It was to be seen whether deadlines have passed: it has not ended yet."""
    partition = await with_gone(deadline_ms=SOON_MS)
    await partition.until(lambda: failure(partition))
    await partition.until(lambda: len(partition.owner._ledger.open) == 1)
    assert partition.queue.waiting == 0
    await partition.stop()


@pytest.mark.parametrize("deadline_ms", [None, SOON_MS])
@on_virtual_time
async def test_after_a_word_of_a_person_it_goes_on_without_them(deadline_ms: int | None) -> None:
    partition = await with_gone(begin_anew=True, deadline_ms=deadline_ms)
    await partition.until(lambda: partition.over)
    outcome = "answers" if deadline_ms is None else "timeout"
    assert partition.outcomes() == {offset: [outcome] for offset in range(4, 20)}
    told = {batch.first: batch for entry in partition.log.entries for batch in entry.batches}
    assert [told[first].gone for first in (0, 10)] == [((0, 4),), ()]
    assert failure(partition) == ""


@on_virtual_time
async def test_a_batch_of_which_nothing_is_left_is_not_created() -> None:
    provider = ToldProvider()
    partition = Partition([batched(offset) for offset in range(10)], provider, begin_anew=True)
    partition.begins = 10
    await partition.close((0, 10))
    await partition.until(lambda: partition.over)
    assert (provider.created, partition.outcomes()) == ([], {})
