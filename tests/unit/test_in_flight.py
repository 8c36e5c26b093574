from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import pytest
from bisupervised.agents.batches import Batch
from bisupervised.agents.in_flight import InFlight
from bisupervised.schemas.records import Incoming, Outgoing
from support.records import Record

OUTCOME = Outgoing("answers", None, None, (), 0)


class Lease:
    """A batch that keeps a diary."""

    def __init__(self) -> None:
        self.records: Sequence[Incoming] = [Record(b"1")]
        self.diary: list[str] = []
        self.wanted = True

    def called_before(self, position: int) -> bool:
        return False

    def called(self, position: int) -> None: ...

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        if len(outcomes) != len(self.records):
            raise ValueError("not as many outcomes as records")
        self.diary.append("resolved")

    def release(self) -> None:
        self.diary.append("released")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.diary.append(f"failed: {kind.__name__}")


class Answers:
    """Answers when told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()

    async def __call__(self, batch: Batch) -> list[Outgoing]:
        self.begun += 1
        await self.go.wait()
        return [OUTCOME] * len(batch.records)


async def turns(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come to that")


async def test_as_many_run_beside_each_other_as_the_limit_says() -> None:
    answers = Answers()
    calls, leases = InFlight(answers, 2), [Lease() for _ in range(3)]
    submits = [asyncio.create_task(calls.submit(lease)) for lease in leases]
    await turns(lambda: answers.begun == 2)
    assert (len(calls), repr(calls)) == (2, "<InFlight 2 of 2>")
    assert [submit.done() for submit in submits] == [True, True, False]
    answers.go.set()
    await turns(lambda: submits[2].done() and not len(calls))
    assert [lease.diary for lease in leases] == [["resolved"]] * 3


async def test_an_answer_that_raises_fails_its_batch_and_frees_the_slot(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(batch: Batch) -> list[Outgoing]:
        raise ZeroDivisionError

    calls, leases = InFlight(answer, 1), [Lease(), Lease()]
    for lease in leases:
        await calls.submit(lease)
    await turns(lambda: not len(calls))
    assert [lease.diary for lease in leases] == [["failed: ZeroDivisionError"]] * 2
    assert [line.__dict__["action"] for line in caplog.records] == ["batch_failed"] * 2


async def test_a_wrong_number_of_outcomes_fails_the_batch() -> None:
    async def answer(batch: Batch) -> list[Outgoing]:
        return []

    calls, lease = InFlight(answer, 1), Lease()
    await calls.submit(lease)
    await turns(lambda: not len(calls))
    assert lease.diary == ["failed: ValueError"]


async def test_close_gives_up_what_does_not_end_in_time(caplog: pytest.LogCaptureFixture) -> None:
    answers = Answers()
    calls, lease = InFlight(answers, 1), Lease()
    await calls.submit(lease)
    await turns(lambda: answers.begun == 1)
    await calls.close(0.0)
    assert lease.diary == ["released"]
    assert len(calls) == 0
    assert [line.__dict__["action"] for line in caplog.records] == ["in_flight_abandoned"]


async def test_a_task_cancelled_before_it_began_gives_back_slot_and_batch() -> None:
    answers = Answers()
    calls, lease, next_lease = InFlight(answers, 1), Lease(), Lease()
    await calls.submit(lease)
    [task] = calls._tasks.values()
    task.cancel()  # before its first step
    await calls.submit(next_lease)  # waits for the slot
    assert answers.begun == 0
    assert lease.diary == ["released"]
    answers.go.set()
    await turns(lambda: next_lease.diary == ["resolved"])


async def test_a_submit_cancelled_while_it_waits_releases_the_batch() -> None:
    answers = Answers()
    calls, lease, waiting = InFlight(answers, 1), Lease(), Lease()
    await calls.submit(lease)
    submit = asyncio.create_task(calls.submit(waiting))
    await turns(lambda: answers.begun == 1)
    submit.cancel()
    await asyncio.wait([submit])
    assert submit.cancelled()
    assert (waiting.diary, lease.diary) == (["released"], [])
    await calls.close(0.0)


async def test_close_waits_for_what_ends_and_takes_no_more() -> None:
    answers = Answers()
    calls, lease, late = InFlight(answers, 1), Lease(), Lease()
    await calls.submit(lease)
    closing = asyncio.create_task(calls.close(60.0))
    await turns(lambda: answers.begun == 1)
    waiting = asyncio.create_task(calls.submit(late))
    answers.go.set()
    await closing
    await waiting
    assert (lease.diary, late.diary) == (["resolved"], ["released"])
    assert answers.begun == 1


async def test_close_with_nothing_under_way_is_over_at_once() -> None:
    await InFlight(Answers(), 1).close(60.0)


async def test_a_larger_bound_lets_in_who_waits_and_a_smaller_one_ends_nothing() -> None:
    answers = Answers()
    calls, leases = InFlight(answers, 1), [Lease() for _ in range(3)]
    await calls.submit(leases[0])
    waiting = asyncio.create_task(calls.submit(leases[1]))
    await turns(lambda: answers.begun == 1)
    calls.resize(2)
    await waiting
    await turns(lambda: answers.begun == 2)
    calls.resize(1)
    last = asyncio.create_task(calls.submit(leases[2]))
    await asyncio.sleep(0)
    assert (len(calls), last.done()) == (2, False)
    answers.go.set()
    await last
    await turns(lambda: [lease.diary for lease in leases] == [["resolved"]] * 3)


async def test_what_nobody_wants_any_more_is_cancelled_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    answers = Answers()
    calls, kept, gone, waits = InFlight(answers, 2), Lease(), Lease(), Lease()
    await calls.submit(kept)
    await calls.submit(gone)
    waiting = asyncio.create_task(calls.submit(waits))
    await turns(lambda: answers.begun == 2)
    gone.wanted = waits.wanted = False
    calls.drop_unwanted()
    await waiting
    await turns(lambda: len(calls) == 1)
    assert (gone.diary, waits.diary, kept.diary) == (["released"], ["released"], [])
    assert answers.begun == 2
    assert [line.__dict__["action"] for line in caplog.records] == ["calls_cancelled"]
    answers.go.set()
    await turns(lambda: kept.diary == ["resolved"])
