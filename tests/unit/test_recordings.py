from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from bisupervised.streams.offline.recordings.columns import Columns, Where
from bisupervised.streams.offline.recordings.files import RecordingError
from bisupervised.streams.offline.recordings.pairs import Recorded, read_recording
from support.recordings import NEEDS_DATA, files

LOCAL = "id,prediction,truth,score\na,1,1,0.9\nb,0,1,0.2\nc,1,1,0.5\n"
REMOTE = "id,prediction,truth,score\na,1,1,0.8\nb,1,1,0.7\nc,1,1,0.6\n"


def written(folder: Path, local: str, remote: str, ending: str = "csv") -> tuple[Path, Path]:
    paths = folder / f"local.{ending}", folder / f"remote.{ending}"
    for path, text in zip(paths, (local, remote), strict=True):
        path.write_bytes(text.encode())
    return paths


def read(folder: Path, local: str = LOCAL, remote: str = REMOTE, **options: Any) -> Recorded:
    return read_recording(*written(folder, local, remote), **options)


def refused(folder: Path, local: str = LOCAL, remote: str = REMOTE, ending: str = "csv", **options: Any) -> str:
    """What the error says, with the folder left out."""
    with pytest.raises(RecordingError) as error:
        read_recording(*written(folder, local, remote, ending), **options)
    return str(error.value).replace(f"{folder}/", "")


@NEEDS_DATA
@pytest.mark.parametrize(
    ("case", "where", "n", "local", "remote"),
    [
        ("imdb", None, 25_000, 0.79432, 0.89476),
        ("squadv2", None, 10_669, 0.2798762770643, 0.3077139375762),
        ("squadv2", Where("is_possible", "True"), 4_724, 0.6320914479255, 0.6949618966977),
    ],
)
def test_the_papers_recordings(case: str, where: Where | None, n: int, local: float, remote: float) -> None:
    recorded = read_recording(*files(case), where=where)
    assert len(recorded.recording) == len(recorded.ids) == n
    assert recorded.recording.local.accuracy == pytest.approx(local, abs=1e-12)
    assert recorded.recording.remote.accuracy == pytest.approx(remote, abs=1e-12)
    assert recorded.taken.paired_by == "id"


def test_what_was_taken_is_said(tmp_path: Path) -> None:
    recorded = read(tmp_path, remote="index,correct,gpt3_confidence\na,yes,1\nb,no,1\nc,1,1\n")
    assert str(recorded.taken) == (
        "local: id = id, score = score, prediction = prediction, truth = truth; "
        "remote: id = index, score = gpt3_confidence, correct = correct; paired by id"
    )
    assert recorded.recording.remote.correct.tolist() == [True, False, True]
    assert recorded.recording.local.correct.tolist() == [True, False, True]


def test_rows_pair_by_id_in_whatever_order(tmp_path: Path) -> None:
    header, *rows = REMOTE.splitlines()
    recorded = read(tmp_path, remote="\n".join([header, *reversed(rows)]))
    assert recorded.ids.tolist() == ["a", "b", "c"]
    assert recorded.recording.remote.scores.tolist() == [0.8, 0.7, 0.6]


def test_rows_pair_by_position_where_one_has_no_id(tmp_path: Path) -> None:
    recorded = read(tmp_path, remote="prediction,truth,score\n1,1,.3\n1,1,.2\n1,1,.1\n")
    assert recorded.taken.paired_by == "position"
    assert recorded.ids.tolist() == ["a", "b", "c"]
    assert recorded.recording.remote.scores.tolist() == [0.3, 0.2, 0.1]


def test_an_empty_id_column_pairs_by_position(tmp_path: Path) -> None:
    header, *rows = REMOTE.splitlines()
    recorded = read(tmp_path, remote="\n".join([header, *reversed(rows)]), remote_columns=Columns(id=""))
    assert recorded.recording.remote.scores.tolist() == [0.6, 0.7, 0.8]


def test_a_filter_comes_after_pairing(tmp_path: Path) -> None:
    local = "id,correct,score,kind\na,1,.1,X\nb,0,.2,y\nc,1,.3,x\n"
    recorded = read(tmp_path, local, where=Where("kind", "x"))
    assert recorded.ids.tolist() == ["a", "c"]
    assert recorded.recording.remote.scores.tolist() == [0.8, 0.6]


def test_rows_left_out_need_no_score(tmp_path: Path) -> None:
    local = "id,correct,score,asked\na,1,.1,true\nb,0,,false\nc,1,.3,true\n"
    assert len(read(tmp_path, local, where=Where("asked", "true")).recording) == 2


def test_one_file_may_hold_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    path.write_text(
        '{"id": 1, "truth": "x", "local_prediction": "x", "local_score": 0.5, '
        '"remote_prediction": "y", "remote_score": 1}\n'
    )
    recording = read_recording(path, path).recording
    assert (recording.local.correct[0], recording.remote.correct[0]) == (True, False)
    assert (recording.local.scores[0], recording.remote.scores[0]) == (0.5, 1.0)


def test_one_is_one_point_nought_but_not_in_text(tmp_path: Path) -> None:
    recorded = read(tmp_path, remote=REMOTE.replace(",1,1,", ",1.0,1.0,"))
    assert recorded.recording.remote.accuracy == 1.0
    agreement = recorded.recording.agreement
    assert agreement is not None
    assert agreement.tolist() == [True, False, True]


def test_fractions_are_answers_of_their_own(tmp_path: Path) -> None:
    recording = read(
        tmp_path, "prediction,truth,score\n0.25,0.75,1\n0.5,0.5,1\n", "correct,score\n1,1\n1,1\n"
    ).recording
    assert recording.local.correct.tolist() == [False, True]


def test_quoted_cells_and_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    local = '\ufeffid,prediction,truth,score\r\na,"x, ""y""\nz","x, ""y""\nz",0.9\r\n\r\nb,q,z,0.5\r\n'
    remote = "id,correct,score\na,1,0.5\nb,1,0.5\n"
    recorded = read(tmp_path, local, remote)
    assert (recorded.recording.local.correct.tolist(), recorded.taken.paired_by) == ([True, False], "id")
    broken = local.replace("z,0.5", "z,half")
    assert "local.csv, line 6, column 'score': 'half'" in refused(tmp_path, broken, remote)


def test_prediction_and_truth_when_named_go_before_a_usual_name(tmp_path: Path) -> None:
    local = "correct,guess,gold,score\n1,x,y,.5\n"
    recorded = read(tmp_path, local, "correct,score\n1,.5\n", local_columns=Columns(prediction="guess", truth="gold"))
    assert recorded.recording.local.accuracy == 0.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("0.2", "high"), "local.csv, line 3, column 'score': 'high' is not a finite number"),
        (("0.2", "1_0"), "local.csv, line 3, column 'score': '1_0' is not a finite number"),
        (("0.2", "nan"), "local.csv, line 3, column 'score': 'nan' is not a finite number"),
        (("0.2", "inf"), "local.csv, line 3, column 'score': 'inf' is not a finite number"),
        (("0.2", ""), "local.csv, line 3, column 'score': the score is empty"),
        (("b,", "a,"), "local.csv, line 3, column 'id': the id 'a' is there twice, see line 2"),
        (("b,", ","), "local.csv, line 3, column 'id': the id is empty"),
        (("b,", "q,"), "local.csv, line 3, column 'id': the id 'q' is not in remote.csv"),
        (("c,1,1,0.5\n", ""), "remote.csv, line 4, column 'id': the id 'c' is not in local.csv"),
        (("0,1,0.2", "0,,0.2"), "local.csv, line 3, column 'truth': the truth is empty"),
        (("0,1,0.2", "0,0,0.2"), "remote.csv, line 3, column 'truth': the truth is 1, but 0 at local.csv, line 3"),
        (("0.2", "0.2,9"), "local.csv, line 3: has 5 cells where the header has 4"),
        (
            ("score", "points"),
            "local.csv: no column looks like a score: say which with --local-score-column; there are id",
        ),
        (("truth", "gold"), ""),
        (("prediction", "id"), "local.csv: several columns are called 'id'"),
        (("truth", "index"), "local.csv: the id could be any of id, index: say which with --local-id-column"),
        (
            ("prediction", "p"),
            "local.csv: no column looks like correctness or a prediction: say which with --local-correct-column, or",
        ),
        ((LOCAL, ""), "local.csv: has no header"),
        ((LOCAL, '"'), "local.csv, line 1: is not CSV: "),
    ],
)
def test_what_is_wrong_is_named(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    if not said:  # one side's truth does for both
        assert read(tmp_path, LOCAL.replace(*change)).recording.local.correct.tolist() == [True, False, True]
        return
    assert said in refused(tmp_path, LOCAL.replace(*change))


def test_without_any_truth(tmp_path: Path) -> None:
    bare = LOCAL.replace("truth", "gold")
    assert "local.csv: no column looks like a truth: say which with --local-truth-column" in refused(
        tmp_path, bare, bare
    )


def test_files_of_several_lengths_do_not_pair_by_position(tmp_path: Path) -> None:
    said = refused(tmp_path, remote="correct,score\n1,.5\n1,.5\n")
    assert said.startswith("local.csv, line 4, column 'score': has no partner: remote.csv holds 2 rows, not 3")


def test_correctness_that_cannot_be_read(tmp_path: Path) -> None:
    said = refused(tmp_path, remote="correct,score\ntrue,.5\nNo,.5\nmaybe,.5\n")
    assert said == "remote.csv, line 4, column 'correct': 'maybe' is neither true, 1, yes nor false, 0, no"
    assert "line 3, column 'correct': it is empty" in refused(tmp_path, remote="correct,score\n1,.5\n,.5\n1,.5\n")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    said = refused(tmp_path, local_columns=Columns(score="scor"))
    assert said == ("local.csv: has no column 'scor'; did you mean 'score'?; there are id, prediction, truth, score")


def test_filters_that_find_nothing(tmp_path: Path) -> None:
    assert "there are 0, 1" in refused(tmp_path, where=Where("prediction", "7"))
    assert "has no column 'trut' for --where; did you mean 'truth'?" in refused(tmp_path, where=Where("trut", "7"))
    assert "contradicts" in refused(tmp_path, where=Where("prediction", "0"))
    with pytest.raises(RecordingError, match="COLUMN=VALUE"):
        Where.parse("truth")


@pytest.mark.parametrize(
    ("local", "said"),
    [
        (
            '{"correct": true, "score": 0.5}\n\n{"correct": true}',
            "local.jsonl, line 3, column 'score': the score is empty",
        ),
        ('{"correct": true, "score": true}', "local.jsonl, line 1, column 'score': True is not a finite number"),
        ('{"correct": true, "score": null}', "local.jsonl, line 1, column 'score': the score is empty"),
        ('{"correct": true, "score": NaN}', "local.jsonl, line 1: is not JSON"),
        ('{"correct": [1], "score": 1}', "local.jsonl, line 1, column 'correct': '[1]' is neither"),
        ("[1]", "local.jsonl, line 1: is not an object"),
        ("\n\n", "local.jsonl: holds no rows"),
    ],
)
def test_what_is_wrong_with_json_lines(local: str, said: str, tmp_path: Path) -> None:
    remote = '{"correct": true, "score": 0.5}\n' * (local.count("{") or 1)
    assert said in refused(tmp_path, local, remote, "jsonl")


def test_files_that_are_no_recordings(tmp_path: Path) -> None:
    assert "its name must end in one of .csv, .jsonl, .ndjson, .parquet" in refused(tmp_path, ending="txt")
    assert "is not Parquet" in refused(tmp_path, ending="parquet")
    assert "holds no rows" in refused(tmp_path, "correct,score\n", "correct,score\n")
    with pytest.raises(RecordingError, match=r"nowhere\.csv: cannot be read: No such file"):
        read_recording(tmp_path / "nowhere.csv", tmp_path / "nowhere.csv")
    (tmp_path / "latin.csv").write_bytes(b"correct,score\n\xe4,1\n")
    with pytest.raises(RecordingError, match=r"latin\.csv: is not UTF-8 text \(at line 2\)"):
        read_recording(tmp_path / "latin.csv", tmp_path / "latin.csv")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'bisupervised[parquet]'" in refused(tmp_path, ending="parquet")
