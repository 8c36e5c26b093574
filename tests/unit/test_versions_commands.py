"""`audit history`, `set`, `pin`, `unpin`: what they take and what they refuse, before anything is read or written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.audit.versions import followed, rung_of
from bisupervised.streams.cli import run
from bisupervised.streams.versions.fold import fold
from support.versions import LADDER, PIPELINE, chosen, laddered_file


def configured(folder: Path, thresholds: str) -> Path:
    path = folder / "shop.toml"
    path.write_text(
        f"[thresholds]\nfile = '{laddered_file(folder)}'\n{thresholds}\n"
        "[local]\nmodel = 'my_model:load'\n[remote]\nurl = 'http://127.0.0.1'\nmodel = 'm'\n"
    )
    return path


def test_a_rung_is_a_number_or_a_version_that_was_in_force() -> None:
    first, void = chosen([], 4), chosen([], 2, by="ben")
    standing = fold([first, void, chosen([first], 1)], PIPELINE, LADDER)
    assert rung_of("2", standing, LADDER) == 2
    assert rung_of(first.version, standing, LADDER) == 4
    assert rung_of("made", standing, LADDER) == 3
    for wrong in ("0", "5", "-1", "", "four", void.version):
        with pytest.raises(ConfigurationError, match="RUNG: must be 1 to 4, or a version that was in force"):
            rung_of(wrong, standing, LADDER)


def test_a_version_that_looks_like_a_number_names_the_file_first() -> None:
    """A file may be called 2: its own pair is meant, as `audit history` prints it."""
    numbered = replace(LADDER, version="2")
    assert rung_of("2", fold([], PIPELINE, numbered), numbered) == 3


def test_what_nobody_would_follow_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, "")
    for words in (["history"], ["set", "2", "--why", "x"], ["pin", "2", "--why", "x"], ["unpin", "--why", "x"]):
        assert run(["audit", *words, "--config", str(config)]) == 2
        assert "no worker follows the topic: set it to true" in capsys.readouterr().err


def test_a_reason_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, "follow = true")
    assert followed(config)[1].start == 3
    assert run(["audit", "set", "2", "--config", str(config)]) == 2
    assert "why" in capsys.readouterr().err
    assert run(["audit", "set", "2", "--why", " ", "--config", str(config)]) == 2
    assert "--why: must say why" in capsys.readouterr().err
