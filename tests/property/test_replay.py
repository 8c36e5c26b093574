"""The bookkeeping of a replay: however it is cut into steps and killed, each record is dealt with once."""

from __future__ import annotations

import msgspec
from bisupervised.schemas.records import REASON_HEADER
from bisupervised.streams.tools.replay import Counts, Mark, ReplayOptions, take
from hypothesis import given
from hypothesis import strategies as st
from support.records import Record


@given(
    reasons=st.lists(st.sampled_from(["timeout", "budget"]), max_size=30),
    end=st.integers(0, 30),
    limit=st.none() | st.integers(1, 12),
    steps=st.lists(st.tuples(st.integers(1, 7), st.booleans()), max_size=80),
)
def test_every_record_of_the_snapshot_once(
    reasons: list[str], end: int, limit: int | None, steps: list[tuple[int, bool]]
) -> None:
    end = min(end, len(reasons))
    records = [Record(b"1", n, headers=[(REASON_HEADER, reason.encode())]) for n, reason in enumerate(reasons)]
    mark, at, sent = Mark(end, "", ReplayOptions("requests", ("timeout",), limit=limit)), 0, list[int]()
    for size, killed in [*steps, *[(7, False)] * 10]:
        room = None if limit is None else limit - mark.counts.replayed
        if at >= end or room == 0:
            break
        read = records[at : at + size]
        taken = take(read, at + len(read), mark, room)
        if killed:  # before its transaction: nothing of the step ever happened
            continue
        at, mark = taken.offset, msgspec.structs.replace(mark, counts=mark.counts.plus(taken.counts))
        sent += [record.offset for record in taken.chosen]
    wanted = [n for n, reason in enumerate(reasons[:end]) if reason == "timeout"]
    assert sent == wanted[:limit]
    if limit is None:
        assert mark.counts == Counts(replayed=len(wanted), not_chosen=end - len(wanted))
