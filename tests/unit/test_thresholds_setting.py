"""`[thresholds] file` in a worker's configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bisupervised.agents.agents import RemoteSupervisorAgent
from bisupervised.agents.supervision.thresholds import (
    Line,
    Target,
    Thresholds,
    read_thresholds,
    signed,
    write_thresholds,
)
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.flow import AGENTS
from bisupervised.streams.settings import thresholds_file
from bisupervised.streams.settings.file import ConfigurationFile, load_configuration, load_settings
from bisupervised.streams.worker.making import make_agent
from bisupervised.streams.worker.reload import Reloader

MADE = Thresholds(
    version="v7",
    local=Line(0.1 + 0.2, "max_softmax"),
    remote=Line(0.7, "max_softmax"),
    first="",
    method="paper",
    target=Target("false_positive_rate", 0.05),
    seed=0,
    parts={},
    made="2026-11-25T00:00:00Z",
)
MODEL = "support.models:plain"


def configured(folder: Path, made: Thresholds = MADE, **more: str) -> Path:
    """A configuration that leaves the thresholds to the file."""
    write_thresholds(folder / "thresholds.json", signed(made))
    path = folder / "bisupervised.toml"
    path.write_text(
        f"[thresholds]\nfile = {str(folder / 'thresholds.json')!r}\n{more.get('thresholds', '')}\n"
        f"[local]\nmodel = '{MODEL}'\noutput = 'probabilities'\n{more.get('local', '')}\n"
        f"[remote]\nurl = 'http://127.0.0.1:1'\nmodel = 'm'\n{more.get('remote', '')}\n"
    )
    return path


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {})
    return caught.value.faults


def test_the_file_gives_both_thresholds_and_their_version(tmp_path: Path) -> None:
    settings = load_settings(configured(tmp_path), {})
    assert (settings.local.threshold, settings.remote.threshold) == (0.1 + 0.2, 0.7)
    assert settings.thresholds.version == "v7"


def test_what_contradicts_the_file_is_told_at_once(tmp_path: Path) -> None:
    path = configured(
        tmp_path, local="threshold = 0.5", remote="threshold = 0.5\nsupervisor = 'pcs'", thresholds="version = 'x'"
    )
    told = faults(path)
    assert "[local] threshold: must be left out, for [thresholds] file gives it" in told
    assert "[remote] threshold: must be left out, for [thresholds] file gives it" in told
    assert "[thresholds] version: must be left out, for [thresholds] file gives it" in told
    assert any("[remote] supervisor: must be 'max_softmax'" in fault for fault in told)


def test_a_missing_file_is_one_fault_among_others(tmp_path: Path) -> None:
    path = configured(tmp_path, local="batch_size = 0")
    (tmp_path / "thresholds.json").unlink()
    told = faults(path)
    assert len(told) == 2
    assert told[0].startswith("[thresholds] file: cannot read")
    assert told[1].startswith("[local] batch_size")


def test_the_file_is_read_once(tmp_path: Path) -> None:
    """Whatever becomes of it, a worker is made of what was read with its settings."""
    made = msgspec.structs.replace(MADE, local=Line(0.5, "max_softmax", MODEL))
    configuration = load_configuration(configured(tmp_path, made), {})
    (tmp_path / "thresholds.json").unlink()
    for name in AGENTS:
        make_agent(configuration, name, lambda: None)
    terms = configuration.terms
    assert (terms.version, terms.local_model, terms.local.threshold, terms.remote.threshold) == ("v7", MODEL, 0.5, 0.7)


def test_a_reload_reads_it_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Thresholds:
        read.append(path)
        return read_thresholds(path)

    monkeypatch.setattr(thresholds_file, "read_thresholds", counted)
    source = ConfigurationFile(configured(tmp_path))
    started = source.load()
    agent = make_agent(started, "remote_supervisor", lambda: None)
    reloader = Reloader(source, started, [agent])
    assert len(read) == 1
    configured(tmp_path, msgspec.structs.replace(MADE, version="v8", remote=Line(0.75, "max_softmax")))
    asyncio.run(reloader.reload(asked=False))
    assert len(read) == 2
    assert isinstance(agent, RemoteSupervisorAgent)
    assert (agent._judge._supervisor.threshold, agent._judge._thresholds) == (0.75, "v8")


@pytest.mark.parametrize(("model", "fits"), [("", True), (MODEL, True), ("another@2", False)])
def test_thresholds_of_another_model_are_refused(tmp_path: Path, model: str, fits: bool) -> None:
    made = msgspec.structs.replace(MADE, local=Line(0.5, "max_softmax", model))
    configuration = load_configuration(configured(tmp_path, made), {})

    def start() -> Any:
        return make_agent(configuration, "local", lambda: None)

    if fits:
        start()
        return
    with pytest.raises(ConfigurationError, match="was made for the local model another@2, not"):
        start()


def test_who_makes_the_thresholds_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(
        '[local]\nmodel = "m:f"\n[remote]\nurl = "http://127.0.0.1:1"\nmodel = "large"\nsupervisor = "joint"\n'
        'joint_of = "pcs"\narbitration = true\n[thresholds]\nfile = "is-not-made-yet.json"\n'
    )
    with pytest.raises(ConfigurationError):
        load_configuration(path, {})
    settings = load_configuration(path, {}, calibrated=False).settings
    assert (settings.remote.supervisor, settings.remote.own_score, settings.thresholds.file) == ("pcs", "pcs", "")
    path.write_text(path.read_text().replace("[remote]", "thresholdd = 1\n[remote]"))
    with pytest.raises(ConfigurationError, match="thresholdd"):
        load_configuration(path, {}, calibrated=False)


def test_who_makes_the_file_may_have_said_what_is_to_come_of_it(tmp_path: Path) -> None:
    path = configured(tmp_path, thresholds="follow = true\npin = 3")
    (tmp_path / "thresholds.json").unlink()
    audit = 'share = 0.01\nshadow_share = 0.05\nalarm_share = 0.05\non_alarm = "tighten"\n'
    path.write_text(f"{path.read_text()}[audit]\n{audit}")
    settings = load_configuration(path, {"BISUPERVISED_AUDIT__SECRET": "s"}, calibrated=False).settings
    assert settings.audit.share == 0.01
