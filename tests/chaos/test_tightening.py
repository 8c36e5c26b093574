"""Each of the checks on a fleet that tightens can fail: `run.py --audit --tighten` looks for these faults."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bisupervised.agents.supervision.thresholds import Rung
from bisupervised.agents.terms import Ladder
from bisupervised.schemas.closings import Closing, LadderTold, Taken
from bisupervised.schemas.codec import encode_result
from bisupervised.schemas.records import Result, Source, Verdict
from bisupervised.schemas.versions import ThresholdsEntry
from bisupervised.streams.versions.entries import next_entry
from bisupervised.streams.versions.fold import fold

sys.path.append(str(Path(__file__).parent))  # the scripts of this folder find each other so
from run import broken
from tightening import DEMANDS, RUNGS, STARTS_AT, Judgements, Told, figures

LADDER = Ladder("file", "made", STARTS_AT, tuple(Rung(*pair, 0.1, None, None, None) for pair in RUNGS), "", "")


class Record:
    """Of `results`, as a broker hands it out."""

    topic = "results"

    def __init__(self, result: Result) -> None:
        self.value = encode_result(result)


def entry(entries: list[ThresholdsEntry], rung: int) -> ThresholdsEntry:
    standing = fold(entries, "chaos", LADDER)
    return next_entry(standing, "chaos", LADDER, rung, "tighten", by="auditor", at_ms=1000)


FIRST = entry([], 3)
SECOND = entry([FIRST], 4)
CHOSEN = [FIRST, SECOND]
RUNG_OF = {"made": STARTS_AT, FIRST.version: 3, SECOND.version: 4}


def judged(offset: int, version: str, *, took_ms: float, of: str | None = None) -> Record:
    """A trusted remote answer; `of`: whose thresholds judged, by default those of its version."""
    local, remote = RUNGS[RUNG_OF.get(of or version, 1) - 1]
    verdict = Verdict(1, 0.5, local, latency_ms=took_ms)
    source = Source("requests", 0, offset)
    return Record(Result(source, 1, "remote", 0.9, remote, local=verdict, thresholds=version))


def closing(number: int, chose: str = "") -> Closing:
    return Closing(number, "chaos", 0, Taken({}, 0), Taken({}, 0), "", ladder=LadderTold("made", 1, chose=chose))


def looked_at(
    records: list[Record], probes: frozenset[tuple[int, int]] = frozenset({(0, 200)}), **changed: Any
) -> dict[str, Any]:
    judgements = Judgements()
    for record in records:
        judgements.add(record)
    told: dict[str, Any] = {
        "standing": fold(CHOSEN, "chaos", LADDER),
        "ladder": LADDER,
        "closings": [closing(1), closing(2, FIRST.version), closing(3, SECOND.version)],
        "differing": 0,
        "recomputed": SECOND.version,
    }
    return figures(Told(**(told | changed)), judgements, probes)


GOOD = [
    *(judged(offset, "made", took_ms=1.5) for offset in range(5)),
    *(judged(offset, FIRST.version, took_ms=2.5) for offset in range(5, 10)),
    judged(200, SECOND.version, took_ms=1.5),  # as long as the first batch by chance, and far from it
]


def test_a_fleet_that_keeps_what_it_promises_has_no_fault() -> None:
    found = looked_at(GOOD)
    assert {name: found[name] for name in DEMANDS if found.get(name)} == {}
    assert (found["chosen"], found["tightened"], found["judged_by"], found["batches"]) == (2, 2, 3, 2)


@pytest.mark.parametrize(
    ("name", "records", "changed"),
    [
        ("two_in_a_batch", [judged(10, SECOND.version, took_ms=2.5)], {}),
        ("not_in_the_topic", [judged(10, "9-rung-4-0123456789", took_ms=3.5)], {}),
        ("other_thresholds", [judged(10, FIRST.version, took_ms=3.5, of=SECOND.version)], {}),
        ("void", [], {"standing": fold([*CHOSEN, entry([FIRST], 5)], "chaos", LADDER)}),
        ("chosen_twice", [], {"closings": [closing(1), closing(2, FIRST.version), closing(3, FIRST.version)]}),
        ("closings_missing", [], {"closings": [closing(1, FIRST.version), closing(3, SECOND.version)]}),
        ("closings_differing", [], {"differing": 1}),
        ("last_not_in_force", [], {"probes": frozenset({(0, 5)})}),
        ("last_not_in_force", [], {"probes": frozenset()}),
        ("recomputed_otherwise", [], {"recomputed": FIRST.version}),
    ],
)
def test_each_fault_is_found(name: str, records: list[Record], changed: dict[str, Any]) -> None:
    found = looked_at([*GOOD, *records], **changed)
    assert name in DEMANDS
    assert {fault for fault in DEMANDS if found.get(fault)} == {name}


def test_a_version_that_only_the_first_verdict_names_is_one_too() -> None:
    """A request that two versions judged: the local one is that of its batch."""
    record = judged(10, SECOND.version, took_ms=2.5)
    result = msgspec.json.decode(record.value, type=Result)
    assert result.local is not None
    first = msgspec.structs.replace(result.local, threshold=RUNGS[2][0], thresholds=FIRST.version)
    record.value = encode_result(msgspec.structs.replace(result, local=first))
    found = looked_at([*GOOD, record])
    assert {fault for fault in DEMANDS if found.get(fault)} == set()


def test_a_fleet_that_tightens_is_judged_as_every_other() -> None:
    """Its count of batches was once taken for that of a provider's: the run ended with a traceback."""
    run = {"lost": 0, "stuck": 0, "out_of_order": 1, "duplicated": 0, "versions": looked_at(GOOD)}
    assert broken(run, "exactly_once", demand_aborts=False) == ["1 out_of_order"]
