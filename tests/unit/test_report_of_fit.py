"""From a fit to the material of its report: the same figures, and what is known besides."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from bisupervised.agents.supervision.evaluation import evaluate
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.streams.offline.calibrate import CalibrationOptions, Names
from bisupervised.streams.offline.fitting import Fit, fit_recording
from bisupervised.streams.offline.recordings.files import RecordingError
from bisupervised.streams.report.from_fit import Background, material_of, recorded_background
from bisupervised.streams.report.grid import make_grid
from bisupervised.streams.report.material import Material, Pair, Usage
from bisupervised.streams.report.writing import write_report
from support.recorded import of_classes, recorded

WISH = CalibrationOptions(remote_fraction=0.4, false_positive_rate=0.05)
NAMES = Names(local_model="tiny:1", remote_model="large:2")
BACKGROUND = Background("labelled.csv", toml='[thresholds]\nfile = "t.json"', usage=Usage(price=0.002))


def fitted(n: int = 2000, *, options: CalibrationOptions = WISH, hidden: float = 0.0) -> Fit:
    return fit_recording(recorded(*of_classes(n, 1, hidden=hidden)), options, NAMES, 0, "2026-12-01T00:00:00+00:00")


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fitted()


@pytest.fixture(scope="module")
def told(fit: Fit) -> Material:
    return material_of(fit, BACKGROUND)


@pytest.mark.parametrize(("cell", "told"), [('"y"', "'y' is not a number"), ("true", "True is not a number")])
def test_a_time_that_is_none_is_an_error_with_its_place(tmp_path: Path, cell: str, told: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": 1, "local_latency_s": "0.5"}}\n{{"id": 2, "local_latency_s": {cell}}}\n')
    with pytest.raises(RecordingError) as error:
        recorded_background(path)
    assert str(error.value) == f"{path}, line 2, column 'local_latency_s': {told}"


@pytest.mark.parametrize("hidden", [0.0, 0.8])
def test_the_figures_are_those_of_the_commands_json(hidden: float) -> None:
    fit = fitted(4000, hidden=hidden)
    told, document = material_of(fit, BACKGROUND), fit.as_json()
    supervisors = Supervisor("", told.chosen.local), Supervisor("", told.chosen.remote)
    measured = evaluate(told.unseen, *supervisors).rates()
    assert measured == {name: document[name] for name in measured}
    assert told.chosen == Pair(document["local_threshold"], document["remote_threshold"])
    grid = make_grid(told.unseen, [told.chosen])
    i, _ = grid.place(told.chosen)
    assert grid.deferred[i] / grid.n == document["remote_fraction"]
    assert sum(told.labels.values()) == document["labels"]
    assert told.scores.areas.items() >= document["scores"].items()
    assert (told.scores.chosen, told.scores.learned) == (document["score"], document["learned"]["kept"])
    assert told.scores.learned == bool(hidden), "both cases are seen"
    assert told.scores.areas["learned"] - told.scores.areas[fit.chosen.score.name] == pytest.approx(
        document["learned"]["gain"]
    )
    assert msgspec.to_builtins(told.rungs) == document["rungs"]


def test_what_is_wanted_is_told_with_its_probability(told: Material) -> None:
    (promise,) = told.promises
    assert (promise.kind, promise.at_most, promise.confidence) == ("false_positive_rate", 0.05, 0.9)
    assert told.certified
    assert told.toml == BACKGROUND.toml


def test_two_promises_are_two() -> None:
    both = CalibrationOptions(remote_fraction=0.6, false_positive_rate=0.4, max_error=0.4)
    told = material_of(fitted(options=both), BACKGROUND)
    assert [one.kind for one in told.promises] == ["error", "false_positive_rate"]


def test_an_infeasible_wish_says_why_and_offers_nothing_to_paste() -> None:
    told = material_of(fitted(options=CalibrationOptions(remote_fraction=0.1, max_error=0.001)), BACKGROUND)
    assert "wrong" in told.refused
    assert "nearest" in told.refused
    assert not told.certified
    assert told.toml == ""
    assert told.chosen.remote == told.unseen.remote.scores.min(), "the handles stand where nothing is rejected"


def test_the_models_and_the_version_are_named(fit: Fit, told: Material) -> None:
    assert fit.thresholds is not None
    assert told.facts == (
        "2,000 labelled inputs",
        "local tiny:1",
        "remote large:2",
        f"version {fit.thresholds.version}",
    )


def test_every_recorded_answer_is_told(fit: Fit) -> None:
    truths = {identity: f"class {at % 3}" for at, identity in enumerate(fit.recorded.ids.tolist())}
    answers = material_of(fit, Background("x", truths=truths)).answers
    assert len(answers.ids) == len(answers.local) == len(answers.local_scores) == 2000
    assert answers.truths is not None
    assert answers.truths[:4] == ("class 0", "class 1", "class 2", "class 0")
    assert answers.local_said is not None
    assert set(answers.local_said) == {"0", "1", "2", "3"}
    del truths["7"]
    assert material_of(fit, Background("x", truths=truths)).answers.truths is None, "half a truth is none"


def test_a_recording_tells_right_answers_and_times(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(
        '{"id": "a", "truth": "cat", "local_latency_s": 0.1, "remote_latency_s": null}\n'
        '{"id": "b", "truth": 3, "local_latency_s": 0.3, "remote_latency_s": 2}\n'
    )
    truths, (local_s, remote_s) = recorded_background(file)
    assert truths == {"a": "cat", "b": 3}
    assert local_s == pytest.approx(0.2)
    assert remote_s == 2.0
    (tmp_path / "scores.csv").write_text("score,correct\n0.5,true\n")
    assert recorded_background(tmp_path / "scores.csv") == ({}, (None, None))
    with pytest.raises(RecordingError):
        recorded_background(tmp_path / "none.csv")


def test_no_secret_of_the_configuration_has_a_way_in(fit: Fit, tmp_path: Path) -> None:
    write_report(fit, BACKGROUND, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for word in ("labelled.csv", "tiny:1", "large:2", "t.json"):
        assert word in page
    assert str(tmp_path) not in page, "nor does it tell where it was made"


def test_numbers_of_numpy_are_told_as_numbers(fit: Fit) -> None:
    ids = fit.recorded.ids.tolist()
    answers = material_of(fit, Background("x", truths={identity: np.int64(4) for identity in ids})).answers
    assert answers.truths is not None
    assert set(answers.truths) == {"4"}
