"""`bisupervised fit`: from a labelled file and a real HTTP server to thresholds that a worker takes, and a report."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from bisupervised.agents.supervision.thresholds import read_thresholds
from bisupervised.streams import cli
from bisupervised.streams.settings.file import load_configuration
from support.recorder import Ledger, Office, serving

#: what `--json` holds at least
WANTED = frozenset(
    {"score", "scores", "learned", "thresholds", "rungs", "remote_fraction", "error", "false_positive_rate", "labels"}
)


class Told(NamedTuple):
    """What a run of the command said."""

    code: int
    document: dict[str, Any]
    err: str
    page: str  #: the report


def fit(office: Office, *arguments: str) -> Told:
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = cli.run(["fit", "--config", str(office.config), *arguments, "--json"])
    report = office.folder / "report.html"
    page = report.read_text() if report.exists() else ""
    return Told(code, orjson.loads(out.getvalue() or b"{}"), err.getvalue(), page)


def texts(count: int = 600) -> list[str]:
    """The remote is right wherever it is sure, and the local model doubts what is bad and asks."""
    chance = random.Random(3)
    lines = []
    for number in range(count):
        good, asks = chance.random() < 0.5, chance.random() < 0.2
        label = good if not asks or chance.random() < 0.6 else not good
        text = f"a {'good' if good else 'bad'} one{'?' if asks else ''} {number}"
        lines.append(f"{number},{text},{'positive' if label else 'negative'}")
    return lines


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Its folder is the current one."""
    folder = tmp_path_factory.mktemp("fit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield Office(folder, model="model_of_fit", remote="batch_size = 50")
    sys.modules.pop("model_of_fit", None)


@pytest.fixture(scope="module")
def labelled(office: Office) -> Path:
    return office.labelled(*texts())


@pytest.fixture(scope="module")
def made(office: Office, labelled: Path) -> Told:
    """By the first run, which records `pairs.jsonl`."""
    ledger = Ledger()
    with serving(ledger) as office.url:
        first, again = (fit(office, str(labelled), "--yes", "--remote-fraction", "0.3") for _ in range(2))
    assert ledger.calls == 12, "nothing is asked twice"
    same = ("local_threshold", "remote_threshold", "error", "scores", "rungs")
    assert [again.document[name] for name in same] == [first.document[name] for name in same]
    return first


def test_a_labelled_file_becomes_thresholds_and_a_report(made: Told) -> None:
    told = made.document
    assert made.code == 0, made.err
    assert told.keys() >= WANTED
    assert (told["labels"], told["recording"]["pairs"]) == (600, 600)
    assert told["labels_to_halve"] > 600
    assert "labelled.csv" in made.page
    assert "bad one?" in made.page, "examples of mistakes, from the labelled file"


def test_a_worker_takes_what_was_made(office: Office, made: Told) -> None:
    file = read_thresholds(office.folder / "thresholds.json")
    assert (file.local.model, file.remote.model) == ("model_of_fit:Small@1", "large@1")
    config = office.folder / "pasted.toml"
    config.write_text(f"{office.config.read_text()}\n{made.document['toml']}")
    settings = load_configuration(config, {}).settings
    assert (settings.local.threshold, settings.remote.threshold) == (file.local.threshold, file.remote.threshold)
    assert (file.local.threshold, file.remote.threshold) == (
        made.document["local_threshold"],
        made.document["remote_threshold"],
    )


@pytest.mark.usefixtures("made")
def test_a_recording_needs_neither_inputs_nor_calls(office: Office) -> None:
    office.url = "http://127.0.0.1:1"
    elsewhere = ("--report", "o.html", "--out", "o.json")
    told = fit(office, "--recording", "pairs.jsonl", "--remote-fraction", "0.3", "--max-error", "0.2", *elsewhere)
    assert told.code == 0, told.err
    assert told.document["target"] == {"kind": "error", "value": 0.2}
    assert (office.folder / "o.html").exists()


@pytest.mark.usefixtures("made")
def test_the_lines_to_paste_come_last(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    config = office.config
    arguments = ["fit", "--recording", "pairs.jsonl", "--config", str(config), "--local-threshold", "0.6"]
    arguments += ["--out", "pasted.json", "--report", "pasted.html"]
    assert cli.run(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["[thresholds]", 'file = "pasted.json"']
    config.write_text(f'{config.read_text()}\n[thresholds]\nfile = "pasted.json"\n')
    assert cli.run(arguments) == 0
    assert "names the file: a worker takes it as it is" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.usefixtures("made")
def test_an_infeasible_target_has_a_report_and_no_thresholds(office: Office) -> None:
    wanted = ("--recording", "pairs.jsonl", "--max-error", "0.0001")
    told = fit(office, *wanted, "--out", "none.json", "--report", "no.html")
    assert (told.code, told.document["thresholds"], told.document["toml"]) == (1, None, None)
    assert not (office.folder / "none.json").exists()
    assert (office.folder / "no.html").exists()


@pytest.mark.usefixtures("made")
def test_a_local_model_that_needs_no_remote_is_told(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = ["--out", "even.json", "--report", "even.html"]
    assert cli.run(["fit", "--recording", "pairs.jsonl", "--config", str(office.config), *elsewhere]) == 1
    assert "the local model alone is as right as the remote: --remote-fraction has" in capsys.readouterr().out


@pytest.mark.usefixtures("made")
def test_what_a_recording_lacks_is_told(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [orjson.loads(line) for line in (office.folder / "pairs.jsonl").read_bytes().splitlines()][:-1]
    rows[0] |= {"pair": False, "remote_prediction": None, "remote_score": None, "remote_error": "timeout"}
    write = orjson.dumps
    (office.folder / "less.jsonl").write_bytes(b"".join(write(row) + b"\n" for row in rows))
    (office.folder / "less.about.json").write_bytes((office.folder / "pairs.about.json").read_bytes())
    (office.folder / "none.jsonl").write_bytes(b"".join(write(row | {"pair": False}) + b"\n" for row in rows))
    more = ["--config", str(office.config), "--remote-fraction", "0.3", "--out", "less.json", "--report", "less.html"]
    assert cli.run(["fit", "--recording", "less.jsonl", *more]) == 0
    told = capsys.readouterr().out
    assert f"left out: 1 of {len(rows):,} rows is no pair of answers with scores" in told
    assert f"less.jsonl is unfinished: it holds {len(rows):,} of {len(rows) + 1:,} inputs" in told
    assert cli.run(["fit", "--recording", "none.jsonl", *more]) == 1
    assert "none.jsonl: no row is a pair of answers with scores" in capsys.readouterr().err


@pytest.mark.usefixtures("made")
def test_a_recording_with_gaps_says_how_its_pairs_are_read(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [orjson.loads(line) for line in (office.folder / "pairs.jsonl").read_bytes().splitlines()]
    rows[0] |= {"pair": False, "local_prediction": None, "local_score": None}
    (office.folder / "gaps.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    files = ["--local", "gaps.jsonl", "--remote", "gaps.jsonl"]
    assert cli.run(["curve", *files]) == 1
    assert "the score is empty; --where pair=true leaves such rows out" in capsys.readouterr().err
    assert cli.run(["curve", *files, "--where", "pair=true"]) == 0


def rewritten(office: Office, name: str, change: Callable[[dict[str, Any]], object]) -> str:
    """The recording, each row changed."""
    rows = [orjson.loads(line) for line in (office.folder / "pairs.jsonl").read_bytes().splitlines()]
    for row in rows:
        change(row)
    (office.folder / name).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return name


@pytest.mark.usefixtures("made")
def test_a_score_that_the_worker_cannot_compute_is_not_chosen(office: Office) -> None:
    def foresee(row: dict[str, Any]) -> None:
        right = row["local_prediction"] == row["truth"]
        row["local_scores"] |= {"oracle": float(right), "token_min": float(right)}

    elsewhere = ("--remote-fraction", "0.3", "--out", "o.json", "--report", "o.html")
    told = fit(office, "--recording", rewritten(office, "oracle.jsonl", foresee), *elsewhere)
    assert set(told.document["scores"]) == {"max_softmax", "pcs", "softmax_entropy"}
    config = office.folder / "oracle.toml"
    config.write_text(f"{office.config.read_text()}\n{told.document['toml']}")
    load_configuration(config, {})


@pytest.mark.usefixtures("made")
def test_a_threshold_belongs_to_the_score_that_was_recorded(office: Office) -> None:
    config, text = office.folder / "other_scores.toml", office.config.read_text()
    for side in ("[local]", "[remote]"):
        text = text.replace(side, f'{side}\nsupervisor = "pcs"')
    config.write_text(text)
    arguments = ["--recording", "pairs.jsonl", "--remote-fraction", "0.3", "--out", "s.json", "--report", "s.html"]
    with redirect_stdout(StringIO()) as out:
        assert cli.run(["fit", "--config", str(config), *arguments]) == 0
    file = read_thresholds(office.folder / "s.json")
    assert (file.local.score, file.remote.score) == ("max_softmax", "max_softmax")
    assert "leave [local] supervisor out of the configuration: the file names max_softmax" in out.getvalue()
    assert "leave [remote] supervisor out of the configuration: the file names max_softmax" in out.getvalue()


def test_nothing_is_fitted_on_half_a_recording(office: Office, labelled: Path) -> None:
    with serving(Ledger()) as office.url:
        told = fit(office, str(labelled), "--pairs", "half.jsonl", "--most-cost", "3", "--out", "half.json")
    assert (told.code, told.document["not_asked"]) == (1, 300)
    assert not (office.folder / "half.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a labelled file, or a --recording"),
        (("a.csv", "--pairs", "pairs.csv"), "--pairs: must end in .jsonl"),
        (("a.csv", "--cost", "1", "--remote-even"), "say one of --remote-fraction, --cost"),
        (("a.csv", "--out", "a.csv"), "--out: a.csv would be written over, and the labelled file is read from there"),
        (("--recording", "b.jsonl", "--report", "b.jsonl"), "--report: b.jsonl would be written over, and --recording"),
        (("a.csv", "--out", "c", "--report", "c"), "--report: c would be written over, and --out is written there"),
        (("a.csv", "--false-positive-rate", "2"), "--false-positive-rate: must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_paid(
    office: Office, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    assert cli.run(["fit", "--config", str(office.config), *arguments]) == 2
    assert told in capsys.readouterr().err
