"""Inputs that kill the process, over as many lives as it takes, and deaths for other reasons in between."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from bisupervised.streams.plane.window.acquittal import Word, deserved, origin_of
from bisupervised.streams.plane.window.caution import Caution, CautionPolicy
from bisupervised.streams.plane.window.marks import Progress, decode
from bisupervised.streams.plane.window.slots import Lease, Plan
from bisupervised.streams.plane.window.window import Window
from hypothesis import given
from hypothesis import strategies as st
from support.windows import answers, given_up, log, window_policy

POLICIES = st.builds(
    CautionPolicy,
    tries=st.integers(1, 4),
    batch=st.integers(1, 20),
    suspects=st.integers(1, 40),
    alone=st.integers(1, 6),
)


def most_deaths(policy: CautionPolicy) -> int:
    """One killer's: normal, batch by batch, in batches that grow and are halved with each death, and alone."""
    return policy.tries + 3 + policy.batch.bit_length()


#: what becomes of an owner in the middle of its work
Ending = Literal["dies", "closes", "loses"]


@dataclass
class World:
    """A log, the inputs in it that kill, and what the broker keeps over the deaths of the owners."""

    policy: CautionPolicy
    size: int
    killers: frozenset[int]
    stored: Progress = field(default_factory=lambda: Progress(0))
    outcomes: dict[int, bytes | None] = field(default_factory=dict)
    alone: Counter[int] = field(default_factory=Counter)  # deaths while this record was the only one out
    suspected: Counter[int] = field(default_factory=Counter)  # deaths in phase 'a' with this one at the watermark
    in_flight: int = 2
    words: list[Word] = field(default_factory=list)  # that the next owner hears

    def live(self, steps: int | None = None, ending: Ending = "dies") -> bool:
        """One owner's life, cut after so many steps. True when it ends well, with all done.

        Where it does not die there, its model answers, and it closes the partition, or loses it; then it sends word.
        """
        instead = deserved(self.words, self.stored)
        origin = origin_of(self.words, self.stored) if instead is None else None
        caution = Caution(self.policy, instead or self.stored.phase, acquitted=instead == "c")
        window = Window(window_policy(), self.stored, caution, given_up)
        self.words = [word for word in self.words if word.phase == "n"]  # these may come late, and again
        self.commit(window, Plan([], window.progress()))
        window.add(log(*range(window.position, self.size)))
        leases: list[Lease] = []
        while steps is None or steps > 0:
            steps = None if steps is None else steps - 1
            if window.wants_arming:
                assert not leases
                self.commit(window, window.arming())
                continue
            if len(leases) < self.in_flight and (lease := window.take(self.policy.batch, 0.0)) is not None:
                leases.append(lease)
                if window.armed and self.stored.phase != "B":
                    assert len(lease.slots) == 1
                continue
            if leases and not self.tried(leases, window):
                return False
            self.commit(window, window.plan())
            if not window.unfinished:
                self.stored = window.closing(Plan([], window.progress())).progress
                return True
        if ending == "dies" or any(self.killing(lease) for lease in leases):
            self.died(window)
            return False
        for lease in leases:
            lease.resolve(answers([slot.record for slot in lease.slots]))
        if ending == "closes":
            self.commit(window, window.closing(window.plan()))
        self.words += window.words([], origin)
        return False

    def killing(self, lease: Lease) -> bool:
        return not self.killers.isdisjoint(slot.offset for slot in lease.slots)

    def tried(self, leases: list[Lease], window: Window) -> bool:
        """The oldest batch goes through the model. False when it does not survive that."""
        lease = leases.pop(0)
        records = [slot.record for slot in lease.slots]
        if not self.killers.intersection(record.offset for record in records):
            lease.resolve(answers(records))
            return True
        if len(records) == 1 and not leases and self.stored.phase.startswith("a"):
            self.alone[records[0].offset] += 1
        self.died(window)
        return False

    def died(self, window: Window) -> None:
        if window.armed and self.stored.phase != "B":
            self.suspected[window.watermark] += 1

    def commit(self, window: Window, plan: Plan) -> None:
        for slot, outcome in zip(plan.slots, plan.outcomes, strict=True):
            assert slot.offset not in self.outcomes
            self.outcomes[slot.offset] = outcome.value
        self.stored = decode(plan.progress.offset, plan.progress.metadata())
        window.committed(plan)

    @property
    def given_up(self) -> set[int]:
        return {offset for offset, value in self.outcomes.items() if value == b"given up %d" % offset}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to three killers among a few records."""
    size = draw(st.integers(1, 60))
    killers = draw(st.frozensets(st.integers(0, size - 1), max_size=3))
    return World(draw(POLICIES), size, killers, in_flight=draw(st.integers(1, 3)))


@given(worlds())
def test_killers_and_only_killers_are_given_up_after_bounded_deaths(world: World) -> None:
    deaths = 0
    while not world.live():
        deaths += 1
        assert deaths <= len(world.killers) * most_deaths(world.policy), "dies for ever"
    assert set(world.outcomes) == set(range(world.size))
    assert world.given_up == world.killers
    assert world.alone == dict.fromkeys(world.killers, world.policy.tries)


@given(worlds(), st.lists(st.integers(0, 30), max_size=20))
def test_deaths_for_other_reasons_give_nothing_up_early(world: World, lives: list[int]) -> None:
    """A record is given up only after the owner died `tries` times when it was that record's turn, alone."""
    for steps in lives:
        world.live(steps)
    for _ in range(len(world.killers) * most_deaths(world.policy) + 1):
        if world.live():
            break
    assert set(world.outcomes) == set(range(world.size))
    assert world.killers <= world.given_up
    for offset in world.given_up:
        assert world.suspected[offset] >= world.policy.tries


@given(worlds(), st.lists(st.tuples(st.integers(0, 30), st.sampled_from(("dies", "closes", "loses"))), max_size=20))
def test_words_of_the_living_neither_save_a_killer_nor_blame_the_innocent(
    world: World, lives: list[tuple[int, Ending]]
) -> None:
    for steps, ending in lives:
        world.live(steps, ending)
    deaths = 0
    while not world.live():
        deaths += 1
        assert deaths <= len(world.killers) * most_deaths(world.policy) + 1, "dies for ever"
    assert set(world.outcomes) == set(range(world.size))
    assert world.killers <= world.given_up
    for offset in world.given_up:
        assert world.suspected[offset] >= world.policy.tries


@given(worlds(), st.lists(st.integers(0, 4), min_size=4, max_size=20))
def test_where_nobody_dies_nothing_is_given_up_however_often_sessions_are_lost(world: World, lives: list[int]) -> None:
    """Without words, one that was tried alone at each loss would be."""
    world.killers = frozenset()
    for steps in lives:
        world.live(steps, "loses")
    assert world.live()
    assert world.given_up == set()
    assert set(world.outcomes) == set(range(world.size))


@given(POLICIES, st.sampled_from(("c", "n", "b", "B", "a0", "a1", "a2", "a9")))
def test_the_phase_returns_to_normal(policy: CautionPolicy, inherited: str) -> None:
    caution = Caution(policy, inherited)
    records = 0
    while caution.careful:
        if not caution.exhausted:
            armed = caution.armed_phase
            caution.arm()
            assert caution.phase == armed, "what was stored is not what is tried"
        batch = caution.batch
        expected = caution.phase_after(batch)
        caution.committed(batch)
        assert caution.phase == expected, "what was stored is not what goes on"
        records += batch
        assert records <= policy.suspects + 2 * policy.batch, "careful for ever"
    assert caution.phase == "n"
    assert caution.closing_phase == "c"
    assert not caution.exhausted


def tries_of(caution: Caution) -> list[int]:
    """Sizes of the batches that are tried, each of which passes, until it is normal again."""
    sizes = []
    while caution.careful:
        caution.arm()
        sizes.append(caution.batch)
        caution.committed(caution.batch)
    return sizes


def test_suspicion_of_a_batch_that_passes_costs_few_tries() -> None:
    """Record by record, a batch of a thousand took a thousand: minutes, though often no input was to blame."""
    sizes = tries_of(Caution(CautionPolicy(tries=3, batch=1000, suspects=10_000), "B"))
    assert sizes == [1] * 32 + [2, 4, 8, 16, 32, 64, 128, 256, 458] + [1000] * 10


@given(POLICIES)
def test_what_is_tried_together_is_not_blamed_as_if_it_were_alone(policy: CautionPolicy) -> None:
    caution = Caution(policy, "B")
    while caution.careful:
        armed = caution.armed_phase
        caution.arm()
        assert (armed == "B") == (caution.batch > 1 or caution.closing_phase == "b")
        caution.committed(caution.batch)


@given(st.sampled_from(("c", "n", "b", "B", "a1", "a9")), st.integers(1, 9))
def test_where_no_input_can_kill_nobody_is_careful(inherited: str, records: int) -> None:
    caution = Caution(CautionPolicy(3, 5, 9, enabled=False), inherited)
    assert not caution.careful
    assert not caution.exhausted
    caution.committed(records)
    assert caution.phase == "n"


@given(POLICIES)
def test_a_commit_without_records_proves_nothing(policy: CautionPolicy) -> None:
    caution = Caution(policy, "B")
    caution.arm()
    caution.committed(0)
    assert caution.armed
    assert caution.phase == caution.phase_after(0) == "a1"


@given(POLICIES, st.sampled_from(("n", "b", "B", "a0", "a1", "a2")), st.integers(1, 9))
def test_to_be_given_and_to_be_taken_away_is_nobody_s_fault(policy: CautionPolicy, inherited: str, owners: int) -> None:
    """Owners that come and go, well or by a death that was not this partition's, count for nothing."""
    first = Caution(policy, inherited)
    phase = first.phase
    for _ in range(owners):
        owner = Caution(policy, phase)
        assert owner.phase == first.phase
        if not owner.exhausted:
            owner.arm()
        phase = owner.closing_phase
        assert Caution(policy, phase).phase == first.phase
