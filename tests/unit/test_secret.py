"""Secrets of any table, by the names of their keys alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.streams.settings.secret import secret, secret_faults, secret_keys, take_written, variable
from pydantic import BaseModel, SecretStr


class Web(BaseModel):
    token: SecretStr | None = None
    token_file: str = ""
    port: int = 0


class Settings(BaseModel):
    web: Web = Web()


PLACE = ("web", "token")
TABLES: dict[str, type[BaseModel]] = {"": Settings, "web": Web}


def test_a_secret_is_found_by_its_type() -> None:
    assert secret_keys(TABLES) == [PLACE]
    assert variable(PLACE) == "BISUPERVISED_WEB__TOKEN"
    assert variable(("remote.tei", "key")) == "BISUPERVISED_REMOTE__TEI__KEY"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("pass phrase \n")
    named = str(tmp_path / "token")
    assert secret(Web(), "token") is None
    assert secret(Web(token_file=named), "token") == "pass phrase ", "but for the end of the line"
    assert secret(Web(token_file=named, token=SecretStr("other")), "token") == "other"


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b" \n", "must not be empty"), (b"\xff\xfe", "must hold text"), (None, "cannot be read: No such file")],
)
def test_a_file_without_one_is_a_fault(tmp_path: Path, content: bytes | None, fault: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    [told] = secret_faults(Settings(web=Web(token_file=str(tmp_path / "token"))), [PLACE])
    assert told.startswith(f"[web] token_file: {fault}")


def test_an_empty_variable_is_a_fault() -> None:
    faults = secret_faults(Settings(web=Web(token=SecretStr(""))), [PLACE])
    assert faults == ["BISUPERVISED_WEB__TOKEN: must not be empty"]


def test_none_is_no_fault() -> None:
    assert secret_faults(Settings(), [PLACE, ("elsewhere", "token")]) == []


def test_what_is_written_in_the_file_is_removed_and_not_repeated() -> None:
    document = {"web": {"token": "canary", "port": 1}}
    assert take_written(document, [PLACE]) == [
        "[web] token: must not stand in the file; set BISUPERVISED_WEB__TOKEN, or token_file"
    ]
    assert document == {"web": {"port": 1}}
    assert take_written({"web": "canary"}, [PLACE]) == []
