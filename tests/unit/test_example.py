"""The commented example of every option."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from bisupervised.streams import cli
from bisupervised.streams.settings.example import example, toml
from bisupervised.streams.settings.file import KNOWN, SECRETS, all_tables, load_settings
from bisupervised.streams.settings.keys.protocols import TABLES

pytestmark = pytest.mark.wheel
FILE = Path(__file__).parents[2] / "examples" / "bisupervised.toml"
OPTION = re.compile(r"^#(?=[a-z_]+ = |\[)", re.MULTILINE)


def load(folder: Path, text: str) -> Any:
    path = folder / "bisupervised.toml"
    path.write_text(text)
    return load_settings(path, {})


def blocks() -> dict[str, str]:
    """The text of each table with every option uncommented, by its name."""
    text = OPTION.sub("", example())
    parts = re.split(r"^\[([a-z_.]+)\]\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def joined(tables: dict[str, str]) -> str:
    return "".join(f"[{name}]\n{text}" if name else text for name, text in tables.items())


def test_the_file_is_current() -> None:
    assert FILE.read_text() == example(), "the settings have changed: run `make docs`"


def test_the_file_loads_as_it_is(tmp_path: Path) -> None:
    settings = load(tmp_path, example())
    assert settings == load(tmp_path, joined({name: text for name, text in blocks().items() if "." not in name})), (
        "what is commented out is what holds without it"
    )


def test_every_option_stands_in_it_with_its_description() -> None:
    tables = blocks()
    twice = {f"local.{name}" for name in TABLES}  # they are the remote's
    assert tables.keys() == all_tables().keys() - twice
    for name, keys in ((name, KNOWN[name]) for name in KNOWN.keys() - twice):
        written = tomllib.loads(tables[name])
        secrets = {key for table, key in SECRETS if table == name}
        inner = {key for key in keys if (f"{name}.{key}" if name else key) in all_tables()}
        assert written.keys() == keys.keys() - secrets - inner, name
        prose = " ".join(re.sub(r"^# ", "", tables[name], flags=re.MULTILINE).split())
        assert all(" ".join(keys[key].split()) in prose for key in keys.keys() - inner), name


@pytest.mark.parametrize("protocol", TABLES)
def test_every_option_of_a_protocol_loads_with_it(tmp_path: Path, protocol: str) -> None:
    tables = tomllib.loads(example())
    tables["remote"] |= {"protocol": protocol, protocol: tomllib.loads(blocks()[f"remote.{protocol}"])}
    settings = load(tmp_path, "\n".join(f"{name} = {toml(table)}" for name, table in tables.items()))
    assert getattr(settings.remote, protocol) is not None


def test_secrets_have_no_line() -> None:
    assert ("remote", "api_key") in SECRETS
    assert "api_key =" not in example()
    assert "# (in the environment: BISUPERVISED_REMOTE__API_KEY)" in example()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('a "b" ü', '"a \\"b\\" ü"'),
        (True, "true"),
        (0.5, "0.5"),
        ((1, "a"), '[1, "a"]'),
        ({}, "{}"),
        ({"a b": {"c": [1]}}, '{ "a b" = { c = [1] } }'),
    ],
)
def test_values_as_toml(value: Any, written: str) -> None:
    assert toml(value) == written
    back = tomllib.loads(f"key = {written}")["key"]
    assert back == (list(value) if isinstance(value, tuple) else value)


def test_the_command_prints_or_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["config"]) == 0
    assert capsys.readouterr().out == example()
    assert cli.run(["config", "--out", str(tmp_path / "new" / "a.toml")]) == 0
    assert (tmp_path / "new" / "a.toml").read_text() == example()
