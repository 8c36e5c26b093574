"""What a recording holds besides one score, as it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.streams.cli import run
from bisupervised.streams.offline.recordings.columns import Where
from bisupervised.streams.offline.recordings.files import RecordingError
from bisupervised.streams.offline.recordings.pairs import Recorded, read_recording
from support.recorded import of_classes

ROW = {
    "id": "a",
    "pair": True,
    "truth": "x",
    "local_prediction": "x",
    "local_score": 0.75,
    "local_scores": {"max_softmax": 0.75, "pcs": 0.5},
    "local_probabilities": [0.75, 0.25],
    "local_labels": ["x", "y"],
    "length": 7,
    "remote_prediction": "x",
    "remote_score": 0.9,
}


def read(folder: Path, *changes: dict[str, Any]) -> Recorded:
    rows = [ROW | {"id": str(number)} | change for number, change in enumerate(changes or ({},))]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_recording(path, path, where=Where("pair", "true"))


def test_all_of_it_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, {}, {"local_probabilities": [0.6, 0.4], "length": None}).evidence
    assert {name: scores.tolist() for name, scores in found.scores.items()} == {
        "max_softmax": [0.75, 0.75],
        "pcs": [0.5, 0.5],
    }
    assert found.probabilities is not None
    assert found.probabilities.tolist() == [[0.75, 0.25], [0.6, 0.4]]
    assert found.labels == ("x", "y")
    assert found.lengths is not None
    assert np.array_equal(found.lengths, [7.0, np.nan], equal_nan=True)


def test_rows_that_are_no_pairs_have_no_part_in_it(tmp_path: Path) -> None:
    failed: dict[str, Any] = {
        "pair": False,
        "local_score": None,
        "local_scores": {},
        "local_probabilities": None,
        "local_labels": None,
    }
    found = read(tmp_path, {}, failed, {"length": 9})
    assert len(found.recording) == len(found.ids) == 2
    assert found.evidence.probabilities is not None
    assert found.evidence.probabilities.shape == (2, 2)
    assert found.evidence.lengths is not None
    assert found.evidence.lengths.tolist() == [7.0, 9.0]


def test_a_score_that_one_row_lacks_is_no_candidate(tmp_path: Path) -> None:
    found = read(
        tmp_path, {}, {"local_scores": {"max_softmax": 0.75}}, {"local_scores": {"max_softmax": 0.5, "pcs": None}}
    )
    assert list(found.evidence.scores) == ["max_softmax"]


def test_a_recording_without_any_has_none(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("local_scores", "local_probabilities", "local_labels", "length"))
    found = read(tmp_path, nothing).evidence
    assert (found.scores, found.probabilities, found.labels, found.lengths) == ({}, None, (), None)


def test_the_first_rows_have_their_own_evidence(tmp_path: Path) -> None:
    found = read(tmp_path, {}, {"length": 9}).first(1)
    assert found.evidence.lengths is not None
    assert found.evidence.lengths.tolist() == [7.0]


def test_in_csv_it_is_json(tmp_path: Path) -> None:
    path = tmp_path / "local.csv"
    path.write_text('id,prediction,truth,score,local_probabilities\na,0,0,0.75,"[0.75, 0.25]"\n')
    found = read_recording(path, path).evidence
    assert found.probabilities is not None
    assert found.probabilities.tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"local_probabilities": [0.5]}, "line 2, column 'local_probabilities': must be as many probabilities"),
        ({"local_probabilities": None}, "line 2, column 'local_probabilities': must be as many probabilities"),
        ({"local_probabilities": [0.5, "x"]}, "column 'local_probabilities': holds something that is no number"),
        ({"local_probabilities": [1.5, -0.5]}, "line 2, column 'local_probabilities': probabilities lie in 0..1"),
        ({"local_labels": ["y", "x"]}, "line 2, column 'local_labels': must be the names of the classes"),
        ({"local_scores": 0.5}, "line 2, column 'local_scores': must be scores by name"),
        ({"local_scores": {"pcs": True}}, "line 1, column 'local_scores'"),
        ({"length": [7]}, "line 2, column 'length': [7] is not a number"),
        ({"length": "seven"}, "line 2, column 'length': is not JSON"),
    ],
)
def test_what_is_no_evidence_is_told_with_its_place(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    rows = [{"local_scores": {"pcs": 0.5}}, change] if told.startswith("line 2") or "number" in told else [change, {}]
    with pytest.raises(RecordingError) as error:
        read(tmp_path, *rows)
    assert told in str(error.value)


def test_labels_are_those_of_the_probabilities(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="3 labels for 2 probabilities"):
        read(tmp_path, {"local_labels": ["x", "y", "z"]})


def test_calibrate_writes_a_learned_score_and_says_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the file to the thresholds file, by the command."""
    recording, evidence = of_classes(4000, 1, hidden=0.8)
    assert evidence.probabilities is not None
    assert evidence.lengths is not None
    assert recording.local.predictions is not None
    assert recording.remote.predictions is not None
    path = tmp_path / "pairs.jsonl"
    with path.open("w") as lines:
        for row in range(len(recording)):
            pair = {
                "local_correct": bool(recording.local.correct[row]),
                "remote_correct": bool(recording.remote.correct[row]),
                "local_score": float(recording.local.scores[row]),
                "remote_score": float(recording.remote.scores[row]),
                "local_probabilities": evidence.probabilities[row].tolist(),
                "local_labels": list(evidence.labels),
                "length": float(evidence.lengths[row]),
            }
            lines.write(json.dumps(pair) + "\n")
    files = ["--local", str(path), "--remote", str(path), "--out", str(tmp_path / "t.json")]
    wish = ["--remote-fraction", "0.4", "--max-error", "0.35", "--false-positive-rate", "0.5"]
    assert run(["calibrate", *files, *wish, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["learned"]["kept"] is True
    assert document["score"] == "learned"
    assert document["also"] == {"kind": "false_positive_rate", "value": 0.5}
    assert json.loads((tmp_path / "t.json").read_text()) == document["thresholds"]
    assert document["labels_to_halve"] > 4000
    assert run(["calibrate", *files, *wish, "--no-learned"]) == 0
    told = capsys.readouterr().out
    assert "no learned score was asked for" in told
    assert "more labels would make the margin of the promise half as wide" in told
