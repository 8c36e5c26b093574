from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bisupervised.streams.offline.recordings.pairs import Recorded, read_recording
from hypothesis import given
from hypothesis import strategies as st

SCORES = st.floats(allow_nan=False, allow_infinity=False)
#: what survives a CSV cell: the reader strips blanks, and a cell of nothing is empty
TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with ids of their own, whole numbers or texts for answers, and any finite score."""
    answers = draw(st.sampled_from([st.integers(-(2**50), 2**50), TEXTS]))
    ids = draw(st.lists(TEXTS, min_size=1, max_size=20, unique=True))
    row = st.fixed_dictionaries({"prediction": answers, "truth": answers, "score": SCORES, "correct": st.booleans()})
    return [{"id": identity} | draw(row) for identity in ids]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS = {"csv": write_csv, "jsonl": write_json, "parquet": write_parquet}


def same(one: Recorded, other: Recorded) -> bool:
    pairs = [(one.ids, other.ids)]
    for side in ("local", "remote"):
        mine, theirs = getattr(one.recording, side), getattr(other.recording, side)
        pairs += [(getattr(mine, name), getattr(theirs, name)) for name in ("scores", "correct", "predictions")]
    return all(a.dtype.kind == b.dtype.kind and np.array_equal(a, b) for a, b in pairs)


@given(tables(), st.randoms())
def test_the_same_through_three_formats_in_any_order(rows: list[dict[str, Any]], chance: Any) -> None:
    shuffled = chance.sample(rows, len(rows))
    with tempfile.TemporaryDirectory() as name:
        read = []
        for ending, write in WRITERS.items():
            local, remote = Path(name, f"local.{ending}"), Path(name, f"remote.{ending}")
            write(local, rows)
            write(remote, shuffled)
            read.append(read_recording(local, remote))
        mixed = read_recording(Path(name, "local.csv"), Path(name, "remote.parquet"))
    assert [str(row["id"]) for row in rows] == read[0].ids.tolist()
    assert [row["score"] for row in rows] == read[0].recording.remote.scores.tolist()
    assert [row["correct"] for row in rows] == read[0].recording.local.correct.tolist()
    assert all(same(read[0], other) for other in [*read[1:], mixed])
