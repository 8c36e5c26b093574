from __future__ import annotations

from pathlib import Path

import pytest
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
