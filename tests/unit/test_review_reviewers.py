"""The file of reviewers: names, digests, and every fault of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.cli import run
from bisupervised.streams.review.process import Known, asked
from bisupervised.streams.review.reviewers import Reviewers, add_reviewer, read_reviewers
from bisupervised.streams.settings.tables import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reviewers.txt"


def test_a_token_lets_in_whom_it_was_made_for(path: Path) -> None:
    tokens = {name: add_reviewer(path, name) for name in ("ann", "bob@example.org")}
    found = read_reviewers(path)
    assert found.names == ["ann", "bob@example.org"]
    for name, token in tokens.items():
        assert found.who(token) == name
        assert token not in path.read_text()
    for nobody in ("", "x", tokens["ann"][:-1], tokens["ann"] + " ", "\udcff"):
        assert found.who(nobody) is None
    assert path.stat().st_mode & 0o077 == 0
    assert tokens["ann"] not in repr(found)
    assert "digests" not in repr(found)


@pytest.mark.parametrize("name", ["", " ", "a b", "-ann", "ann\n", "a" * 65, "<b>"])
def test_a_name_that_cannot_be_one_is_refused(path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="a name is"):
        add_reviewer(path, name)
    assert not path.exists()


def test_nobody_is_added_twice(path: Path) -> None:
    add_reviewer(path, "ann")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="ann is there"):
        add_reviewer(path, "ann")
    assert path.read_bytes() == before


def test_who_lost_the_link_gets_another_one_though_nobody_else_is_there(path: Path) -> None:
    lost = add_reviewer(path, "ann")
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("ann")))
    token = add_reviewer(path, "ann")
    found = read_reviewers(path)
    assert (found.who(lost), found.who(token)) == (None, "ann")


def test_a_file_whose_last_line_an_editor_left_open_takes_one_more(path: Path) -> None:
    ann = add_reviewer(path, "ann")
    path.write_text(path.read_text().rstrip())
    bob = add_reviewer(path, "bob")
    found = read_reviewers(path)
    assert (found.who(ann), found.who(bob)) == ("ann", "bob")


def test_every_fault_of_the_file_is_told_and_nothing_that_may_be_a_token(path: Path) -> None:
    line = f"ann sha256:{'0' * 64}\n"
    path.write_text(f"# who\n\n{line}bob my-secret-token\n{line}x y sha256:{'0' * 64}\n")
    with pytest.raises(ConfigurationError) as raised:
        read_reviewers(path)
    assert [fault.split(": ")[0].split(", ")[1] for fault in raised.value.faults] == ["line 4", "line 5", "line 6"]
    assert "my-secret-token" not in str(raised.value)
    for text in ("", "# nobody\n"):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match="names nobody"):
            read_reviewers(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError):
        read_reviewers(path)
    with pytest.raises(ConfigurationError, match=r"cannot be read.*reviewers add NAME"):
        read_reviewers(path.with_name("none"))


def test_who_is_deleted_is_out_and_a_faulty_file_changes_nothing(path: Path) -> None:
    ann, bob = add_reviewer(path, "ann"), add_reviewer(path, "bob")
    known = Known(path, read_reviewers(path))
    whole = path.read_text()
    path.write_text("".join(line for line in whole.splitlines(keepends=True) if not line.startswith("ann")))
    known.look()
    assert (known.now.who(ann), known.now.who(bob)) == (None, "bob")
    path.write_text("nonsense\n")
    known.look()
    assert known.now.who(bob) == "bob"
    path.unlink()
    known.look()
    assert known.now.who(bob) == "bob"


def test_the_command_prints_a_link_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reviewers", "add", "ann", "--reviewers", str(path)]) == 0
    link = capsys.readouterr().out.strip()
    head, _, token = link.partition("#token=")
    assert head == "http://127.0.0.1:8100/"
    assert read_reviewers(path).who(token) == "ann"
    assert run(["reviewers", "add", "ann", "--reviewers", str(path)]) == 2
    assert run(["reviewers", "add", "bob"]) == 2
    assert "--reviewers" in capsys.readouterr().err


def test_every_fault_is_told_before_anything_starts(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = path.with_name("my.toml")
    config.write_text(
        '[local]\nmodel = "a:b"\nthreshold = 0.5\n[remote]\nurl = "http://127.0.0.1:1"\nmodel = "m"\nthreshold = 0.5\n'
    )
    assert run(["review", "--config", str(config)]) == 2
    told = capsys.readouterr().err
    assert "[audit] share" in told
    assert "reviewers add NAME" in told
    path.write_text("nonsense\n")
    assert run(["review", "--config", str(config), "--reviewers", str(path)]) == 2
    told = capsys.readouterr().err
    assert "[audit] share" in told
    assert "line 1" in told


@pytest.mark.parametrize(
    ("labels", "offered", "classes"),
    [
        ((["a", "b"], ["b", "c"]), [], ("a", "b", "c")),
        (([], ["b", "c"]), [], ("b", "c")),
        (([], []), [], ()),
        ((["a", "b"], []), ["a", "neither"], ("a", "neither")),
    ],
)
def test_people_may_answer_whatever_a_model_may(
    labels: tuple[list[str], list[str]], offered: list[str], classes: tuple[str, ...]
) -> None:
    local = {"model": "a:b", "threshold": 0.5, "labels": labels[0]}
    remote = {"url": "http://127.0.0.1:1", "model": "m", "threshold": 0.5, "labels": labels[1]}
    settings = Settings.model_validate({"local": local, "remote": remote, "review": {"classes": offered}})
    assert asked(settings, Reviewers({})).classes == classes


def test_of_nobody_nobody_is_found() -> None:
    assert Reviewers({}).who("") is None
