"""Which records go to the agent next: decided on numbers, returned as what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from bisupervised.streams.plane.handing_out import HandingOut, Next

pytestmark = pytest.mark.unit


@dataclass
class FakeLease:
    """Whose records, and how many."""

    name: str
    slots: list[int]


@dataclass(eq=False)
class FakeSupply:
    """A partition with so many records to hand out."""

    name: str
    pending: int = 0
    held: int = 0
    taking: bool = True
    alone: bool = False
    armed: bool = False
    arming: bool = False
    wants_arming: bool = False
    arms: int = 0

    def available(self, most: int) -> int:
        return self.pending

    def take(self, most: int, now: float) -> Any:
        assert most > 0, "a window hands out a record at least"
        count = min(most, self.pending)
        self.pending -= count
        self.held += count
        return FakeLease(self.name, [0] * count) if count else None

    def arm(self) -> None:
        self.arms += 1


def taken(following: Next) -> list[tuple[str, int]]:
    """Whose records, and how many."""
    leases: Any = following.leases
    return [(lease.name, len(lease.slots)) for lease in leases]


def handing_out(*supplies: FakeSupply, wait_s: float = 0.0) -> HandingOut:
    made = HandingOut(wait_s)
    for supply in supplies:
        made.add(supply)
    return made


def test_a_batch_is_filled_from_several_partitions_another_one_first_each_time() -> None:
    decides = handing_out(FakeSupply("a", 10), FakeSupply("b", 10))
    assert [taken(decides.next(4, 0.0)) for _ in range(2)] == [[("b", 4)], [("a", 4)]]
    decides = handing_out(FakeSupply("a", 3), FakeSupply("b", 3))
    assert taken(decides.next(4, 0.0)) == [("b", 3), ("a", 1)]


def test_a_batch_that_is_not_full_waits_and_says_how_long() -> None:
    decides = handing_out(FakeSupply("a", 3), wait_s=0.5)
    assert decides.next(4, 10.0) == ((), None, 0.5)
    assert decides.next(4, 10.2).again_s == pytest.approx(0.3)
    assert taken(decides.next(4, 10.5)) == [("a", 3)]
    assert decides.next(4, 10.6) == ((), None, None), "only an event makes something due"


def test_a_batch_of_one_waits_for_no_more_and_what_waited_before_is_forgotten() -> None:
    supply = FakeSupply("a", 2)
    decides = handing_out(supply, wait_s=0.5)
    assert decides.next(4, 0.0).again_s == 0.5
    assert taken(decides.next(1, 0.1)) == [("a", 1)]
    assert decides.next(4, 9.0).again_s == 0.5


def test_a_full_batch_waits_for_nothing() -> None:
    assert taken(handing_out(FakeSupply("a", 3), FakeSupply("b", 1), wait_s=0.5).next(4, 0.0)) == [("b", 1), ("a", 3)]


def test_nobody_is_asked_for_more_than_there_is_room_for() -> None:
    a, b = FakeSupply("a", 4), FakeSupply("b", 4)
    decides = handing_out(a, b)
    assert (taken(decides.next(4, 0.0)), a.held) == ([("b", 4)], 0)


def test_the_wait_begins_anew_when_there_was_nothing_to_wait_for() -> None:
    supply = FakeSupply("a", 1)
    decides = handing_out(supply, wait_s=0.5)
    decides.next(4, 0.0)
    supply.pending = 0
    decides.next(4, 0.1)
    supply.pending = 1
    assert decides.next(4, 9.0).again_s == 0.5


def test_an_armed_partition_is_tried_alone_and_only_when_nothing_else_is_in_flight() -> None:
    armed, other = FakeSupply("armed", 2, alone=True, armed=True), FakeSupply("other", 4, held=1)
    decides = handing_out(armed, other)
    assert decides.next(4, 0.0) == ((), None, None)
    other.held, other.taking = 1, False
    assert taken(decides.next(4, 0.0)) == [], "also one that is being released may be to blame"
    other.held = 0
    assert taken(decides.next(4, 0.0)) == [("armed", 2)]


def test_one_partition_at_a_time_is_told_to_arm_and_they_take_turns() -> None:
    a, b = (FakeSupply(name, 1, alone=True, wants_arming=True) for name in "ab")
    decides = handing_out(a, b)
    first = decides.next(4, 0.0).arm
    assert first is a
    a.arming = True
    assert decides.next(4, 0.0).arm is None
    a.arming = False
    assert decides.next(4, 0.0).arm is b
    assert (a.arms, b.arms) == (0, 0), "it decides, and tells nobody"


def test_what_must_be_alone_is_alone() -> None:
    decides = handing_out(FakeSupply("suspect", 2, alone=True), FakeSupply("plain", 2))
    assert sorted(taken(decides.next(4, 0.0)) + taken(decides.next(4, 0.0))) == [("plain", 2), ("suspect", 2)]


def test_a_partition_that_takes_nothing_hands_out_nothing() -> None:
    decides = handing_out(FakeSupply("a", 9, taking=False))
    assert decides.next(4, 0.0) == ((), None, None)
    assert not decides.provided(4)


def test_the_next_two_batches_are_there_or_not() -> None:
    a, b = FakeSupply("a", 3), FakeSupply("b", 4)
    decides = handing_out(a, b)
    assert not decides.provided(4)
    b.pending = 5
    assert decides.provided(4)
    decides.remove(b)
    assert not decides.provided(4)
