"""Whatever people do, in whichever order it is heard: nobody shares an input, nothing is lost, a restart knows."""

from __future__ import annotations

from typing import Any

from bisupervised.agents.auditing.drawn import judged
from bisupervised.agents.auditing.matching import exact
from bisupervised.agents.auditing.votes import Ballot
from bisupervised.schemas.audits import Label
from bisupervised.streams.review.queue import Policy, Queue
from hypothesis import given
from hypothesis import strategies as st
from support.review import KEEP_MS, LEASE_S, NOW_MS, item

PEOPLE = ("ann", "bob", "eve")
ITEMS = [item(n, **({} if n % 2 else {"ended": "rejected", "answered_by": None, "remote": ("x",)})) for n in range(4)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE), st.sampled_from(["label", "label", "skip", "undo", "next"]), st.sampled_from("xy")
    ),
    max_size=40,
)


class Played:
    """People at a queue, and what they have written."""

    def __init__(self) -> None:
        self.queue = Queue(Policy(KEEP_MS, LEASE_S), exact)
        self.written: list[Label] = []
        self.looking: dict[str, str] = {}
        for each in ITEMS:
            self.queue.add(each)

    def write(self, label: Label) -> None:
        self.written.append(label)
        self.queue.vote(label, len(self.written) - 1, NOW_MS)

    def step(self, who: str, what: str, truth: str) -> None:
        found = self.queue.next(who, 0.0)
        self.looking.pop(who, None)
        if what == "undo":
            self.undo(who)
        elif found is not None and what == "label":
            self.write(Label(found.drawn.source, truth, who, second_look=True))
            self.queue.labelled(who, found.drawn.source, 0.0)
        elif found is not None and what == "skip":
            self.queue.skip(who, found.drawn.source)
        now = self.queue.next(who, 0.0)
        if now is not None:
            self.looking[who] = now.drawn.source

    def undo(self, who: str) -> None:
        step = self.queue.last_step(who)
        if step is None:
            return
        if not step.skipped:
            self.write(Label(step.source, None, who, withdrawn=True))
        self.queue.take_back(who, step, 0.0)


def ballots(labels: list[Label]) -> dict[str, Ballot]:
    found: dict[str, Ballot] = {}
    for label in labels:
        found.setdefault(label.source, Ballot()).take(label)
    return found


@given(STEPS)
def test_nobody_shares_an_input_and_what_is_undecided_waits(steps: list[tuple[str, str, str]]) -> None:
    played = Played()
    for step in steps:
        played.step(*step)
        assert len(set(played.looking.values())) == len(played.looking)
    votes = ballots(played.written)
    undecided = [each for each in ITEMS if judged(each.drawn, votes.get(each.drawn.source), exact) is None]
    assert len(played.queue) == len(undecided)
    for who in PEOPLE:
        progress = played.queue.progress(who)
        assert progress.done == sum(who in ballot.by for ballot in votes.values())
        mine = [e for e in undecided if who not in votes.get(e.drawn.source, Ballot()).by]
        assert progress.left + progress.skipped == len(mine)


@given(STEPS, st.data())
def test_a_restart_knows_the_same_whatever_it_hears_first(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    played = Played()
    for step in steps:
        played.step(*step)
    after = Queue(Policy(KEEP_MS, LEASE_S), exact)
    heard: list[Any] = data.draw(st.permutations([*enumerate(played.written), *ITEMS]))
    heard = (
        sorted(heard, key=lambda one: one[0] if isinstance(one, tuple) else -1) if data.draw(st.booleans()) else heard
    )
    for one in heard:
        if isinstance(one, tuple):
            after.vote(one[1], one[0], NOW_MS)
        else:
            after.add(one)
    assert len(after) == len(played.queue)
    for who in PEOPLE:
        assert after.progress(who).done == played.queue.progress(who).done


@given(STEPS)
def test_three_people_who_go_on_decide_all(steps: list[tuple[str, str, str]]) -> None:
    played = Played()
    for step in steps:
        played.step(*step)
    for who in PEOPLE:
        played.queue.unskip(who)
    for _ in range(3 * len(ITEMS)):
        for who in PEOPLE:
            played.step(who, "label", "x")
    assert len(played.queue) == 0
