"""Every order of events on a window, over several lives of its owner, against a model of the partition's log."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from bisupervised.streams.plane.window.caution import Caution, CautionPolicy
from bisupervised.streams.plane.window.marks import METADATA_CHARS, SPAN, Progress, decode
from bisupervised.streams.plane.window.slots import Lease, Plan
from bisupervised.streams.plane.window.window import Ordering, Window, WindowPolicy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.records import Record
from support.windows import TOPIC_ID, answer, answers, commit, given_up, log, make_window, stored, window_policy

#: how far records may be handed out before the next commit; 0 where nobody needs to know
AHEAD = st.sampled_from((0, 1, 3, 50))
KEYS = (None, b"a", b"b", b"c")
#: distances between neighbours: mostly none, sometimes the hole of a marker, of compaction, or a very wide one
GAPS = st.sampled_from((*[1] * 14, 2, 3, 9, 40, SPAN // 3, SPAN - 1, SPAN + 7))


@st.composite
def logs(draw: st.DrawFn, most: int = 30) -> list[Record]:
    """The records of a partition, with holes between them."""
    gaps = draw(st.lists(GAPS, min_size=1, max_size=most))
    made, offset = [], draw(st.integers(0, 3))
    for gap in gaps:
        made.append(Record(b"v", offset, key=draw(st.sampled_from(KEYS))))
        offset += gap
    return made


@st.composite
def policies(draw: st.DrawFn) -> WindowPolicy:
    """Bounds from too small to too large, either ordering."""
    return window_policy(
        records=draw(st.sampled_from((1000, 10, 3, 1))),
        size=draw(st.sampled_from((1 << 30, 1 << 30, 700, 1))),
        pending=draw(st.sampled_from((1000, 4, 1))),
        tries=draw(st.integers(1, 3)),
        ordering=draw(st.sampled_from(("key", "none"))),
    )


class Lives(RuleBasedStateMachine):
    """A partition, the window of its present owner, and what the broker has stored."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.leases: list[Lease] = []
        self.orphans: list[Lease] = []
        self.plan: Plan | None = None
        self.sent: list[int] = []  # offsets in the order of their committed outcomes, over all lives
        self.given_up: set[int] = set()
        self.called: set[int] = set()  # offsets that were ever asked, over all lives
        self.seen: set[int] = set()  # offsets that an owner has ever fetched
        self.seen_before: set[int] = set()  # by the owners before this one

    @initialize(records=logs(), policy=policies(), careful=st.booleans(), end_gap=st.integers(0, 5), ahead=AHEAD)
    def begin(self, records: list[Record], policy: WindowPolicy, careful: bool, end_gap: int, ahead: int) -> None:
        self.records = records
        self.end = records[-1].offset + 1 + end_gap
        self.policy = policy if careful else replace(policy, ahead=ahead)
        self.caution = CautionPolicy(tries=3, batch=3, suspects=8, enabled=careful)
        self.stored = Progress(records[0].offset, topic_id=TOPIC_ID)
        self.window = self.new_window()

    def new_window(self) -> Window:
        caution = Caution(self.caution, self.stored.phase)
        return Window(self.policy, self.stored, caution, given_up)

    # what may happen

    @rule(limit=st.integers(1, 12))
    def fetch(self, limit: int) -> None:
        if self.window.full():
            return
        rest = [record for record in self.records if record.offset >= self.window.position]
        self.window.add(rest[:limit])
        self.seen |= {record.offset for record in rest[:limit]}
        following = rest[limit].offset if len(rest) > limit else self.end
        if limit % 2:  # sometimes the client has not yet looked past the hole
            self.window.advance(following)

    @rule(limit=st.sampled_from((1, 2, 2, 3, 6)), asks=st.booleans())
    def take(self, limit: int, asks: bool = True) -> None:
        lease = self.window.take(limit, self.now)
        if lease is None:
            return
        held = [slot.offset for other in self.leases for slot in other.slots]
        got = [slot.offset for slot in lease.slots]
        assert 0 < len(got) <= limit
        assert not set(got) & set(held), "handed out twice"
        assert not set(got) & set(self.sent), "handed out after its outcome was committed"
        self.check_called(lease, asks)
        self.leases.append(lease)

    def check_called(self, lease: Lease, asks: bool) -> None:
        """Whoever is asked again is known, whatever ended in between, and nobody whom no owner had seen is."""
        if not self.policy.ahead:
            return
        assert not [slot.offset for slot in lease.slots if slot.offset in self.called and not slot.called]
        marked = {slot.offset for slot in lease.slots if slot.called}
        assert marked <= self.called | self.seen_before
        for slot in lease.slots if asks else ():
            slot.called = True
            self.called.add(slot.offset)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def resolve(self, data: st.DataObject) -> None:
        lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        lease.resolve(answers([slot.record for slot in lease.slots]))
        self.orphans.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), failed=st.booleans(), shared=st.booleans())
    def release(self, data: st.DataObject, failed: bool, shared: bool) -> None:
        lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        lease.release(failed=failed, alone=len(lease.slots) == 1 and not shared, now=self.now)
        self.orphans.append(lease)

    @precondition(lambda self: self.orphans)
    @rule(data=st.data(), resolve=st.booleans())
    def too_late(self, data: st.DataObject, resolve: bool) -> None:
        """A lease that has ended, of this window or of a former one, changes nothing."""
        lease = data.draw(st.sampled_from(self.orphans))
        before = self.state()
        if resolve:
            lease.resolve([answer(Record(b"", slot.offset)) for slot in lease.slots])
        else:
            lease.release(failed=True, alone=len(lease.slots) == 1, now=self.now)
        assert self.state() == before

    def state(self) -> tuple[object, ...]:
        window = self.window
        return (window.unfinished, window.held, window.pending, window.ready, window.watermark, window.progress())

    @precondition(lambda self: self.plan is None)
    @rule(limit=st.one_of(st.none(), st.integers(1, 3)))
    def send(self, limit: int | None) -> None:
        self.plan = self.window.arming() if self.window.wants_arming else self.window.plan(limit)
        self.check(self.plan)

    def check(self, plan: Plan) -> None:
        """What would be committed: nothing unfinished below it, nothing done that is left out."""
        offsets = [slot.offset for slot in plan.slots]
        assert not self.window.in_order or offsets == sorted(offsets), "it says that they are in order"
        finished = set(self.sent) | {slot.offset for slot in plan.slots}
        known = {record.offset for record in self.records}
        below = {offset for offset in known if offset < plan.progress.offset}
        assert below <= finished, "the offset passes an unfinished record"
        above = {offset for offset in finished if offset >= plan.progress.offset}
        assert plan.progress.done == above, "the marks are not what is done"
        assert len(plan.progress.metadata()) <= METADATA_CHARS
        assert stored(plan) == plan.progress

    @precondition(lambda self: self.plan is not None)
    @rule()
    def goes_through(self) -> None:
        assert self.plan is not None
        self.store(self.plan)
        self.window.committed(self.plan)
        self.plan = None

    def store(self, plan: Plan) -> None:
        self.stored = stored(plan)
        for slot, outcome in zip(plan.slots, plan.outcomes, strict=True):
            expected = answer(slot.record), given_up(slot.record)
            assert outcome in expected, "the outcome of another record"
            self.sent.append(slot.offset)

    @precondition(lambda self: self.plan is not None)
    @rule()
    def rolls_back(self) -> None:
        assert self.plan is not None
        self.window.rolled_back(self.plan)
        self.plan = None

    @rule(end=st.sampled_from((None, None, None, "lost", "arrived", "clean")))
    def ends(self, end: str | None) -> None:
        """The process ends, if it does: a transaction on its way was stored or not, or it closes well."""
        if end is None:
            return
        if self.plan is not None and end == "arrived":
            self.store(self.plan)
        elif self.plan is None and end == "clean":
            self.last_commit()
        self.restart()

    def last_commit(self) -> None:
        plan = self.window.plan()
        if self.policy.ahead:
            plan = self.window.closing(plan)
        elif not self.window.held:
            plan = Plan(plan.slots, self.window.progress(phase="c"))
        self.store(plan)

    def restart(self) -> None:
        self.window.close()
        self.orphans += self.leases
        self.leases, self.plan = [], None
        self.seen_before = set(self.seen)
        self.window = self.new_window()
        opening = Plan([], self.window.progress())
        self.stored = stored(opening)
        self.window.committed(opening)

    @rule(seconds=st.floats(0.0, 0.3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # what always holds

    @invariant()
    def one_outcome_each(self) -> None:
        twice = [offset for offset, times in Counter(self.sent).items() if times > 1]
        assert not twice, f"more than one outcome: {twice}"

    @invariant()
    def counts_are_right(self) -> None:
        window = self.window
        fetched = [r for r in self.records if self.stored_at_start(r) and r.offset < window.position]
        missing = [record for record in fetched if record.offset not in self.sent]
        assert window.unfinished == len(missing)
        assert window.held == sum(len(lease.slots) for lease in self.leases)
        assert 0 <= window.pending <= window.unfinished - window.held
        assert window.bytes == sum(len(r.value or b"") + len(r.key or b"") + 200 for r in missing)

    def stored_at_start(self, record: Record) -> bool:
        return record.offset >= self.records[0].offset

    @invariant()
    def paused_means_later_resumed(self) -> None:
        """What is below a share of every bound is below the bound: no flapping between pause and resume."""
        assert self.window.full(0.5) or not self.window.full()

    @invariant()
    def keys_are_in_order(self) -> None:
        if self.policy.ordering == "none":
            return
        key_of = {record.offset: record.key for record in self.records}
        for key in KEYS[1:]:
            of_key = [offset for offset in self.sent if key_of[offset] == key]
            assert of_key == sorted(of_key), f"outcomes of {key!r} out of order"

    def teardown(self) -> None:
        """Nothing is stuck: with everybody willing, everything ends."""
        if not hasattr(self, "window"):
            return
        self.settle()
        while self.window.position < self.end:
            before = self.window.position
            self.fetch(12)
            self.window.advance(before)
            if self.window.full():
                self.settle()
                assert not self.window.full(0.5), "the window stays full"
            if self.window.position == before and len(self.records) == len(self.sent):
                self.window.advance(self.end)
            self.settle()
        self.is_drained()

    def settle(self) -> None:
        """Resolve and commit all there is."""
        if self.plan is not None:
            self.goes_through()
        for _ in range(20 * len(self.records) + 20):
            self.now += 1.0
            if self.window.wants_arming:
                self.send(None)
                self.goes_through()
            self.take(6)
            while self.leases:
                lease = self.leases.pop()
                lease.resolve(answers([slot.record for slot in lease.slots]))
            self.send(None)
            self.goes_through()
            if not self.window.unfinished:
                return
        raise AssertionError(f"stuck: {self.window!r}")

    def is_drained(self) -> None:
        window = self.window
        assert sorted(self.sent) == [record.offset for record in self.records]
        assert window.watermark == window.position
        assert (window.unfinished, window.bytes, window.held, window.pending, window.ready) == (0, 0, 0, 0, 0)
        assert not window._slots
        assert window._keys is None or not window._keys._followers
        assert window._finished == 0


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=4 * settings().max_examples,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@given(data=st.data(), ordering=st.sampled_from(("key", "none")), records=logs(most=40))
def test_any_order_of_completion_gives_each_offset_one_outcome(
    data: st.DataObject, ordering: Ordering, records: list[Record]
) -> None:
    window = make_window(window_policy(ordering=ordering), Progress(0))
    sent: list[int] = []
    window.add(records)
    leases: list[Lease] = []
    while (lease := window.take(3, 0.0)) is not None:
        leases.append(lease)
    for lease in data.draw(st.permutations(leases)):
        lease.resolve(answers([slot.record for slot in lease.slots]))
        plan = commit(window)
        sent += [slot.offset for slot in plan.slots]
        assert plan.progress.done == {offset for offset in sent if offset >= plan.progress.offset}
        assert stored(plan) == plan.progress
    while window.ready:  # what lay beyond the reach of the marks
        sent += [slot.offset for slot in commit(window).slots]
    assert sorted(sent) == [record.offset for record in records]
    assert window.watermark == window.position


@pytest.mark.parametrize("first", [0, 7, 10**12])
def test_the_worst_bitmap_fits(first: int) -> None:
    """One record is unfinished and everything else within the span is done."""
    window = make_window(window_policy(records=10**6, pending=10**6), Progress(first, topic_id="f" * 32))
    window.add(log(*range(first, first + SPAN + 10)))
    head = window.take(1, 0.0)
    rest = window.take(10**6, 0.0)
    assert rest is not None
    rest.resolve(answers([slot.record for slot in rest.slots]))
    plan = commit(window)
    assert len(plan.slots) == SPAN - 1  # the others lie beyond what can be marked, and wait
    assert plan.progress.offset == first
    assert len(plan.progress.metadata()) <= METADATA_CHARS
    assert stored(plan) == plan.progress
    assert window.full()
    assert head is not None
    head.resolve(answers(log(first)))
    assert len(commit(window).slots) == 1
    assert len(commit(window).slots) == 10
    assert window.watermark == first + SPAN + 10


@given(st.sets(st.integers(1, SPAN - 1), max_size=200), st.integers(1, 50))
def test_marks_outlive_any_number_of_crashes(done: set[int], chunk: int) -> None:
    """Whatever was marked is never handed out again, however the fetches are cut and whoever dies between them."""
    progress = Progress(0, frozenset(done), "c", TOPIC_ID)
    here = sorted(done | {0, 1, max(done, default=0) + 1})
    for _ in range(3):
        window = make_window(window_policy(records=10**6, pending=10**6), progress)
        window.add(log(*here[:chunk]))
        lease = window.take(1, 0.0)
        if lease is None:
            break
        assert lease.slots[0].offset not in done
        lease.resolve(answers([lease.slots[0].record]))
        done = done | {lease.slots[0].offset}
        plan = commit(window)
        assert {o for o in done if o >= plan.progress.offset} == plan.progress.done
        progress = decode(plan.progress.offset, plan.progress.metadata())
        here = [offset for offset in here if offset >= progress.offset]
