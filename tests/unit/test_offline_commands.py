"""The commands over recordings, as a user and a script call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.thresholds import read_thresholds
from bisupervised.streams import cli
from bisupervised.streams.console import output
from bisupervised.streams.offline import curve
from bisupervised.streams.offline.replicate import VALUES
from support.recordings import DATA, NEEDS_DATA
from support.samples import drawn


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a recording of 4,000 inputs in one file."""
    path, sample = tmp_path_factory.mktemp("recording") / "both.csv", drawn(4000, 0)
    columns = [sample.local.scores, sample.local.correct, sample.remote.scores, sample.remote.correct]
    rows = ["local_score,local_correct,remote_score,remote_correct"]
    rows += [f"{a!r},{bool(b)},{c!r},{bool(d)}" for a, b, c, d in zip(*(c.tolist() for c in columns), strict=True)]
    path.write_text("\n".join(rows) + "\n")
    return ["--local", str(path), "--remote", str(path)]


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = cli.run(words)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def document(*words: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    returned, out, _ = run(*words, "--json", capsys=capsys)
    assert returned == code
    return json.loads(out)


def test_the_curve_as_json(both: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = document("curve", *both, "--grid", "101", "--price", "2", "--remote-ms", "50", capsys=capsys)
    assert {"n", "local_accuracy", "remote_accuracy", "auc", "remote_even", "best"} <= found.keys()
    assert found["n"] == 4000
    assert len(found["points"]) == 101
    even = found["remote_even"]
    assert even["cost"] == 2 * even["requests"]
    assert even["latency_ms"] == pytest.approx(50 * even["requests"] / 4000)
    assert found["cost_remote_only"] == 8000


def test_documents_say_what_was_read_and_which_predictions_differ_in_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "both.csv"
    rows = [f"{number},{number / 200},{'A' if number % 2 else 'a'},a" for number in range(200)]
    path.write_text("\n".join(["ID,Score,Prediction,Truth", *rows]) + "\n")
    both = ["--local", str(path), "--remote", str(path)]
    told = "100 local predictions and 100 remote predictions differ from the truth only in letter case"
    assert told in document("curve", *both, capsys=capsys)["taken"]
    wish = ["--remote-fraction", "0.5", "--max-error", "0.9"]
    assert told in document("calibrate", *both, *wish, capsys=capsys)["taken"]


def test_the_curve_with_arbitration_is_there_beside_the_plain_one(
    both: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = document("curve", *both, "--arbitration", capsys=capsys)
    assert found["arbitration"]["auc"] > found["auc"]
    code, out, _ = run("curve", *both, "--arbitration", capsys=capsys)
    assert code == 0
    assert "arbitration" in out


@pytest.mark.parametrize(("name", "begins"), [("curve.png", b"\x89PNG"), ("curve.svg", b"<?xml")])
def test_the_picture(
    both: list[str], tmp_path: Path, name: str, begins: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    assert run("curve", *both, "--plot", str(path), capsys=capsys)[0] == 0
    assert path.read_bytes().startswith(begins)
    if path.suffix == ".svg":
        drawn_in = path.read_text()
        assert all(f"<!-- {line} -->" in drawn_in for line in ("remote only", "local only", "random routing"))


def test_a_picture_of_another_kind_is_refused(both: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("curve", *both, "--plot", "curve.pdf", capsys=capsys)
    assert code == 1
    assert "must end in .png or .svg" in err


def test_calibrate_writes_what_a_worker_reads(
    both: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "thresholds.json"
    words = ["--remote-fraction", "0.5", "--false-positive-rate", "0.1", "--out", str(out), "--local-model", "m@1"]
    found = document("calibrate", *both, *words, capsys=capsys)
    made = read_thresholds(out)
    assert found["feasible"]
    assert (made.local.threshold, made.remote.threshold) == (found["local_threshold"], found["remote_threshold"])
    assert (made.version, made.method, made.local.model) == (found["version"], "clopper-pearson", "m@1")
    assert made.parts.keys() == {"choose", "certify", "report"}
    assert made.target.delta == 0.1
    assert found["parts"]["report"]["false_positive_rate"] == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("--cost", "500", "--price", "1"), "1,000 inputs cost 500"),
        (("--remote-even",), "as right as the remote alone"),
        (("--local-threshold", "0.6"), "the local threshold is 0.6"),
    ],
)
def test_what_the_first_threshold_may_be_for(
    both: list[str], wish: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = document("calibrate", *both, *wish, "--max-error", "0.25", capsys=capsys)
    assert words in found["first"]
    assert found["method"] == "ltt"
    if "--cost" in wish:
        assert found["parts"]["choose"]["remote_fraction"] == pytest.approx(0.5, abs=0.01)


def test_an_infeasible_target_is_a_result_with_the_nearest_one(
    both: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "thresholds.json"
    words = ["calibrate", *both, "--remote-even", "--max-error", "0.0001", "--out", str(out)]
    found = document(*words, capsys=capsys, code=1)
    assert not found["feasible"]
    assert 0.0001 < found["nearest"] < 1
    assert not out.exists()
    code, told, _ = run(*words, capsys=capsys)
    assert code == 1
    assert "the nearest feasible target is" in told
    assert f"nothing is written to {out}" in told


@pytest.mark.parametrize(
    ("wish", "advice"),
    [
        (["--remote-even"], "the local model alone is as right as the remote: --remote-fraction has some inputs asked"),
        (["--local-threshold", "0.1"], "take a larger --local-threshold or --remote-fraction, or more labelled inputs"),
    ],
)
def test_where_nothing_is_deferred_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wish: list[str], advice: str
) -> None:
    path = tmp_path / "sure.csv"
    path.write_text("local_score,local_correct,remote_score,remote_correct\n" + ".9,1,.9,1\n" * 50)
    words = ["--local", str(path), "--remote", str(path), "--false-positive-rate", "0.1", *wish]
    code, told, _ = run("calibrate", *words, capsys=capsys)
    assert (code, advice in told) == (1, True), told


def test_every_fault_of_a_wish_at_once(both: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--cost", "3", "--remote-even", "--method", "ltt", "--false-positive-rate", "7", "--delta", "2"]
    code, _, err = run("calibrate", *both, *words, capsys=capsys)
    assert code == 2
    faults = err.splitlines()
    assert [fault.split(":")[0] for fault in faults] == [
        "say one of --remote-fraction, --cost, --remote-even and --local-threshold",
        "--cost",
        "--method",
        "--false-positive-rate",
        "--delta",
    ]


def test_a_sample_too_small_to_split_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "few.csv"
    path.write_text("local_score,local_correct,remote_score,remote_correct\n.1,1,.2,1\n.3,0,.4,1\n")
    words = ["--local", str(path), "--remote", str(path), "--remote-even", "--max-error", "0.1"]
    code, _, err = run("calibrate", *words, capsys=capsys)
    assert code == 2
    assert "more are needed; `bisupervised plan` says how many" in err


def test_the_joint_supervisor_is_fitted_where_it_is_asked_for(
    both: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "thresholds.json"
    words = ["--remote-fraction", "0.6", "--false-positive-rate", "0.1", "--joint", "--arbitration", "--out", str(out)]
    found = document("calibrate", *both, *words, capsys=capsys)
    assert found["n"].keys() == {"fit", "choose", "certify", "report"}
    assert len(found["reasons"]) == 2
    made = read_thresholds(out)
    assert (made.joint is not None) == (found["joint"] or found["arbitration"])
    assert made.arbitration == found["arbitration"]
    assert (made.remote.score == "joint") == found["joint"]


WISH = ("--remote-fraction", "0.5", "--false-positive-rate", "0.1")


@pytest.mark.parametrize("words", [("calibrate", *WISH, "--out"), ("curve", "--plot")])
def test_a_file_that_cannot_be_written_is_told(
    both: list[str], words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = tmp_path / "folder.png", tmp_path / "file"
    folder.mkdir()
    file.touch()
    for path in (folder, file / "below.png"):
        command, *options = words
        code, _, err = run(command, *both, *options, str(path), capsys=capsys)
        assert code == 1
        assert f"{path}: cannot be written: " in err
    assert sorted(tmp_path.iterdir()) == [file, folder], "nothing half-written is left behind"


@pytest.mark.parametrize(
    "option",
    [
        "curve --price inf",
        "curve --remote-ms nan",
        "calibrate --cost inf",
        "calibrate --local-threshold nan",
        "calibrate --seed -1",
        "rehearse --latency-ms inf",
        "rehearse --price inf",
        "rehearse --local-threshold inf",
    ],
)
def test_a_number_that_means_nothing_is_refused_by_name(
    both: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, name, value = option.split()
    code, _, err = run(command, *both, name, value, capsys=capsys)
    assert code == 2
    assert f"for {name}" in err


@NEEDS_DATA
@pytest.mark.parametrize("words", ["curve --price 0.002 --local-ms 5 --remote-ms 500", "replicate"])
def test_tables_fit_80_columns(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that is cut ends in an ellipsis."""
    monkeypatch.setattr(output, "_FILE_WIDTH", 80)
    files = [f"--local={DATA / 'imdb_local.csv'}", f"--remote={DATA / 'imdb_remote.csv'}"]
    command, *options = words.split()
    options += [f"--data={DATA}"] if command == "replicate" else files
    code, out, _ = run(command, *options, capsys=capsys)
    assert code == 0
    assert "…" not in out
    if command == "curve":
        assert sum(line.startswith("│") for line in out.splitlines()) == 13, "a line for every point"


def test_few_predictions_are_compared_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Too few for a joint model, and so alike that both operating points of the curve are one."""
    for side in ("local", "remote"):
        (tmp_path / f"imdb_{side}.csv").write_text("prediction,ground_truth,sm_confidence\n1,1,0.5\n")
    columns = ("case_s", "target_fpr", "1st_reject_rate", *VALUES)
    (tmp_path / "rq2_table.csv").write_text(",".join(columns) + "\n")
    found = document("replicate", "--data", str(tmp_path), capsys=capsys, code=1)
    assert {"RQ1 remote-even, share", "RQ1 best, share"} <= {row["figure"] for row in found["rows"]}
    assert found["beyond"] == []
    assert "too few to fit" in found["cases_without_joint_model"][0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, "cannot be read: No such file"),
        ("a,b\n1,2\n", "has no column 'case_s'"),
        ("case_s,target_fpr,1st_reject_rate\nimdb,x,y\n", "could not convert"),
    ],
)
def test_what_is_not_the_papers_table_is_told(
    tmp_path: Path, table: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("local", "remote"):
        (tmp_path / f"imdb_{side}.csv").touch()
    if table is not None:
        (tmp_path / "rq2_table.csv").write_text(table)
    code, _, err = run("replicate", "--data", str(tmp_path), capsys=capsys)
    assert code == 1
    assert said in err
    assert "rq2_table.csv" in err


@NEEDS_DATA
def test_the_papers_tables_are_recomputed_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    found = document("replicate", "--data", str(DATA), capsys=capsys)
    assert found["different"] == 0
    assert found["cases"] == ["imdb", "SQuADv2 (possible only)", "SQuADv2 (all)"]
    second = [row for row in found["rows"] if row["figure"].startswith("RQ2")]
    assert len(second) == 36 * 6
    assert all(row["ours"] == pytest.approx(row["paper"], abs=1e-9) for row in second if row["paper"] is not None)
    assert all(case["auc"][1] > case["auc"][0] for case in found["beyond"])


@NEEDS_DATA
def test_one_wrong_digit_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with one case study, and its table wrong in the eighth digit."""
    for name in ("imdb_local.csv", "imdb_remote.csv"):
        (tmp_path / name).symlink_to(DATA / name)
    table = [line for line in (DATA / "rq2_table.csv").read_text().splitlines() if not line.startswith("SQuAD")]
    (tmp_path / "rq2_table.csv").write_text("\n".join(table).replace("0.9404809161550092", "0.9404809461550092"))
    found = document("replicate", "--data", str(tmp_path), capsys=capsys, code=1)
    assert [row["figure"] for row in found["rows"] if not row["same"]] == ["RQ2 FPR 0.01, 0.55 (remote-even), sys_s1"]
    code, out, _ = run("replicate", "--data", str(tmp_path), capsys=capsys)
    assert code == 1
    assert "DIFFERS" in out


def test_a_folder_without_a_case_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("replicate", "--data", str(tmp_path), capsys=capsys)
    assert code == 1
    assert "imdb_local.csv" in err


def test_the_oracle_is_drawn_at_the_share_that_is_paid(both: list[str]) -> None:
    """Where scores are equal fewer are deferred than the cutoff says, and the oracle gets no more."""
    report = curve.make_report(drawn(300, 1, digits=1), 101, curve.Prices())
    assert (report.oracle >= report.curve.accuracies - 1e-12).all()
    assert np.isclose(report.oracle[0], report.curve.local_accuracy)
