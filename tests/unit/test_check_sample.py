"""`check --sample FILE`: what the models would get of an event."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from bisupervised.streams import cli
from bisupervised.streams.commands.check_sample import look_at_registry
from bisupervised.streams.settings.keys.events import RegistrySettings
from bisupervised.streams.settings.tables import Settings
from support.configurations import SMALLEST
from support.registry import FakeRegistry, framed, serving_registry
from support.threaded import served

REQUEST = '[request]\ninput = "after.text"\nid = "after.id"\n'
SENDING = (
    SMALLEST.replace('model = "large"', 'protocol = "generic_json"\nsend = ["after.text", "source.table"]')
    + '[remote.generic_json]\nbody = {x = "{after.text}"}\nprediction = "y"\n'
)
EVENT = '{"after": {"id": 17, "text": "arrived broken"}, "source": {"table": "reviews"}}'


@pytest.fixture(autouse=True)
def my_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that the configurations name can be imported."""
    monkeypatch.setitem(sys.modules, "my_model", SimpleNamespace(load=dict))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(SENDING + REQUEST)
    return path


def sample(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def test_what_the_models_would_get(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--config", str(config), "--sample", sample(tmp_path, "event.json", EVENT)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "sample" in line]
    assert told == [
        'ok     sample  the model gets "arrived broken"',
        "ok     sample  id 17, no deadline at 'deadline_ms'",
        'ok     sample  where it is doubtful, the remote gets {"after.text":"arrived broken","source.table":"reviews"}',
    ]


def test_what_would_fall_back(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "\n".join(['{"after": null}', "", '{"after": {"text": 1}}', "nonsense"])
    code = cli.run(["check", "--json", "--config", str(config), "--sample", sample(tmp_path, "e.jsonl", lines)])
    found = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["about"] == "sample"]
    assert code == 1
    assert [one["level"] for one in found] == ["fault", "ok", "ok", "fault", "fault"]
    assert found[0]["text"].startswith(
        "line 1: goes to fallback as invalid_request: the value has no field 'after.text'"
    )
    assert found[3]["text"].endswith("the request has no field 'source.table', which is to be sent")
    assert found[4]["text"].startswith("line 4: goes to fallback as invalid_request: the value is not JSON")


@pytest.mark.parametrize(("name", "content"), [("none.json", None), ("empty.jsonl", "\n\n")])
def test_no_sample(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None
) -> None:
    path = str(tmp_path / name) if content is None else sample(tmp_path, name, content)
    assert cli.run(["check", "--config", str(config), "--sample", path]) == 2
    assert f"--sample: {path}: " in capsys.readouterr().err


def test_a_long_input_is_cut(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(SMALLEST)
    event = json.dumps({"input": "x" * 5000})
    assert cli.run(["check", "--config", str(config), "--sample", sample(tmp_path, "event.json", event)]) == 0
    assert f'"{"x" * 199}… (5,002 characters)' in capsys.readouterr().out


def test_paths_that_are_none_are_faults(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(SENDING.replace('"source.table"', '"a..b"') + REQUEST.replace("after.id", "after."))
    assert cli.run(["check", "--config", str(config)]) == 2
    told = capsys.readouterr().err
    assert "[request] id: must be a field, or fields with a dot between each two" in told
    assert "[remote] send" in told


def test_a_sample_of_avro_and_its_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = FakeRegistry()
    identity = registry.register("v", '{"type": "record", "name": "R", "fields": [{"name": "text", "type": "string"}]}')
    (tmp_path / "event").write_bytes(framed(identity, b"\x04hi"))
    with served(registry.app) as url:
        config = tmp_path / "my.toml"
        avro = (
            f'[request]\nformat = "avro"\ninput = "text"\n[registry]\nurl = "{url}"\ntimeout_s = 0.2\nusername = "me"\n'
        )
        config.write_text(SMALLEST + avro)
        arguments = ["check", "--config", str(config), "--sample", str(tmp_path / "event")]
        registry.authorization = "Basic bWU6"
        assert cli.run(arguments) == 0
        assert 'the model gets "hi"' in capsys.readouterr().out
        registry.authorization = "Basic b3RoZXI6"
        assert cli.run(arguments) == 1
        waits = "would wait: schema 1: the registry answers 401 when it is asked for schema 1: see [registry] username"
        assert waits in capsys.readouterr().out


async def test_the_registry_is_looked_at() -> None:
    local = {"model": "m:m", "threshold": 0.5}
    remote = {"url": "http://127.0.0.1:1", "model": "m", "threshold": 0.5}
    async with serving_registry() as registry:
        url = registry.url
        settings = Settings(local=local, remote=remote, request={"format": "avro"}, registry={"url": url})  # type: ignore[arg-type]  # pydantic makes the tables
        found = [(one.level, one.text) async for one in look_at_registry(settings)]
        assert found == [("ok", f"{url} answers, and takes AVRO, JSON, PROTOBUF")]
        registry.failing = web.Response(status=500)
        assert [one.level async for one in look_at_registry(settings)] == ["fault"]
    assert [one async for one in look_at_registry(settings.model_copy(update={"registry": RegistrySettings()}))] == []


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ('[request]\nformat = "xml"\n', ["[request] format: must be one of json, json_registry, avro"]),
        ('[request]\nformat = "avro"\n', ["[registry] url: is missing"]),
        ('[results]\nformat = "avro"\n', ['[registry] url: is missing, and [results] format = "avro" needs']),
        ('[results]\nformat = "xml"\n', ["[results] format: must be"]),
        ('[request]\nformat = "text"\ninput = "a"\n', ["[request] input: must be '' with format = \"text\""]),
        ('[registry]\nurl = "http://a"\n', ['[registry] url: has no use with [request] format = "json"']),
        ('[request]\nformat = "protobuf"\n[registry]\nurl = "a"\n', ["[registry] url: must be a URL"]),
    ],
)
def test_formats_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, faults: list[str]
) -> None:
    (tmp_path / "my.toml").write_text(SMALLEST + text)
    assert cli.run(["check", "--config", str(tmp_path / "my.toml")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(faults)
    assert all(line.startswith(fault) for line, fault in zip(told, faults, strict=True)), told


def test_text_needs_no_names_of_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.toml").write_text(SMALLEST + '[request]\nformat = "text"\n')
    (tmp_path / "event").write_text("hello")
    assert cli.run(["check", "--config", str(tmp_path / "my.toml"), "--sample", str(tmp_path / "event")]) == 0
    assert 'the remote gets "hello"' in capsys.readouterr().out
