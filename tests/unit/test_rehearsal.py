from __future__ import annotations

import json
import math
import re
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.streams import cli
from bisupervised.streams.offline import recorded_models, rehearsal
from bisupervised.streams.offline.rehearsal_report import RehearsalReport, make_report
from bisupervised.streams.offline.rules import TwoThresholds
from bisupervised.streams.sandbox.outcomes import EndToEndRun, MeterReading, Outcome
from bisupervised.streams.settings.file import load_settings

RULE = TwoThresholds(0.5, 0.7)
METER = MeterReading(3, 0, 0.3)


def side(scores: list[float], correct: list[bool], predictions: list[Any] | None = None) -> Side:
    return Side(np.array(scores), np.array(correct), None if predictions is None else np.array(predictions))


#: trusted at the very threshold, answered by the remote at the very threshold, rejected, answered wrong
RECORDING = Recording(
    side([0.5, 0.4, 0.4, 0.0], [True, False, False, True], ["a", "b", "c", "d"]),
    side([0.8, 0.7, 0.6, 0.9], [True, True, True, False], ["e", "f", "g", "h"]),
)
IDS = ["w", "x", "y", "z"]
DECISIONS = RULE.decide(RECORDING)
RIGHT = [
    Outcome("0", "local", "a", 0.5),
    Outcome("1", "remote", "f", 0.7, cost=0.1),
    Outcome("2", None, "g", 0.6, "low_confidence", 0.1),
    Outcome("3", "remote", "h", 0.9, cost=0.1),
]


def report(*changes: tuple[int, Outcome | None], extra: tuple[Outcome, ...] = ()) -> RehearsalReport:
    outcomes: list[Outcome | None] = list(RIGHT)
    for at, outcome in changes:
        outcomes[at] = outcome
    read = [outcome for outcome in outcomes if outcome] + list(extra)
    return make_report(DECISIONS, IDS, EndToEndRun(read, 2.0, METER))


def test_the_offline_decision() -> None:
    assert DECISIONS.by_local.tolist() == [True, False, False, False]
    assert DECISIONS.by_remote.tolist() == [False, True, False, True]
    assert DECISIONS.rejected.tolist() == [False, False, True, False]
    assert DECISIONS.predictions.tolist() == ["a", "f", "g", "h"]
    assert DECISIONS.scores.tolist() == [0.5, 0.7, 0.6, 0.9]
    assert DECISIONS.correct.tolist() == [True, True, False, False], "a rejected answer counts for nothing"


def test_where_only_correctness_is_recorded_right_and_wrong_differ() -> None:
    bare = Recording(*(Side(s.scores, s.correct) for s in (RECORDING.local, RECORDING.remote)))
    assert RULE.decide(bare).predictions.tolist() == ["right", "right", "right", "wrong"]


def test_a_sound_rehearsal() -> None:
    sound = report()
    assert sound.sound
    assert (sound.inputs, sound.answered_by_local, sound.answered_by_remote, sound.rejected) == (4, 1, 2, 1)
    assert (sound.correct, sound.accuracy, sound.mismatches, sound.lost, sound.duplicated) == (2, 2 / 3, 0, 0, 0)
    assert (sound.remote_calls, sound.cost, sound.cost_in_records, sound.throughput) == (3, 0.3, 0.3, 2.0)
    assert sound.expected == {"answered_by_local": 1, "answered_by_remote": 2, "rejected": 1, "correct": 2}
    promised = "inputs answered_by_local answered_by_remote rejected correct mismatches remote_calls cost seconds lost"
    assert {*promised.split(), "duplicated"} <= asdict(sound).keys()


@pytest.mark.parametrize(
    ("at", "outcome", "said"),
    [
        (0, Outcome("0", "remote", "a", 0.5), "id w: decision 'local' offline, 'remote' here"),
        (1, Outcome("1", "remote", "e", 0.7), "id x: prediction 'f' offline, 'e' here"),
        (1, Outcome("1", "remote", "f", math.nextafter(0.7, 1)), "id x: score 0.7 offline, 0.7000000000000001 here"),
        (2, Outcome("2", "remote", "g", 0.6), "id y: decision 'rejected' offline, 'remote' here"),
        (2, Outcome("2", None, "g", 0.5, "low_confidence"), "id y: score 0.6 offline, 0.5 here"),
        (2, Outcome("2", None, "g", 0.6, "timeout"), "id y: decision 'rejected' offline, 'failed with timeout' here"),
    ],
)
def test_whatever_differs_is_a_mismatch(at: int, outcome: Outcome, said: str) -> None:
    found = report((at, outcome))
    assert (found.mismatches, found.first_mismatches, found.sound) == (1, [said], False)


def test_what_is_lost_repeated_or_strange_is_counted() -> None:
    lost = report((1, None))
    assert (lost.lost, lost.duplicated, lost.unknown, lost.sound) == (1, 0, 0, False)
    twice = report(extra=(RIGHT[0],))
    assert (twice.lost, twice.duplicated, twice.answered_by_local, twice.sound) == (0, 1, 1, False)
    strange = report(extra=(Outcome("9", "local"),))
    assert (strange.unknown, strange.duplicated, strange.sound) == (1, 0, False)


def test_the_models_answer_from_a_file_of_plain_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recording.npz"
    recorded_models.save(RECORDING, path)
    monkeypatch.setenv(recorded_models.VARIABLE, str(path))
    assert recorded_models.local()([[2], [0]]) == [("c", 0.4), ("a", 0.5)]
    answered = recorded_models.remote()([np.array([3.0]), np.array([1.0])])
    assert {name: values.tolist() for name, values in answered.items()} == {
        "prediction": ["h", "f"],
        "score": [0.9, 0.7],
    }


@pytest.mark.parametrize("limit", [1.0, 1000.0])
def test_the_configuration_is_one_that_loads(tmp_path: Path, limit: float) -> None:
    rule = TwoThresholds(-3.5, 0.1 + 0.2)
    conditions = rehearsal.Conditions(limit=limit, price=0.25)
    tables = rehearsal._tables("127.0.0.1:9", "http://127.0.0.1:8", rule, conditions)
    config = tmp_path / "bisupervised.toml"
    config.write_text(rehearsal.to_toml(tables, name="r"))
    settings = load_settings(config, {})
    assert (settings.local.threshold, settings.remote.threshold) == (-3.5, 0.1 + 0.2), "to the last bit"
    assert (settings.topics.requests, settings.topics.fallback) == ("r-requests", "r-fallback")
    assert (settings.remote.batch_size, settings.remote.price_per_call) == (1, 0.25)
    assert tomllib.loads(config.read_text())["name"] == "r"


def test_calls_under_way_follow_the_limit() -> None:
    assert rehearsal.Conditions().in_flight == 64
    assert rehearsal.Conditions(latency_ms=100, limit=100).in_flight == 18
    assert rehearsal.Conditions(limit=1).in_flight == 2


@pytest.fixture
def recording_file(tmp_path: Path) -> Path:
    path = tmp_path / "both.csv"
    path.write_text(
        "id,truth,local_prediction,local_score,remote_prediction,remote_score\na,1,1,.9,0,.8\nb,1,0,.1,1,.2\n"
    )
    return path


def test_the_command_prints_and_writes_json_and_says_what_it_took(
    recording_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def rehearse(given: Any, rule: Any, conditions: Any, console: Any) -> RehearsalReport:
        asked.append((given.ids.tolist(), rule, conditions))
        console.print("on the way")
        return report()

    monkeypatch.setattr(rehearsal, "rehearse", rehearse)
    both, out = str(recording_file), recording_file.parent / "deep" / "rehearsal.json"
    words = ["rehearse", "--local", both, "--remote", both, "--local-threshold", "0.5", "--remote-threshold=-1"]
    assert cli.run([*words, "--first", "1", "--price", "2", "--limit", "9", "--json", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document == json.loads(out.read_text())
    assert (document["inputs"], document["settings"]["remote"]["threshold"]) == (4, -1.0)
    assert "local: id = id, score = local_score" in shown.err
    assert asked == [(["a"], TwoThresholds(0.5, -1.0), rehearsal.Conditions(0.0, 9.0, 2.0))]


def test_the_command_fails_where_the_pipeline_decided_otherwise(
    recording_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    differing = report((0, Outcome("0", "remote", "a", 0.5)), (1, None))
    monkeypatch.setattr(rehearsal, "rehearse", lambda *_: differing)
    both = str(recording_file)
    assert cli.run(["rehearse", "--local", both, "--remote", both, *THRESHOLDS]) == 1
    shown = capsys.readouterr().out
    assert "id w: decision 'local' offline, 'remote' here" in shown
    assert re.search(r"mismatches\D+1 ", shown)
    assert re.search(r"lost\D+1 ", shown)


THRESHOLDS = ("--local-threshold", "0.5", "--remote-threshold", "0.5")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--local", "nowhere.csv", "--remote", "nowhere.csv", *THRESHOLDS], 1, "nowhere.csv: cannot be read"),
        (["--local", "a.csv", "--remote", "a.csv", "--local-threshold", "nan", "--remote-threshold", "0"], 2, "finite"),
        (["--local", "a.csv", "--remote", "a.csv", "--local-threshold", "0", "--remote-threshold", "inf"], 2, "finite"),
        (["--local", "a.csv", "--remote", "a.csv"], 2, "threshold"),
        (["--local", "a.csv", "--remote", "a.csv", *THRESHOLDS, "--limit", "0"], 2, "limit"),
    ],
)
def test_a_command_that_cannot_be_run(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["rehearse", *words]) == code
    assert said in capsys.readouterr().err
