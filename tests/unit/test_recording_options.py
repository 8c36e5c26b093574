from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.offline.recordings.options import RecordingOptions
from cyclopts import App, CycloptsError


def parsed(*words: str) -> RecordingOptions:
    app = App()
    taken: list[RecordingOptions] = []

    @app.default
    def command(*, recording: RecordingOptions) -> None:
        taken.append(recording)

    app(words, exit_on_error=False, print_error=False, result_action="return_value")
    return taken[0]


def test_options_are_flat_and_each_may_be_for_one_side(tmp_path: Path) -> None:
    local, remote = tmp_path / "l.csv", tmp_path / "r.csv"
    local.write_text("s,ok\n.1,1\n.2,0\n")
    remote.write_text("t,ok,kind\n.3,1,a\n.4,1,b\n")
    words = ("--local", str(local), "--remote", str(remote), "--score-column", "s", "--remote-score-column", "t")
    recorded = parsed(*words, "--correct-column", "ok", "--where", "kind=b").read()
    assert recorded.recording.local.scores.tolist() == [0.2]
    assert recorded.recording.remote.scores.tolist() == [0.4]
    assert recorded.recording.local.correct.tolist() == [False]


def test_both_files_are_needed() -> None:
    with pytest.raises(CycloptsError, match="--remote"):
        parsed("--local", "l.csv")


@pytest.fixture
def free_text(tmp_path: Path) -> tuple[str, ...]:
    """Words of an answer in another letter case, one that is right to the letter, and a wrong one."""
    path = tmp_path / "both.csv"
    path.write_text('score,prediction,truth\n.1,"Paris.",paris\n.2,Rome,Rome\n.3,Oslo,Bergen\n')
    return ("--local", str(path), "--remote", str(path))


def loosely(prediction: object, truth: object) -> bool:
    return (prediction, truth) == ("Oslo", "Bergen")


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ((), [False, True, False]),
        (("--matches", "normalised"), [True, True, False]),
        (("--matches", f"{__name__}:loosely"), [False, False, True]),
    ],
)
def test_an_answer_is_right_where_the_audit_takes_it_for_right(
    words: tuple[str, ...], right: list[bool], free_text: tuple[str, ...]
) -> None:
    assert parsed(*free_text, *words).read().recording.remote.correct.tolist() == right


def test_what_compares_answers_must_be_there(free_text: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="--matches: 'nowhere:at_all' cannot be imported"):
        parsed(*free_text, "--matches", "nowhere:at_all").read()
