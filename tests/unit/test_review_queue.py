"""Who labels what next: leases, second looks, steps that are taken back."""

from __future__ import annotations

import pytest
from bisupervised.agents.auditing.matching import exact
from bisupervised.schemas.audits import Label
from bisupervised.streams.review.queue import Item, Policy, Queue, Step
from support.review import KEEP_MS, LEASE_S, NOW_MS, item


class Played:
    """A queue with what is written to it."""

    def __init__(self, *items: Item) -> None:
        self.queue = Queue(Policy(KEEP_MS, LEASE_S), exact)
        self.offset = -1
        self.now = 0.0
        for each in items:
            self.queue.add(each)

    def next(self, who: str) -> int | None:
        found = self.queue.next(who, self.now)
        return None if found is None else found.place.offset

    def label(self, who: str, number: int, truth: str | None) -> Label:
        """None: taken back."""
        self.offset += 1
        made = Label(f"requests-0-{number}", truth, who, second_look=truth is not None, withdrawn=truth is None)
        self.queue.vote(made, self.offset, NOW_MS)
        self.queue.labelled(who, made.source, self.now)
        return made

    def left(self, who: str) -> int:
        return self.queue.progress(who).left


def test_the_oldest_comes_first_whatever_the_order_of_arrival() -> None:
    played = Played(item(2), item(0), item(1))
    seen = []
    while (number := played.next("ann")) is not None:
        seen.append(number)
        played.label("ann", number, "positive")
    assert seen == [0, 1, 2]
    assert len(played.queue) == 0


def test_two_never_look_at_the_same_input() -> None:
    played = Played(item(0), item(1))
    assert (played.next("ann"), played.next("bob"), played.next("eve")) == (0, 1, None)
    assert (played.next("ann"), played.next("bob")) == (0, 1), "a reload changes nothing"


def test_who_is_away_for_long_loses_it_and_who_comes_back_in_time_does_not() -> None:
    played = Played(item(0))
    played.next("ann")
    played.now = LEASE_S - 1
    assert played.next("bob") is None
    assert played.next("ann") == 0, "the lease begins anew"
    played.now = 2 * LEASE_S - 2
    assert played.next("bob") is None
    played.now = 2 * LEASE_S
    assert played.next("bob") == 0
    assert played.next("ann") is None


def test_a_vote_against_the_promise_comes_to_a_second_person_and_a_dispute_to_a_third() -> None:
    played = Played(item(0))
    played.next("ann")
    played.label("ann", 0, "negative")
    assert played.next("ann") is None, "not to the same person"
    assert played.left("ann") == 0
    assert (played.next("bob"), played.next("eve")) == (0, None)
    played.label("bob", 0, "positive")
    assert (played.next("ann"), played.next("bob"), played.next("eve")) == (None, None, 0)
    played.label("eve", 0, "positive")
    assert len(played.queue) == 0


@pytest.mark.parametrize(("changed", "truth"), [({}, "positive"), ({"ended": "rejected", "answered_by": None}, "x")])
def test_a_vote_for_the_promise_is_enough(changed: dict[str, str], truth: str) -> None:
    played = Played(item(0, **changed))
    played.next("ann")
    played.label("ann", 0, truth)
    assert len(played.queue) == 0


def test_what_is_skipped_goes_to_somebody_else_and_comes_back_when_it_is_wanted() -> None:
    played = Played(item(0), item(1))
    assert played.next("ann") == 0
    played.queue.skip("ann", "requests-0-0")
    assert (played.next("ann"), played.next("bob")) == (1, 0)
    played.queue.skip("bob", "requests-0-0")
    played.queue.skip("ann", "requests-0-1")
    assert played.next("ann") is None
    progress = played.queue.progress("ann")
    assert (progress.left, progress.skipped) == (0, 2)
    played.queue.unskip("ann")
    assert played.next("ann") == 0


def test_a_step_is_taken_back_after_a_vote_and_after_a_skip() -> None:
    played = Played(item(0), item(1), item(2))
    played.next("ann")
    played.label("ann", 0, "positive")
    assert played.next("ann") == 1
    played.queue.skip("ann", "requests-0-1")
    assert played.next("ann") == 2
    step = played.queue.last_step("ann")
    assert step == Step("requests-0-1", skipped=True)
    played.queue.take_back("ann", step, 0.0)
    assert played.next("ann") == 1
    assert played.next("bob") == 2, "what ann looked at is free again"
    step = played.queue.last_step("ann")
    assert step == Step("requests-0-0", skipped=False)
    played.label("ann", 0, None)
    played.queue.take_back("ann", step, 0.0)
    assert played.next("ann") == 0
    assert played.queue.last_step("ann") is None
    assert played.queue.progress("ann").done == 0


def test_what_is_taken_back_while_somebody_else_looks_at_it_stays_there() -> None:
    played = Played(item(0), item(1))
    played.next("ann")
    played.label("ann", 0, "negative")
    assert played.next("bob") == 0
    assert played.next("ann") == 1
    played.label("ann", 0, None)
    played.queue.take_back("ann", Step("requests-0-0", skipped=False), 0.0)
    assert (played.next("ann"), played.next("bob")) == (1, 0)


def test_a_label_may_come_again_from_the_topic_and_an_older_one_changes_nothing() -> None:
    played = Played(item(0))
    first = played.label("ann", 0, "positive")
    played.label("ann", 0, None)
    played.queue.vote(first, 0, NOW_MS)
    assert len(played.queue) == 1, "the withdrawal is newer"
    assert played.queue.last_step("ann") is None


def test_a_restart_knows_what_was_labelled_and_what_can_be_taken_back() -> None:
    before = Played(item(0), item(1))
    labels = [before.label("ann", 0, "positive"), before.label("ann", 1, "negative")]
    after = Queue(Policy(KEEP_MS, LEASE_S), exact)
    for offset, label in enumerate(labels):
        after.vote(label, offset, NOW_MS)  # labels may come before the inputs
    for number in (0, 1):
        after.add(item(number))
    assert after.progress("ann").done == 2
    assert after.last_step("ann") == Step("requests-0-1", skipped=False)
    assert after.said("ann", "requests-0-1") == "negative"
    found = after.next("bob", 0.0)
    assert found is not None
    assert found.place.offset == 1, "the second look is still wanted"


def test_what_is_too_old_is_dropped_with_its_votes() -> None:
    played = Played(item(0), item(1000))
    played.next("ann")
    played.label("ann", 1000, "positive")
    played.queue.forget(NOW_MS + KEEP_MS)
    assert played.next("ann") is None
    assert not played.queue.knows("requests-0-0")
    assert played.queue.knows("requests-0-1000")
    played.queue.forget(NOW_MS + 1000 + KEEP_MS)
    assert played.queue.progress("ann").done == 0
    assert played.queue.last_step("ann") is None


def test_a_topic_that_was_made_anew_has_another_request_of_that_name() -> None:
    newer = item(0, at_ms=NOW_MS + 5000)
    played = Played(newer, item(0))
    found = played.queue.next("ann", 0.0)
    assert found == newer
    assert len(played.queue) == 1


def test_the_time_that_a_label_takes_is_from_the_first_look_to_the_label() -> None:
    played = Played(item(0), item(1), item(2), item(3))
    assert played.queue.progress("ann").seconds is None
    for number, seconds in enumerate((4.0, 6.0, 1e6)):
        played.next("ann")
        played.now += seconds / 2
        played.next("ann")  # a reload
        played.now += seconds / 2
        played.label("ann", number, "positive")
    assert played.queue.progress("ann").seconds == 6.0
