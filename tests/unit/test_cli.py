from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams import cli
from bisupervised.streams.kafka.errors import BrokerUnreachable
from bisupervised.streams.settings.file import ConfigurationFile
from support.configurations import SMALLEST

pytestmark = pytest.mark.wheel


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "good.toml"
    path.write_text(SMALLEST)
    return path


@pytest.fixture
def my_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that the configuration names can be imported."""
    monkeypatch.setitem(sys.modules, "my_model", SimpleNamespace(load=dict))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Sequence[str]]]:
    """What `worker` would have run. The real application is not even imported."""
    calls: list[tuple[Any, Sequence[str]]] = []

    def run_worker(
        configuration: Any, agents: Sequence[str], source: ConfigurationFile, *, begin_anew: bool, place: object
    ) -> int:
        assert place is None, "it is one alone"
        assert source.load() == configuration, "it can be read again"
        calls.append((configuration.settings, (*agents, *["anew"] * begin_anew)))
        return 7

    monkeypatch.setitem(sys.modules, "bisupervised.streams.worker.app", SimpleNamespace(run_worker=run_worker))
    return calls


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("worker", "topics", "broker", "demo", "check", "rehearse", "recording", "--version"):
        assert command in shown


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["worker"], ["--config", "--agents", "--begin-anew", "--processes"]),
        (["topics", "create"], ["--config", "--json"]),
        (["check"], ["--config", "--connect", "--pay", "--json"]),
        (["config"], ["--out"]),
        (["broker"], ["--port", "--data"]),
        (["demo"], ["--out", "--rounds", "--seed"]),
        (
            ["rehearse"],
            ["--local", "--remote-score-column", "--where", "--local-threshold", "--limit", "--first", "--json"],
        ),
        (["recording"], ["--config", "--labels", "--out", "--truth-column", "--json"]),
    ],
)
def test_each_command_explains_itself(
    command: list[str], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in options)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out[0].isdigit()


def test_worker_runs_all_agents(config: Path, started: list[tuple[Any, Sequence[str]]]) -> None:
    assert cli.run(["worker", "--config", str(config)]) == 7, "the worker's own exit code"
    ((settings, agents),) = started
    assert settings.local.model == "my_model:load"
    assert agents == ("local", "remote", "remote_supervisor")


def test_after_a_worker_python_collects_garbage_as_before(config: Path, started: list[Any]) -> None:
    cli.run(["worker", "--config", str(config)])
    assert gc.isenabled()


def test_worker_runs_some_agents(config: Path, started: list[tuple[Any, Sequence[str]]]) -> None:
    assert cli.run(["worker", "--config", str(config), "--agents", "remote-supervisor, local,local"]) == 7
    assert started[0][1] == ("local", "remote_supervisor")


def test_worker_begins_anew_where_a_person_says_so(config: Path, started: list[tuple[Any, Sequence[str]]]) -> None:
    assert cli.run(["worker", "--config", str(config), "--agents", "local", "--begin-anew"]) == 7
    assert started[0][1] == ("local", "anew")


def test_all_faults_of_file_and_command_line_at_once(
    tmp_path: Path, started: list[tuple[Any, Sequence[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(SMALLEST.replace("0.9", "9").replace("0.5", "5"))
    assert cli.run(["worker", "--config", str(bad), "--agents", "nobody"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "--agents: must be some of local, remote, remote_supervisor (got 'nobody')",
        "[local] threshold: must be between 0 and 1 (got 9)",
        "[remote] threshold: must be between 0 and 1 (got 5)",
    ]
    assert not started


def test_without_a_file_it_is_said_how_to_begin_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("BISUPERVISED_")]:
        monkeypatch.delenv(name)
    assert cli.run(["check"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("[local] model: is missing")
    assert told[-1] == "--config: no file was named; `bisupervised config > my.toml` begins one"


def test_no_agents_are_a_fault(config: Path, started: list[tuple[Any, Sequence[str]]]) -> None:
    assert cli.run(["worker", "--config", str(config), "--agents", ","]) == 2
    assert not started


@pytest.mark.usefixtures("my_model")
def test_check_says_ok(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--config", str(config)]) == 0
    assumed, last = capsys.readouterr().out.splitlines()
    assert assumed.startswith(
        "ok     topics  assumed, as [topics] retention_hours says: doubtful keeps records for 168"
    )
    assert last == "ok"


@pytest.mark.usefixtures("my_model")
def test_check_says_where_a_partition_may_stand_still_too_long(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(SMALLEST + "[stream]\ndrain_s = 50\n")
    assert cli.run(["check", "--config", str(config)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("note   stream  a partition stands still for at most 124 s when a worker is replaced")
    assert shown[2:] == ["ok"]


def test_check_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--config", str(tmp_path / "nowhere.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["nope"], ["worker", "--nope"], ["broker", "--port", "70000"], ["broker", "--port", "x"]]
)
def test_a_wrong_command_line_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err


def test_topics_prints_a_line_each(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def create_topics(_: Any) -> list[str]:
        return ["requests: made, 4 partitions", "odd [name]: exists"]

    monkeypatch.setattr("bisupervised.streams.topics.creating.create_topics", create_topics)
    assert cli.run(["topics", "create", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "requests: made, 4 partitions\nodd [name]: exists\n"
    assert cli.run(["topics", "create", "--json", "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "topics": [{"name": "requests", "state": "made, 4 partitions"}, {"name": "odd [name]", "state": "exists"}]
    }


@pytest.mark.usefixtures("my_model")
def test_check_as_json(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--json", "--config", str(config)]) == 0
    text = "a partition stands still for at most 44 s when a worker is replaced"
    told = json.loads(capsys.readouterr().out)
    assert told["findings"][0] == {"about": "stream", "level": "ok", "text": text}
    assert (told["ok"], told["faults"], [one["about"] for one in told["findings"]]) == (
        True,
        [],
        ["stream", "topics", "model"],
    )
    config.write_text(SMALLEST.replace("0.9", "9").replace("0.5", "5"))
    assert cli.run(["check", "--json", "--config", str(config)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert len(document["faults"]) == 2


def test_pay_goes_with_connect(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--pay", "--config", str(config)]) == 2
    assert capsys.readouterr().err == "--pay: only goes with --connect\n"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (BrokerUnreachable("no broker"), 1, "no broker"),
        (ConfigurationError(["one", "two"]), 2, "one\ntwo"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_a_line_and_an_exit_code(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    said: str,
) -> None:
    def run_worker(*_: Any, **__: Any) -> int:
        raise raised

    monkeypatch.setitem(sys.modules, "bisupervised.streams.worker.app", SimpleNamespace(run_worker=run_worker))
    assert cli.run(["worker", "--config", str(config)]) == code
    assert capsys.readouterr().err.strip() == said


def test_broker_gets_its_port_and_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[int, Path | None, int]] = []

    def run_broker(port: int, data: Path | None, nodes: int) -> int:
        asked.append((port, data, nodes))
        return 0

    monkeypatch.setattr("bisupervised.streams.sandbox.foreground.run_broker", run_broker)
    assert cli.run(["broker", "--port", "0", "--data", str(tmp_path)]) == 0
    assert cli.run(["broker"]) == 0
    assert cli.run(["broker", "--nodes", "3"]) == 0
    assert asked == [(0, tmp_path, 1), (9092, None, 1), (9092, None, 3)]


@pytest.mark.parametrize("nodes", ["0", "2", "10", "three"])
def test_a_number_of_nodes_that_is_no_cluster_is_refused_with_a_word(
    nodes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["broker", "--nodes", nodes]) == 2
    said = capsys.readouterr().err
    assert "--nodes" in said
    assert "take 3 to 9, or 1" in " ".join(said.split()) or nodes == "three"


def test_it_runs_as_a_module_and_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys, bisupervised.streams.cli as cli; cli.run(['--help']); "
        "print({'torch', 'faust', 'sklearn', 'numpy', 'pydantic', 'aiokafka', 'aiohttp'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.splitlines()[-1] == "set()"
    module = [sys.executable, "-m", "bisupervised.streams.cli", "check", "--config", "/nowhere/at/all.toml"]
    ended = subprocess.run(module, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith("/nowhere/at/all.toml: cannot be read")


def test_nothing_takes_the_place_of_a_standard_stream_that_is_closed() -> None:
    code = """
import os, subprocess, sys
from bisupervised.streams import cli
def run():
    print("nobody reads this", file=sys.stderr)
    look = "import os; [os.fstat(number) for number in range(3)]"
    inherited = subprocess.run([sys.executable, "-c", look], close_fds=False).returncode == 0
    return min(os.pipe()) if inherited else 10
cli.run = run
cli.main()
"""
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(closed, check=False).returncode == 3
