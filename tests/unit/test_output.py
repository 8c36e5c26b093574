from __future__ import annotations

import io

import pytest
from bisupervised.streams.console.output import progress_bar
from rich.console import Console


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(terminal: bool) -> None:
    written = io.StringIO()
    with progress_bar(Console(file=written, force_terminal=terminal, width=80)) as bar:
        bar.update(bar.add_task("records", total=10), completed=5)
    assert ("5/10" in written.getvalue()) is terminal
    assert bool(written.getvalue()) is terminal
