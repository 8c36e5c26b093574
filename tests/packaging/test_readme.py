"""The example of `README.md` is true, and no document tells a command that there is not."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bisupervised.streams import cli
from bisupervised.streams.sandbox.model_server import ModelService, make_app
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from support.threaded import served

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: lines of code blocks; a line that ends in a backslash goes on
COMMANDS = {
    (document.name, command)
    for document in DOCUMENTS
    for command in re.findall(r"^(?: {4})?(bisupervised (?:.*\\\n)*.*)$", document.read_text(), re.MULTILINE)
}


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(block("python"), namespace)
    return namespace


@pytest.fixture(scope="module")
def settings(models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """What the worker runs with: the thresholds are those that the first command makes, of a stand-in as told."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "my_model.py").write_text(block("python"))
    (folder / "my.toml").write_text(block("toml"))
    (folder / "examples").symlink_to(ROOT / "examples")
    service = ModelService(models["Large"](), "large", texts=True)
    (command,) = re.findall(r"^bisupervised (fit examples.*)$", README, re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch, served(make_app(service)) as url:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("BISUPERVISED_REMOTE__URL", url)
        assert cli.run([*shlex.split(command, comments=True), "--yes"]) == 0
        patch.delenv("BISUPERVISED_REMOTE__URL")
        yield load_settings(Path("my.toml"), {})
    sys.modules.pop("my_model", None)


def test_the_three_events_end_where_it_says(settings: Settings, models: dict[str, Any]) -> None:
    (sent,) = re.findall(r"^echo '(.*?)' > events.jsonl", README, re.MULTILINE | re.DOTALL)
    inputs = [json.loads(line)["input"] for line in sent.splitlines()]
    assert settings.local.supervisor == "max_softmax", "which is what the next lines compute"
    trusted_here = models["Sentiment"]()(inputs).max(axis=1) >= settings.local.threshold
    # as it comes back: the stand-in answers in single precision
    trusted_there = models["Large"]()(inputs).max(axis=1).astype("float32") >= settings.remote.threshold
    assert trusted_here.tolist() == [True, False, False]
    assert trusted_there.tolist()[1:] == [True, False]


def test_the_stand_in_is_where_the_configuration_looks(settings: Settings) -> None:
    (started,) = re.findall(r"^python -m bisupervised\.streams\.sandbox\.model_server (.*)$", README, re.MULTILINE)
    told = shlex.split(started)
    assert f"http://127.0.0.1:{told[told.index('--port') + 1]}" == settings.remote.url
    assert told[told.index("--name") + 1] == settings.remote.model
    assert not settings.remote.url.endswith(f":{settings.web.port}"), "that is where the worker serves its page"


@pytest.mark.parametrize(("document", "command"), sorted(COMMANDS))
def test_each_command_is_one(document: str, command: str) -> None:
    arguments = shlex.split(command, comments=True)[1:]
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    cli.app.parse_args(arguments, exit_on_error=False, print_error=False)
