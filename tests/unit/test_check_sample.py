"""`check --sample FILE`: what the models would get of an event."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bisupervised.streams import cli
from support.configurations import SMALLEST

REQUEST = '[request]\ninput = "after.text"\nid = "after.id"\n'
SENDING = (
    SMALLEST.replace('model = "large"', 'protocol = "generic_json"\nsend = ["after.text", "source.table"]')
    + '[remote.generic_json]\nbody = {x = "{after.text}"}\nprediction = "y"\n'
)
EVENT = '{"after": {"id": 17, "text": "arrived broken"}, "source": {"table": "reviews"}}'


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
