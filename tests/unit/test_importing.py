"""A module of the user's own that is not there: where it was looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bisupervised.agents.importing import own_module


def test_it_says_where_it_looked_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere:")
    with pytest.raises(ImportError) as told:
        own_module("no_such_model")
    assert str(told.value) == (
        f"No module named 'no_such_model'. Looked in the current folder ({tmp_path}), /elsewhere (PYTHONPATH) and "
        "among the installed packages. Start the command in the folder that holds no_such_model, or name that folder: "
        "PYTHONPATH=FOLDER"
    )


def test_what_the_module_itself_imports_and_lacks_is_another_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_half_model.py").write_text("import no_such_library")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    with pytest.raises(ImportError, match=r"^No module named 'no_such_library'$"):
        own_module("their_half_model")


def test_it_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the local model and of a protocol alike: a worker with the remote agent alone has no model to load first."""
    (tmp_path / "their_own_protocol.py").write_text("answer = 42")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    assert own_module("their_own_protocol").answer == 42
