"""The issue demo: its files, its texts and its two models."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.cli import demo
from bisupervised.streams.demo import run_issues, triage
from bisupervised.streams.demo.errors import DemoError
from bisupervised.streams.demo.issues import (
    LABELS,
    MOST_BYTES,
    TEST_FILE,
    TRAINING_FILE,
    IssueReport,
    IssueText,
    event,
    load_issues,
    parted,
    read_reports,
)
from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.settings.tables import Settings
from rich.console import Console

#: real reports, which are not part of the project: `tests` reads them where they lie
REAL = Path(__file__).parents[3] / "shared" / "data" / "issues"
WORDS = {
    "bug": ("Crash when saving", "It fails with an error.\n```\nTraceback\n```"),
    "feature": ("Allow to save all", "It would be nice.\n### Describe the feature"),
    "question": ("How do I save?", "Thanks for any help?"),
}


def reports(each: int = 20) -> list[IssueReport]:
    return [
        IssueReport(f"shop/{'web' if number % 2 else 'app'}", f"{title} {number % 7}", f"{body} {number % 5}", label)
        for number in range(each)
        for label, (title, body) in WORDS.items()
    ]


def written(path: Path, rows: Sequence[IssueReport], *, encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["repo", "created_at", "label", "title", "body"])
        lines.writerows([row.repo, "2023-08-26", row.label, row.title, row.body] for row in rows)
    return path


# the files


def test_reports_are_read_however_long_a_body_is(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = IssueReport("a/b", 't, with "quotes"\nand a line', "x" * 300_000, "bug")
    path = written(tmp_path / TRAINING_FILE, [long, *reports(1)], encoding="utf-8-sig")
    assert read_reports(path) == [long, *reports(1)]
    assert csv.field_size_limit() == before, "it is the process's"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("repo,label,title\na/b,bug,t\n", "has no column body"),
        ("repo,label,title,body\na/b,bug,t,b\na/b,spam,t,b\n", r"report 2: its label is none of .* \(got 'spam'\)"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / TRAINING_FILE
    if content is not None:
        path.write_text(content)
    with pytest.raises(DemoError, match=told):
        read_reports(path)


def test_a_short_row_has_an_empty_body(tmp_path: Path) -> None:
    path = tmp_path / TRAINING_FILE
    path.write_text("repo,label,title,body\na/b,Bug\n")
    assert read_reports(path) == [IssueReport("a/b", "", "", "bug")]


def test_without_a_test_file_a_third_is_held_out_and_with_one_that_file_is(tmp_path: Path) -> None:
    written(tmp_path / TRAINING_FILE, reports(200))
    split = load_issues(tmp_path, 0)
    assert [len(part) for part in (split.training, split.calibration, split.held_out)] == [280, 120, 200]
    assert split == load_issues(tmp_path, 0) != load_issues(tmp_path, 1)
    later = [IssueReport("new/one", "a title", "a body", "bug")]
    written(tmp_path / TEST_FILE, later)
    split = load_issues(tmp_path, 0)
    assert [len(part) for part in (split.training, split.calibration)] == [420, 180]
    assert split.held_out == later


def test_too_few_reports_are_refused(tmp_path: Path) -> None:
    written(tmp_path / TRAINING_FILE, reports(10))
    with pytest.raises(DemoError, match="needs 200 or more"):
        load_issues(tmp_path, 0)


# the texts


def test_a_text_holds_project_title_and_body() -> None:
    report = IssueReport("a/b", "a title\nof two lines", "a body\nof two lines", "bug")
    assert parted(report.text) == IssueText("a/b", "a title of two lines", "a body\nof two lines")


@pytest.mark.parametrize("sign", ["x", "ж", "\x00", "😀", '"'])
def test_every_event_fits_into_a_record_of_kafka(sign: str) -> None:
    """A control character takes six bytes in JSON."""
    report = IssueReport("a/b", "title", sign * 1_000_000, "bug")
    value = event("7", report)
    assert 0.8 * MOST_BYTES < len(value) <= MOST_BYTES
    read = orjson.loads(value)
    assert read["id"] == "7"
    assert report.text.startswith(read["input"])
    whole = IssueReport("a/b", "title", sign * 100_000, "bug")
    assert orjson.loads(event("7", whole))["input"] == whole.text


# the models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[triage.IssueModel, triage.IssueModel]:
    """Both, as a worker and a server load them."""
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("models")
    triage.save(triage.learn_titles(reports(), 0), folder / triage.LOCAL_FILE)
    triage.save(triage.learn_reports(reports()), folder / triage.REMOTE_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(triage.MODELS_VARIABLE, str(folder))
        return triage.titles(), triage.reports()


Models = tuple[triage.IssueModel, triage.IssueModel]


def test_each_learns_what_it_was_shown(models: Models) -> None:
    assert [run_issues.accuracy(model, reports()) for model in models] == [1.0, 1.0]


def test_the_small_model_sees_titles_alone(models: Models) -> None:
    local, remote = models
    one, other = "shop/web\nHow do I save?\nThanks?", "shop/app\nHow do I save?\nIt fails with an error."
    assert np.array_equal(local([one]), local([other]))
    assert not np.allclose(remote([one]), remote([other]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "shop/web",
        "shop/web\n\n",
        "unknown/project\nНе работает\nОшибка при сохранении",
        "shop/web\n无法保存\n" + "文" * 200_000,
        "shop/web\ntitle\n" + "![" * 100_000,
        "shop/web\ntitle\n" + "<!-- ```" * 30_000,
        "shop/web\ntitle\n" + "**a" * 70_000,
        "shop/web\n\x00\ud83d\x1b[31m\n\x00",
        None,
        17,
        ["a", "list"],
    ],
    ids=lambda text: repr(text)[:24],
)
def test_whatever_a_report_holds_it_is_answered(models: Models, text: object) -> None:
    for model in models:
        told = model([text, "shop/web\nHow do I save?\nThanks?"])
        assert told.shape == (2, len(LABELS))
        assert np.allclose(told.sum(axis=1), 1.0)
        assert (told >= 0).all()


def test_the_answers_do_not_depend_on_who_is_asked_beside(models: Models) -> None:
    texts = [report.text for report in reports(3)]
    for model in models:
        assert np.allclose(model(list(texts)), np.vstack([model([text]) for text in texts]))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the reports are not part of the project: {REAL}")
def test_real_reports_are_told_apart_and_better_by_whoever_reads_them_whole() -> None:
    pytest.importorskip("sklearn")
    split = load_issues(REAL, 0)
    local, remote = triage.learn_titles(split.training, 0), triage.learn_reports(split.training)
    held_out = split.calibration + split.held_out
    assert max(len(report.body) for report in split.training + held_out) > 200_000
    right = run_issues.accuracy(local, held_out), run_issues.accuracy(remote, held_out)
    assert right[0] > 0.52
    assert right[1] > 0.70
    assert right[1] - right[0] > 0.12


# the demo


def test_the_configuration_is_one(tmp_path: Path) -> None:
    config, file = tmp_path / "bisupervised.toml", tmp_path / "t.json"
    config.write_text(run_issues._toml("127.0.0.1:9", "http://127.0.0.1:8", None))
    told = load_configuration(config, {"BISUPERVISED_LOCAL__THRESHOLD": "0.5", "BISUPERVISED_REMOTE__THRESHOLD": "0.5"})
    settings: Settings = told.settings
    assert settings.local.labels == settings.remote.labels == LABELS
    assert settings.remote.datatype == "BYTES"
    assert str(file.resolve()) in run_issues._toml("127.0.0.1:9", "http://127.0.0.1:8", file)


def test_without_a_folder_it_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="--data: name the folder with issues_train"):
        demo(out=tmp_path, example="issues")
    with pytest.raises(ConfigurationError, match="only goes with --example issues"):
        demo(out=tmp_path, data=tmp_path)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_issues, "_NEEDED", {"no_such_module": "no-such-package"})
    with pytest.raises(DemoError, match="needs no-such-package"):
        run_issues.run_issues(tmp_path, tmp_path, seed=0)


def test_a_command_that_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="`no-such-command` ended with status 2"):
        run_issues._command(["no-such-command"], tmp_path, {}, Console(quiet=True))
