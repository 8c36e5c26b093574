"""The digest of a model's files is made beside what else is done to load them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from bisupervised.agents.local.formats import loaded
from bisupervised.agents.local.formats.loaded import digest, digesting
from bisupervised.schemas.errors import ConfigurationError


def test_it_is_made_while_other_things_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    made = threading.Event()

    def telling(paths: list[Path]) -> str:
        found = digest(paths)
        made.set()
        return found

    monkeypatch.setattr(loaded, "digest", telling)
    with digesting([tmp_path / "model"]) as version:
        assert made.wait(60.0), "nobody has asked for it yet"
    assert version() == digest([tmp_path / "model"])


def test_a_file_that_cannot_be_read_is_told_to_who_asks(tmp_path: Path) -> None:
    with digesting([tmp_path / "gone"]) as version:
        pass
    with pytest.raises(ConfigurationError, match="cannot read the model file"):
        version()


def test_what_fails_meanwhile_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), digesting([tmp_path / "gone"]):
        raise ZeroDivisionError
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("digest")]
