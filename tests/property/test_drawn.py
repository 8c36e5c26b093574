"""Which outcomes of a transaction are audited: the same ones, whatever order, gaps and outcomes it has."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.codec import fall_back, forward, publish
from bisupervised.schemas.records import Facts, Incoming, Outgoing, Result, Source
from bisupervised.streams.flow import request_facts
from bisupervised.streams.plane.window.slots import Slot
from bisupervised.streams.worker.auditing import Auditing
from hypothesis import given
from hypothesis import strategies as st
from support.records import Record

SECRET = b"only the fleet knows"
#: an end of a block of the draw lies among them
OFFSETS = st.integers(1000, 1060)
SOME = st.lists(OFFSETS, unique=True, max_size=40)
NEIGHBOURS = st.builds(lambda first, count: [*range(first, first + count)], OFFSETS, st.integers(1, 60))
ENDS = ("trusted", "doubtful", "failed", "none")


def known(record: Incoming) -> Facts:
    return msgspec.structs.replace(request_facts(record), topic_id="id")


def outcome(record: Record, end: str) -> Outgoing | None:
    source = Source("requests", 1, record.offset)
    if end == "trusted":
        return publish(record, Result(source, "cat", "local", 0.9, 0.8, thresholds="v1", requested_ms=5))
    if end == "doubtful":
        return forward(record, "doubtful", Facts(source))
    return fall_back(record, Facts(source), "too_large", "refused", "local") if end == "failed" else None


def slots(offsets: Sequence[int], ends: Sequence[str]) -> list[Slot]:
    made = []
    for offset, end in zip(offsets, ends, strict=False):
        record = Record(b"{}", offset, "requests", 1, key=b"k")
        made.append(Slot(record, offset, 1, called=False, outcome=outcome(record, end)))
    return made


@given(
    offsets=SOME | SOME.map(sorted) | NEIGHBOURS,
    ends=st.lists(st.sampled_from(ENDS), min_size=120, max_size=120),
    share=st.sampled_from((0.0, 0.05, 0.3, 1.0)),
    before=st.integers(0, 1100),
    after=st.integers(0, 1100),
)
def test_they_are_those_that_the_draw_says(
    offsets: list[int], ends: list[str], share: float, before: int, after: int
) -> None:
    draw = Draw(share, SECRET, "shop")
    auditing = Auditing(draw, SECRET, "shop", known, reads_requests=True)
    leaving = slots(offsets, ends)
    first, end = min(offsets, default=0) - before, max(offsets, default=0) + 1 + after
    expected = [
        offset
        for offset, what in zip(offsets, ends, strict=False)
        if what in ("trusted", "failed") and offset in draw.drawn("id", 1, offset, offset)
    ]
    for in_order in {False, offsets == sorted(offsets)}:
        found = auditing.drawn(leaving, max(0, first), end, in_order=in_order)
        assert [slot.offset for slot in found] == expected
