from __future__ import annotations

import io
from pathlib import Path

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.console.output import check_outputs, progress_bar
from rich.console import Console


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(terminal: bool) -> None:
    written = io.StringIO()
    with progress_bar(Console(file=written, force_terminal=terminal, width=80)) as bar:
        bar.update(bar.add_task("records", total=10), completed=5)
    assert ("5/10" in written.getvalue()) is terminal
    assert bool(written.getvalue()) is terminal


def test_nothing_is_written_over_what_is_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs, same, other = Path("pairs.jsonl"), tmp_path / "x" / ".." / "pairs.jsonl", Path("t.json")
    check_outputs(
        {"--out": other, "--report": Path("r.html"), "--plot": None}, {"--recording": pairs, "--labels": None}
    )
    with pytest.raises(ConfigurationError) as told:
        check_outputs({"--out": other, "--report": same, "--plot": other}, {"--recording": pairs})
    assert told.value.faults == (
        f"--report: {same} would be written over, and --recording is read from there; name another file",
        "--plot: t.json would be written over, and --out is written there; name another file",
    )
