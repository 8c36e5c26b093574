"""The version in force: the same for everybody, whatever was written twice, written too late, or compacted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import msgspec
from bisupervised.schemas.versions import Reason, ThresholdsEntry
from bisupervised.streams.versions.fold import fold
from hypothesis import given
from hypothesis import strategies as st
from support.versions import LADDER, PIPELINE, chosen

OTHER = replace(LADDER, digest="another file", version="another")
#: a writer: how many entries it had read, and what it chose
WRITES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(1, 4),
        st.sampled_from(get_args(Reason)),
        st.sampled_from([LADDER, LADDER, LADDER, OTHER]),
        st.sampled_from(["sound"] * 6 + ["another pair", "no rung", "another pipeline"]),
    ),
    max_size=25,
)


@dataclass(frozen=True)
class Case:
    """What a topic holds."""

    entries: list[ThresholdsEntry]


@st.composite
def topics(draw: st.DrawFn) -> Case:
    """Entries of writers who had read all but the last few of what was there."""
    entries: list[ThresholdsEntry] = []
    for behind, rung, reason, ladder, kind in draw(WRITES):
        read = entries[: max(0, len(entries) - behind)]
        entry = chosen(read, rung, reason, ladder=ladder, at_ms=len(entries))
        if kind == "another pair":
            entry = msgspec.structs.replace(entry, local=0.123)
        if kind == "no rung":
            entry = msgspec.structs.replace(entry, rung=99)
        if kind == "another pipeline":
            entry = chosen([], rung, reason, ladder=ladder, at_ms=len(entries), pipeline="bank")
        entries.append(entry)
    return Case(entries)


def in_one_go(entries: list[ThresholdsEntry]) -> str:
    """The rule as it stands in the documentation, one entry after the other."""
    version, pinned = LADDER.version, False
    for entry in entries:
        mine = entry.pipeline == PIPELINE and entry.ladder == LADDER.digest and entry.previous == version
        rung = LADDER.rungs[entry.rung - 1] if 1 <= entry.rung <= 4 else None
        sound = rung is not None and (entry.local, entry.remote) == (rung.local, rung.remote)
        if mine and sound and (not pinned or entry.reason in ("pin", "unpin")):
            version, pinned = entry.version, entry.reason == "pin"
    return version


@given(topics())
def test_it_is_what_the_rule_says(case: Case) -> None:
    assert fold(case.entries, PIPELINE, LADDER).version == in_one_go(case.entries)


@given(topics())
def test_who_reads_further_only_goes_on(case: Case) -> None:
    """What took effect stays: no entry that comes later undoes a former one."""
    before: tuple[ThresholdsEntry, ...] = ()
    for number in range(len(case.entries) + 1):
        chain = fold(case.entries[:number], PIPELINE, LADDER).chain
        assert chain[: len(before)] == before
        assert len(chain) <= len(before) + 1
        before = chain


@given(topics())
def test_every_entry_in_force_was_written_after_the_one_it_names(case: Case) -> None:
    chain = fold(case.entries, PIPELINE, LADDER).chain
    assert [entry.previous for entry in chain] == [LADDER.version, *(entry.version for entry in chain)][: len(chain)]
    assert len({entry.version for entry in chain}) == len(chain)


@given(topics(), st.data())
def test_what_is_written_twice_counts_once(case: Case, data: st.DataObject) -> None:
    entries = list(case.entries)
    for entry in data.draw(st.lists(st.sampled_from(case.entries), max_size=5)) if case.entries else []:
        entries.insert(data.draw(st.integers(entries.index(entry) + 1, len(entries))), entry)
    assert fold(entries, PIPELINE, LADDER) == fold(case.entries, PIPELINE, LADDER)


@given(topics(), st.data())
def test_compaction_changes_nothing(case: Case, data: st.DataObject) -> None:
    """It keeps the last record of each key; one that is written twice is written again before anything else is."""
    copies = data.draw(st.lists(st.integers(1, 3), min_size=len(case.entries), max_size=len(case.entries)))
    entries = [entry for entry, count in zip(case.entries, copies, strict=True) for _ in range(count)]
    last = {entry.version: number for number, entry in enumerate(entries)}
    for dirty in range(len(entries) + 1):  # only what is before that is compacted
        kept = [e for number, e in enumerate(entries) if number >= dirty or last[e.version] == number]
        assert fold(kept, PIPELINE, LADDER) == fold(case.entries, PIPELINE, LADDER)


@given(topics())
def test_other_pipelines_and_files_change_nothing(case: Case) -> None:
    own = [entry for entry in case.entries if (entry.pipeline, entry.ladder) == (PIPELINE, LADDER.digest)]
    assert fold(own, PIPELINE, LADDER).chain == fold(case.entries, PIPELINE, LADDER).chain
