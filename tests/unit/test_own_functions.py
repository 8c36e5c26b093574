"""Functions of the user's own are looked for before a worker starts: all that are lacking are told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams import cli
from bisupervised.streams.commands.check import look_at_own
from bisupervised.streams.settings.file import load_configuration, load_settings
from bisupervised.streams.settings.own_functions import look_for_own, named_functions
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.app import create_app

TOML = """
[kafka]
bootstrap_servers = "127.0.0.1:9"
start_wait_s = 0
[request]
format = "no_such_format:read"
[local]
model = "no_such_model:load"
threshold = 0.5
[remote]
url = "http://127.0.0.1"
model = "large"
threshold = 0.5
credentials = "no_such_key:sign"
[audit]
share = 0.1
matches = "math:pi"
"""
FAULTS = [
    "[local] model: 'no_such_model:load' cannot be imported: No module named 'no_such_model'.",
    "[remote] credentials: 'no_such_key:sign' cannot be imported: No module named 'no_such_key'.",
    "[request] format: 'no_such_format:read' cannot be imported: No module named 'no_such_format'.",
    "[audit] matches: 'math:pi' cannot be called",
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BISUPERVISED_AUDIT__SECRET", "s")
    path = tmp_path / "my.toml"
    path.write_text(TOML)
    return path


def begin(lines: tuple[str, ...] | list[str]) -> list[str]:
    """Their beginnings, as long as those that are expected."""
    return [line[: len(wanted)] for line, wanted in zip(lines, FAULTS, strict=True)]


def test_a_worker_tells_all_that_are_lacking_before_it_asks_a_broker(config: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        create_app(load_configuration(config))
    assert begin(raised.value.faults) == FAULTS


def test_check_tells_them_as_well(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--config", str(config)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert all(fault in told for fault in FAULTS)


def test_a_module_that_raises_hides_no_other(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_that_raises.py").write_text("raise RuntimeError('no card in this machine')")
    (tmp_path / "key_of_ours.py").write_text("def sign(): raise AssertionError('it was called')")
    config.write_text(TOML.replace("no_such_model", "model_that_raises").replace("no_such_key", "key_of_ours"))
    monkeypatch.syspath_prepend(str(tmp_path))
    found = look_at_own(load_settings(config))
    assert [(finding.about, finding.level) for finding in found] == [
        ("model", "fault"),
        ("remote", "ok"),
        ("model", "fault"),
        ("audit", "fault"),
    ]
    assert found[0].text.endswith("cannot be imported: RuntimeError: no card in this machine")
    assert found[1].text == "[remote] credentials: key_of_ours:sign is there"


def settings(**tables: dict[str, Any]) -> Settings:
    local = {"model": "mine:load", "threshold": 0.5, **tables.get("local", {})}
    remote = {"url": "http://127.0.0.1", "model": "large", "threshold": 0.5, **tables.get("remote", {})}
    return Settings.model_validate({**tables, "local": local, "remote": remote})


@pytest.mark.parametrize(
    ("tables", "agents", "named"),
    [
        ({}, ("local", "remote"), {"[local] model": "mine:load"}),
        ({}, ("remote",), {}),
        ({"local": {"model": "./folder"}}, ("local",), {}),
        ({"local": {"protocol": "mine:Protocol"}}, ("local",), {"[local] protocol": "mine:Protocol"}),
        ({"remote": {"protocol": "mine:Protocol"}}, ("remote",), {"[remote] protocol": "mine:Protocol"}),
        ({"request": {"format": "mine:read"}}, ("remote",), {"[request] format": "mine:read"}),
        ({"request": {"format": "mine:read"}}, ("remote_supervisor",), {}),
        ({"audit": {"matches": "mine:equal"}}, ("remote",), {}),
        ({"audit": {"matches": "mine:equal", "share": 0.1}}, ("remote",), {"[audit] matches": "mine:equal"}),
    ],
)
def test_only_what_a_worker_of_these_agents_needs(
    tables: dict[str, Any], agents: tuple[str, ...], named: dict[str, str]
) -> None:
    found = named_functions(settings(**tables), agents)
    assert found == named


def test_where_nothing_is_lacking_nothing_is_told() -> None:
    look_for_own(settings(local={"model": "math:sqrt"}))
