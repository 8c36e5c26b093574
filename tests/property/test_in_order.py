"""A window that makes no slots does what one does that makes a slot of every record."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.plane.window.caution import Caution, CautionPolicy
from bisupervised.streams.plane.window.marks import SPAN, Progress
from bisupervised.streams.plane.window.slots import Lease, Plan, Run
from bisupervised.streams.plane.window.window import Ordering, Window
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import Record
from support.windows import TOPIC_ID, answer, answers, given_up, window_policy

pytestmark = pytest.mark.property

CAREFUL = CautionPolicy(tries=2, batch=3, suspects=6, alone=2)
#: holes between offsets, as transactions and compaction leave them; one so wide that marks do not reach over it
GAPS = st.sampled_from((1, 1, 1, 2, 5, SPAN // 2))
STEPS = st.lists(
    st.one_of(
        # most batches are answered in the order in which they were handed out, and go through
        st.tuples(st.just("fetch"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("answer"), st.just(0)),
        st.tuples(st.just("answer"), st.just(0)),
        st.tuples(st.just("send"), st.sampled_from((None, None, 1, 2))),
        st.tuples(st.just("send"), st.none()),
        st.tuples(st.sampled_from(("commit", "roll back")), st.none()),
        st.tuples(st.just("replace"), st.integers(0, 3)),
        st.one_of(
            st.tuples(st.just("answer"), st.integers(1, 2)),
            st.tuples(st.sampled_from(("release", "fail")), st.integers(0, 2)),
            st.tuples(st.just("put aside"), st.integers(2, 40)),
        ),
    ),
    min_size=20,
    max_size=60,
)


class Life:
    """What is done to a window, and what it says."""

    def __init__(self, ordering: Ordering, phase: str, *, slots: bool) -> None:
        start = Progress(7, topic_id=TOPIC_ID, phase=phase)
        caution = Caution(CAREFUL, start.phase)
        self.window = Window(window_policy(ordering=ordering), start, caution, given_up)
        if slots:
            assert self.window._line is not None
            self.window._make_slots(self.window._line)
        self.leases: list[Lease] = []
        self.sent: deque[Plan] = deque()
        self.stored: list[tuple[Outgoing, ...]] = []
        self.now = 0.0

    def do(self, step: str, number: int | None, records: Sequence[Record]) -> None:
        window, leases, count = self.window, self.leases, number or 0
        match step:
            case "fetch":
                window.add([record for record in records if record.offset >= window.position][:count])
            case "take" if (lease := window.take(count, self.now)) is not None:
                leases.append(lease)
            case "answer" if leases:
                lease = leases.pop(min(count, len(leases) - 1))
                lease.resolve(answers([slot.record for slot in lease.slots]))
            case "release" | "fail" if leases:
                lease = leases.pop(min(count, len(leases) - 1))
                lease.release(failed=step == "fail", alone=len(lease.slots) == 1, now=self.now)
            case "send":
                self.sent.append(window.arming() if window.wants_arming else window.plan(number))
            case "commit" if self.sent:
                plan = self.sent.popleft()
                self.stored.append(tuple(plan.outcomes))
                window.committed(plan)
            case "roll back" if self.sent:
                window.rolled_back(self.sent.pop())
            case "replace" if self.sent and self.sent[-1].slots:  # as a refusal does
                plan = self.sent.pop()
                window.rolled_back(plan)
                slot = plan.slots[count % len(plan.slots)]
                slot.outcome = given_up(slot.record)
            case "put aside":
                window.put_aside(lambda record: given_up(record) if record.offset % count == 0 else None)
        self.now += 0.04

    def told(self) -> tuple[object, ...]:
        window = self.window
        oldest = window.oldest
        return (
            repr(window),
            window.progress(),
            window.watermark,
            window.span,
            window.bytes,
            window.due(self.now),
            window.alone,
            window.available(3),
            None if oldest is None else oldest.offset,
            [[slot.offset for slot in lease.slots] for lease in self.leases],
            [(plan.progress, tuple(plan.outcomes)) for plan in self.sent],
            [[(slot.offset, slot.outcome) for slot in plan.slots] for plan in self.sent],
            self.stored,
        )


@settings(max_examples=400)
@given(
    st.lists(st.tuples(GAPS, st.sampled_from((None, b"a", b"b"))), min_size=1, max_size=30),
    st.sampled_from(("key", "none")),
    st.sampled_from(("c", "c", "n", "B", "a1")),
    STEPS,
)
def test_whether_slots_are_made_changes_nothing(
    gaps: list[tuple[int, bytes | None]], ordering: Ordering, phase: str, steps: list[tuple[str, int | None]]
) -> None:
    records, offset = [], 6
    for gap, key in gaps:
        offset += gap
        records.append(Record(b"v" * (offset % 11), offset, key=key))
    lean, slotted = (Life(ordering, phase, slots=slots) for slots in (False, True))
    for step in steps:
        lean.do(*step, records)
        slotted.do(*step, records)
        assert lean.told() == slotted.told()


def test_no_slot_is_made_while_all_goes_in_order() -> None:
    life = Life("key", "c", slots=False)
    records = [Record(b"v", offset, key=b"k") for offset in range(7, 27)]
    life.do("fetch", 20, records)
    for _ in range(3):
        lease = life.window.take(5, 0.0)
        assert lease is not None
        lease.resolve([answer(record) for record in records[:5]])
        life.do("send", 3, records)
        life.do("roll back", None, records)
        life.do("send", None, records)
        sent = life.sent[0].slots
        life.do("commit", None, records)
        assert isinstance(sent, Run)
        assert not sent._slots
    assert not life.window._slots
    assert life.window.in_order
