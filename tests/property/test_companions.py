"""Outcomes and companions over transactions that are lost or refused, in any order: never one without the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

from bisupervised.schemas.records import Incoming, Outgoing
from bisupervised.streams.kafka.refusals import Refusal
from bisupervised.streams.plane.window.marks import Progress
from bisupervised.streams.plane.window.slots import Slot
from hypothesis import given
from hypothesis import strategies as st
from support.partitions import TOO_LARGE, Owner, ScriptedBroker, lost_after, lost_before
from support.virtual_time import on_virtual_time
from support.windows import TOPIC_ID


def lost_when_done(broker: ScriptedBroker, outcomes: Sequence[Outgoing], progress: Progress) -> NoReturn:
    """The connection breaks when everything was committed, or, of what cannot be, before."""
    refused = any(outcome.value in broker.refuses for outcome in outcomes)
    (lost_before if refused else lost_after)(broker, outcomes, progress)


ENDS = st.lists(st.sampled_from((None, None, lost_before, lost_when_done)), max_size=6)
#: what is refused of an offset: its outcome, its companion, or that and the smaller one
REFUSED = st.dictionaries(st.integers(0, 11), st.sampled_from(("outcome", "companion", "both sizes")), max_size=4)


class Drawn:
    """Companions of some offsets."""

    def __init__(self, offsets: set[int]) -> None:
        self.offsets = offsets

    def drawn(self, slots: Sequence[Slot], first: int, end: int, *, in_order: bool) -> Sequence[Slot]:
        return [slot for slot in slots if slot.offset in self.offsets]

    def of(self, record: Incoming, outcome: Outgoing) -> Outgoing | None:
        return Outgoing("audits", record.key, b"with %d" % record.offset, (), record.timestamp)

    def refused(self, record: Incoming, outcome: Outgoing, detail: str) -> Outgoing | None:
        return Outgoing("audits", record.key, b"less with %d" % record.offset, (), record.timestamp)


def refusals(refused: dict[int, str]) -> dict[bytes | None, Refusal]:
    found: dict[bytes | None, Refusal] = {}
    for offset, what in refused.items():
        if what == "outcome":
            found[b"answer %d" % offset] = TOO_LARGE
        else:
            found[b"with %d" % offset] = TOO_LARGE
        if what == "both sizes":
            found[b"less with %d" % offset] = TOO_LARGE
    return found


@given(
    batches=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    drawn=st.sets(st.integers(0, 19)),
    script=ENDS,
    refused=REFUSED,
    tells=st.booleans(),
)
def test_each_outcome_comes_once_and_each_companion_with_it(
    batches: list[int], drawn: set[int], script: list[object], refused: dict[int, str], tells: bool
) -> None:
    broker, total = play(batches, drawn, script, refused, tells)
    outcomes = [b"too large %d" % n if refused.get(n) == "outcome" else b"answer %d" % n for n in range(total)]
    small = {n for n in drawn if refused.get(n) == "companion"}
    whole = {n for n in drawn if n < total and refused.get(n) not in ("companion", "both sizes")}
    companions = [b"with %d" % n for n in whole] + [b"less with %d" % n for n in small if n < total]
    assert Counter(broker.sent) == Counter([*outcomes, *companions])


def play(
    batches: list[int], drawn: set[int], script: list[object], refused: dict[int, str], tells: bool
) -> tuple[ScriptedBroker, int]:
    broker = ScriptedBroker(Progress(0, topic_id=TOPIC_ID), refuses=refusals(refused), tells=tells)
    total = sum(batches)

    @on_virtual_time
    async def live() -> None:
        owner = Owner(broker, companions=Drawn(drawn))
        await owner.owned.wait()
        broker.script = list(script)  # type: ignore[arg-type]  # reactions, or None
        start = 0
        for size in batches:
            await owner.answer(*range(start, start + size))
            start += size
        await asyncio.sleep(60.0)
        await owner.release()

    live()
    return broker, total
