"""Records that leave with some outcomes, on one partition over a scripted broker. Time is virtual."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bisupervised.schemas.records import Incoming, Outgoing
from bisupervised.streams.plane.window.marks import Progress
from bisupervised.streams.plane.window.slots import Slot
from support.partitions import TOO_LARGE, Owner, ScriptedBroker, lost_after, lost_before
from support.virtual_time import on_virtual_time
from support.windows import TOPIC_ID


class EveryOther:
    """A companion for every even offset; offset 6 has none after all."""

    def drawn(self, slots: Sequence[Slot], first: int, end: int, *, in_order: bool) -> Sequence[Slot]:
        return [slot for slot in slots if slot.offset % 2 == 0]

    def of(self, record: Incoming, outcome: Outgoing) -> Outgoing | None:
        return None if record.offset == 6 else self._made(b"with %d", record)

    def refused(self, record: Incoming, outcome: Outgoing, detail: str) -> Outgoing | None:
        assert "MESSAGE_TOO_LARGE" in detail
        return self._made(b"less with %d", record)

    @staticmethod
    def _made(form: bytes, record: Incoming) -> Outgoing:
        return Outgoing("audits", record.key, form % record.offset, (), record.timestamp)


def ours(offset: int, *done: int) -> Progress:
    return Progress(offset, frozenset(done), "n", TOPIC_ID)


def answers(*offsets: int) -> list[bytes]:
    return [b"answer %d" % offset for offset in offsets]


async def sent_by(broker: ScriptedBroker, *offsets: int) -> Owner:
    owner = Owner(broker, companions=EveryOther())
    await owner.answer(*offsets)
    return owner


@on_virtual_time
async def test_they_leave_in_the_transaction_of_their_outcome() -> None:
    broker = ScriptedBroker(ours(0))
    owner = await sent_by(broker, 0, 1, 2)
    assert broker.sent == [*answers(0, 1, 2), b"with 0", b"with 2"]
    assert broker.sizes[-1] == 5
    assert owner.told == answers(0, 1, 2)  # who counts outcomes does not count them
    await owner.release()


@on_virtual_time
async def test_what_has_none_after_all_leaves_alone() -> None:
    broker = ScriptedBroker(ours(5))
    owner = await sent_by(broker, 5, 6)
    assert broker.sent == answers(5, 6)
    await owner.release()


@pytest.mark.parametrize("ends", [lost_before, lost_after])
@on_virtual_time
async def test_neither_comes_twice_nor_alone_where_a_transaction_is_lost(ends: object) -> None:
    broker = ScriptedBroker(ours(0), script=[None, ends])  # type: ignore[list-item]  # one of two functions
    owner = await sent_by(broker, 0, 1, 2)
    await owner.answer(3, 4)
    assert sorted(value or b"" for value in broker.sent) == sorted(
        [*answers(0, 1, 2, 3, 4), *map(b"with %d".__mod__, (0, 2, 4))]
    )
    await owner.release()


@on_virtual_time
async def test_a_refused_one_gives_way_to_a_smaller_one(caplog: pytest.LogCaptureFixture) -> None:
    broker = ScriptedBroker(ours(0), refuses={b"with 2": TOO_LARGE})
    owner = await sent_by(broker, 0, 1, 2)
    assert broker.sent == [*answers(0, 1, 2), b"with 0", b"less with 2"]
    assert "the audits record of requests-0-2 is refused" in caplog.text
    await owner.release()


@on_virtual_time
async def test_where_that_is_refused_too_the_outcome_leaves_alone() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"with 2": TOO_LARGE, b"less with 2": TOO_LARGE})
    owner = await sent_by(broker, 0, 1, 2)
    assert broker.sent == [*answers(0, 1, 2), b"with 0"]
    assert owner.partition.stopped is None
    await owner.answer(3, 4)
    assert broker.sent[-3:] == [*answers(3, 4), b"with 4"]
    await owner.release()


@on_virtual_time
async def test_a_broker_that_does_not_say_which_is_asked_about_fewer() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"with 2": TOO_LARGE}, tells=False)
    owner = await sent_by(broker, 1, 2, 3)
    assert broker.sent == [*answers(1, 2, 3), b"less with 2"]
    await owner.release()


@on_virtual_time
async def test_both_refused_at_once_are_told_apart() -> None:
    broker = ScriptedBroker(ours(0), refuses={b"answer 2": TOO_LARGE, b"with 2": TOO_LARGE})
    owner = await sent_by(broker, 0, 1, 2)
    assert broker.sent == [*answers(0, 1), b"too large 2", b"with 0", b"less with 2"]
    await owner.release()
