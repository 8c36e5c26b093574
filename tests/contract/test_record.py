"""`bisupervised record` against a real HTTP server: what is written, what goes on, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from bisupervised.agents.auditing.matching import matching
from bisupervised.agents.remote.transport import Response
from bisupervised.streams import cli
from bisupervised.streams.offline.recordings.pairs import read_recording
from bisupervised.streams.record.fit import recorded
from bisupervised.streams.record.run import PAIRS
from support import far_end
from support.far_end import Asked
from support.recorder import MODEL, Ledger, Office, sample, serving
from support.remotes import answered


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = f"model_of_{tmp_path.name.replace('-', '_')}"
    yield Office(tmp_path, model=model)
    sys.modules.pop(model, None)


def record(office: Office, labelled: Path, *more: str) -> int:
    return cli.run(["record", str(labelled), "--config", str(office.config), "--out", str(office.out), *more])


def test_a_row_holds_all_that_both_models_say(office: Office) -> None:
    ledger = Ledger()
    with serving(ledger) as office.url:
        assert record(office, office.labelled("7,a good one?,positive", "8,a bad one,positive"), "--yes") == 0
    first, second = office.rows()
    assert (first["id"], first["row"], first["truth"], first["pair"], first["length"]) == ("7", 1, "positive", True, 11)
    assert (first["local_prediction"], first["local_model"]) == ("positive", f"{office.model}:Small@1")
    assert first["local_score"] == first["local_scores"]["max_softmax"] == 0.95  # type: ignore[index]
    assert set(first["local_scores"]) == {"max_softmax", "pcs", "softmax_entropy"}  # type: ignore[call-overload]
    assert first["local_probabilities"] == pytest.approx([0.05, 0.95])
    assert first["local_labels"] == first["remote_labels"] == ["negative", "positive"]
    assert first["remote_probabilities"] == pytest.approx([0.4, 0.6])
    assert (first["remote_model"], first["remote_score"], first["cost"]) == ("large@1", 0.6, 0.01)
    assert first["remote_latency_s"] > 0.0 < first["local_latency_s"]  # type: ignore[operator]
    assert (second["remote_prediction"], second["remote_error"], second["local_error"]) == ("negative", None, None)
    assert ledger.texts == {next(iter(ledger.keys)): ["a good one?", "a bad one"]}, "and no right answer"


def test_features_of_the_local_model_are_written_and_read(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    office.program = MODEL.replace(
        "return np.stack([1 - glad, glad], axis=1)",
        "rows = np.stack([1 - glad, glad], axis=1)\n"
        "        return {'probabilities': rows, 'features': [[len(text), 1 / 3] for text in inputs]}",
    )
    office.local = "features = true"
    labelled = office.labelled("7,a good one?,positive", "8,a bad one,positive")
    with serving(Ledger()) as office.url:
        assert record(office, labelled, "--yes") == 0
        assert [row["local_features"] for row in office.rows()] == [[11.0, 0.33333334], [9.0, 0.33333334]]
        features = read_recording(office.out, office.out, where=PAIRS).evidence.features
        assert features is not None
        assert features.tolist() == np.array([[11, 1 / 3], [9, 1 / 3]], np.float32).tolist()
        office.local = ""
        assert record(office, labelled, "--yes") == 2
    assert "other settings: local.features" in capsys.readouterr().err


def test_the_commands_over_recordings_read_it(office: Office) -> None:
    with serving(Ledger()) as office.url:
        assert record(office, office.labelled(*sample(20), "20,poison,positive"), "--yes") == 0
    read = read_recording(office.out, office.out, where=PAIRS)
    assert len(read.recording) == 20
    assert read.ids.tolist() == [str(number) for number in range(20)], "in the order of the inputs"
    rows = office.rows()
    assert [row["local_prediction"] == row["truth"] for row in rows[:20]] == read.recording.local.correct.tolist()


def test_a_model_that_fails_on_an_input_says_so_in_its_row(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    labelled = office.labelled("1,a good one,positive", "2,poison,negative", "3,far too long,negative")
    office.remote = "batch_size = 1"
    with serving(Ledger()) as office.url:
        assert record(office, labelled, "--yes", "--json") == 0
    first, poison, long = office.rows()
    assert (first["pair"], poison["pair"], long["pair"]) == (True, False, False)
    assert poison["local_error"] == "model_error"
    assert "poison" in str(poison["local_detail"])
    assert poison["remote_prediction"] == "negative", "the other model is asked all the same"
    assert (long["remote_error"], long["remote_prediction"], long["remote_scores"]) == ("refused", None, {})
    told = orjson.loads(capsys.readouterr().out)
    assert (told["local_failed"], told["remote_failed"], told["reasons"]) == (1, 1, {"refused": 1})
    assert (told["recorded"], told["pairs"]) == (3, 1)


def test_an_interrupted_run_goes_on_where_it_was(office: Office) -> None:
    office.remote = "batch_size = 3\nin_flight = 2"
    labelled = office.labelled(*sample(20))
    ledger = Ledger()
    with serving(ledger) as office.url:
        assert record(office, labelled, "--most-cost", "0.06") == 1
        assert (len(office.rows()), ledger.calls) == (6, 2)
        # a kill in the middle of a write leaves a unit torn
        lines = office.out.read_bytes().splitlines(keepends=True)
        torn = b"".join(lines[:4]) + lines[4][:20]
        office.out.write_bytes(torn)
        assert record(office, labelled, "--yes") == 0
        assert record(office, labelled) == 0, "nothing is left to pay, so nobody is asked"
    assert [row["row"] for row in office.rows()] == list(range(1, 21))
    assert (len(ledger.keys), ledger.repeated) == (7, 1), "the torn unit is asked with the key that it had"


def test_nobody_pays_unasked(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    with serving(ledger) as office.url:
        assert record(office, office.labelled(*sample(20))) == 2
    told = capsys.readouterr().err
    assert "20 inputs, for 0.2 at most" in told
    assert "say --yes, or --most-cost" in told
    assert ledger.calls == 0


def test_a_limit_of_nothing_asks_nothing(office: Office) -> None:
    ledger = Ledger()
    with serving(ledger) as office.url:
        assert record(office, office.labelled(*sample(3)), "--most-cost", "0") == 1
    assert ledger.calls == 0


def test_the_local_model_alone_costs_nothing(office: Office) -> None:
    assert record(office, office.labelled(*sample(20)), "--local-only") == 0
    rows = office.rows()
    assert [row["row"] for row in rows] == list(range(1, 21))
    assert {row["remote_prediction"] for row in rows} == {None}
    assert not any(row["pair"] for row in rows)
    assert record(office, office.labelled(*sample(20)), "--yes") == 2, "it is another recording"


def test_a_recording_of_something_else_is_refused(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Ledger()) as office.url:
        assert record(office, office.labelled(*sample(9)), "--yes") == 0
        kept = office.out.read_bytes()
        assert record(office, office.labelled(*sample(10)), "--yes") == 2
        assert "the labelled inputs have changed" in capsys.readouterr().err
        office.remote = "temperature = 2.0\noutput = 'logits'"
        assert record(office, office.labelled(*sample(9)), "--yes") == 2
        assert "other settings: remote.output, remote.temperature" in capsys.readouterr().err
        office.remote = "in_flight = 3\ntries = 2"
        assert record(office, office.labelled(*sample(9)), "--yes") == 0, "how it is asked may change"
        office.out.with_suffix(".about.json").unlink()
        assert record(office, office.labelled(*sample(9)), "--yes") == 2
    assert office.out.read_bytes() == kept


def test_a_remote_of_another_version_is_refused(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    version = b"1"

    def handle(asked: Asked) -> Response:
        told = far_end.answer(asked)
        return Response(told.status, told.headers, told.body.replace(b'version":"1"', b'version":"%s"' % version))

    office.remote = "batch_size = 3\nin_flight = 1"
    labelled = office.labelled(*sample(9))
    with serving(Ledger(), handle) as office.url:
        assert record(office, labelled, "--most-cost", "0.03") == 1
        version = b"2"
        assert record(office, labelled, "--yes") == 1
    assert "the remote was large@1 when" in capsys.readouterr().err
    assert {row["remote_model"] for row in office.rows()} == {"large@1"}


def test_a_remote_that_refuses_every_call_ends_the_run(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: Asked) -> Response:
        return answered({"error": {"message": "bad key", "code": "invalid_api_key"}}, 401)

    with serving(Ledger(), refuse) as office.url:
        assert record(office, office.labelled(*sample(9)), "--yes") == 1
    assert "the remote refuses all calls; mend that, and the same command goes on" in capsys.readouterr().err
    with serving(Ledger()) as url:
        assert office.rows() == []
        office.url = url
        assert record(office, office.labelled(*sample(9)), "--yes") == 0


def test_where_only_inputs_are_left_that_the_remote_refuses_it_says_how_to_do_without(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    office.remote = "batch_size = 1\nbreaker_cool_down_s = 0.1"
    labelled = office.labelled(*sample(3), *(f"{number},far too long {number},positive" for number in range(3, 7)))
    with serving(Ledger()) as office.url:
        assert record(office, labelled, "--yes") == 0
        kept = office.out.read_bytes().splitlines(keepends=True)[:3]
        office.out.write_bytes(b"".join(kept))  # as if the run had been killed there
        capsys.readouterr()
        assert record(office, labelled, "--yes") == 1
    said = capsys.readouterr().err
    assert f"where it refuses these inputs only, `bisupervised fit --recording {office.out}` does without them" in said


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["1,a,positive", "2,b,", "3,c"], ["line 3: has no label", "line 4: 2 cells, but 3 columns"]),
        (["1,a,positive", "1,b,glad"], ["line 3: the id '1' is there twice, see line 2"]),
        (["1,a,glad"], ["line 2: 'glad' is none of the labels negative, positive"]),
        (["1,a,positive", ",b,positive"], ["line 3: has no id, and others have one"]),
    ],
)
def test_every_fault_of_the_inputs_is_named_and_nothing_paid(
    office: Office, capsys: pytest.CaptureFixture[str], lines: list[str], told: list[str]
) -> None:
    ledger = Ledger()
    with serving(ledger) as office.url:
        assert record(office, office.labelled(*lines), "--yes") == 2
    said = capsys.readouterr().err
    assert all(f"labelled.csv, {fault}" in said for fault in told), said
    assert (ledger.calls, office.out.exists()) == (0, False)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ('["bad", "good"]', "[remote] labels bad, good: none of them is a right answer"),
        (
            '["negative", "Positive"]',
            "[remote] labels: 'Positive' and the right answer 'positive' differ in letter case",
        ),
        ('["negative ", "positive"]', "[remote] labels: 'negative ' and the right answer 'negative' differ in"),
    ],
)
def test_a_model_whose_labels_can_never_be_right_is_not_asked(
    office: Office, capsys: pytest.CaptureFixture[str], labels: str, told: str
) -> None:
    ledger = Ledger()
    with serving(ledger) as office.url:
        config = office.config
        config.write_text(config.read_text().replace('["negative", "positive"]', labels))
        arguments = [str(office.labelled(*sample(3))), "--config", str(config), "--out", str(office.out), "--yes"]
        assert cli.run(["record", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert (ledger.calls, office.out.exists()) == (0, False)


def test_a_folder_of_images_has_its_labels_in_a_file(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    folder = office.folder / "images"
    folder.mkdir()
    for name in ("good.png", "bad.png"):
        (folder / name).write_bytes(name.encode())
    labels = folder / "labels.csv"
    labels.write_text("id,label\ngood.png,positive\nworse.png,negative\n")
    with serving(Ledger()) as office.url:
        assert record(office, folder, "--yes") == 2
        said = capsys.readouterr().err
        assert "bad.png: no label names it (id 'bad.png')" in said
        assert "the label of 'worse.png' names no input" in said
        labels.write_text("id,label\ngood.png,positive\nbad.png,negative\n")
        assert record(office, folder, "--yes") == 0
    assert [(row["id"], row["truth"]) for row in office.rows()] == [("bad.png", "negative"), ("good.png", "positive")]


def test_inputs_that_cannot_be_asked_are_counted_before(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    labelled = office.labelled(
        '{"id": 1, "input": "good", "truth": "positive"}',
        '{"id": 2, "input": 5, "truth": "positive"}',
        name="labelled.jsonl",
        header="",
    )
    office.remote = "batch_size = 1"
    with serving(Ledger()) as office.url:
        assert record(office, labelled, "--yes") == 0
    assert "1 input cannot be asked as [remote] says" in capsys.readouterr().err
    assert [row["remote_error"] for row in office.rows()] == [None, "invalid_request"]


def test_answers_are_right_as_the_audit_takes_them(office: Office) -> None:
    with serving(Ledger()) as office.url:
        config = office.config
        config.write_text(f'{config.read_text()}\n[audit]\nmatches = "normalised"\n')
        labelled = office.labelled("7,a good one?,Positive", "8,a bad one,Positive")
        assert cli.run(["record", str(labelled), "--config", str(config), "--out", str(office.out), "--yes"]) == 0
    assert [(row["truth"], row["remote_prediction"]) for row in office.rows()] == [
        ("positive", "positive"),
        ("positive", "negative"),
    ]
    assert recorded(office.out, matching("normalised")).recording.remote.correct.tolist() == [True, False]
