"""A batch ends once, whichever way its block is left."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest
from bisupervised.streams.plane.window.batch import Batch
from bisupervised.streams.plane.window.window import Window
from support.windows import Clock, answer, answers, log, make_window, offsets


class Ended:
    """Counts how often the plane was told that a batch has ended."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def ended() -> Ended:
    return Ended()


@pytest.fixture
def windows() -> list[Window]:
    """Two partitions with two records each, all of them held by `batch`."""
    made = [make_window(), make_window()]
    made[0].add(log(0, 1))
    made[1].add(log(10, 11))
    return made


@pytest.fixture
def batch(windows: list[Window], ended: Ended) -> Batch:
    leases = [window.take(9, 0.0) for window in windows]
    return Batch([lease for lease in leases if lease is not None], Clock(0.0), ended)


def state(windows: list[Window]) -> list[tuple[int, int, int]]:
    """Held, pending and ready of each."""
    return [(window.held, window.pending, window.ready) for window in windows]


def test_outcomes_go_to_the_windows_their_records_came_from(batch: Batch, windows: list[Window], ended: Ended) -> None:
    assert [record.offset for record in batch.records] == [0, 1, 10, 11]
    with batch:
        batch.resolve(answers(batch.records))
    values = [[outcome.value for outcome in window.plan().outcomes] for window in windows]
    assert values == [[b"answer 0", b"answer 1"], [b"answer 10", b"answer 11"]]
    assert ended.times == 1


def test_a_call_is_told_of_the_record_at_its_place(batch: Batch, windows: list[Window]) -> None:
    for place in (1, 2):
        batch.called(place)
    assert [batch.called_before(place) for place in range(4)] == [False, True, True, False]
    batch.release()
    again = [window.take(9, 0.0) for window in windows]
    called = [slot.offset for lease in again if lease is not None for slot in lease.slots if slot.called]
    assert called == [1, 10], "whoever gets it again is told, too"
    with pytest.raises(IndexError):
        batch.called(4)


def test_leaving_it_unresolved_gives_back(batch: Batch, windows: list[Window], ended: Ended) -> None:
    with batch:
        pass
    assert state(windows) == [(0, 2, 0), (0, 2, 0)]
    assert [window.faults for window in windows] == [0, 0]
    assert ended.times == 1


def test_an_exception_is_a_failed_try_of_every_part(
    batch: Batch, windows: list[Window], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError, match="broken"), batch:
        raise RuntimeError("broken")
    assert [window.faults for window in windows] == [1, 1]
    assert [offsets(window.take(9, 1.0)) for window in windows] == [[0], [10]]
    actions = [getattr(record, "action", None) for record in caplog.records if record.levelno == logging.ERROR]
    assert actions == ["agent_failed"]


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt])
def test_being_cancelled_is_nobodys_fault(
    batch: Batch, windows: list[Window], error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(error), batch:
        raise error
    assert [window.faults for window in windows] == [0, 0]
    assert state(windows) == [(0, 2, 0), (0, 2, 0)]
    assert not caplog.records


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_wrong_number_of_outcomes_is_a_failed_try(batch: Batch, windows: list[Window], count: int) -> None:
    with pytest.raises(ValueError, match="4 records need as many outcomes"), batch:
        batch.resolve(answers(log(*range(count))))
    assert state(windows) == [(0, 2, 0), (0, 2, 0)]
    assert [window.faults for window in windows] == [1, 1]


def test_an_exception_after_resolving_changes_nothing(batch: Batch, windows: list[Window], ended: Ended) -> None:
    with pytest.raises(RuntimeError), batch:  # noqa: PT012  # the exception comes after the resolving
        batch.resolve(answers(batch.records))
        raise RuntimeError
    assert state(windows) == [(0, 0, 2), (0, 0, 2)]
    assert [window.faults for window in windows] == [0, 0]
    assert ended.times == 1


def test_it_resolves_once(batch: Batch, windows: list[Window]) -> None:
    batch.resolve(answers(batch.records))
    batch.resolve([msgspec.structs.replace(answer(record), value=b"late") for record in batch.records])
    batch.release()
    assert state(windows) == [(0, 0, 2), (0, 0, 2)]
    assert [outcome.value for outcome in windows[0].plan().outcomes] == [b"answer 0", b"answer 1"]


def test_one_partition_taken_away_leaves_the_other_its_outcomes(batch: Batch, windows: list[Window]) -> None:
    windows[0].close()
    batch.resolve(answers(batch.records))
    assert (windows[0].ready, windows[0].discarded) == (0, 2)
    assert windows[1].ready == 2


def test_a_record_is_to_blame_only_when_nothing_else_was_in_the_batch() -> None:
    shared, single = [make_window(), make_window()], make_window()
    for window in (*shared, single):
        window.add(log(0))
    leases = [lease for window in shared if (lease := window.take(1, 0.0)) is not None]
    Batch(leases, Clock(0.0), Ended()).release(failed=True)
    alone = single.take(1, 0.0)
    assert alone is not None
    Batch([alone], Clock(0.0), Ended()).release(failed=True)
    assert [window._slots[0].tries for window in (*shared, single)] == [0, 0, 1]
