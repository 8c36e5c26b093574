"""The package as it is installed: every module of it can be imported, and its command runs."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from pkgutil import walk_packages

import pytest
from bisupervised import agents, schemas, streams
from bisupervised.schemas.errors import ConfigurationError

pytestmark = pytest.mark.wheel
#: reads its settings when it is imported
FAUST = "bisupervised.streams.faust_app"


def modules() -> set[str]:
    tops = (schemas, agents, streams)
    return {found.name for top in tops for found in walk_packages(top.__path__, f"{top.__name__}.")}


def test_every_module_can_be_imported() -> None:
    names = modules()
    assert FAUST in names
    for name in sorted(names - {FAUST}):
        import_module(name)


def test_fausts_module_wants_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BISUPERVISED_CONFIG", raising=False)
    monkeypatch.delitem(sys.modules, FAUST, raising=False)
    with pytest.raises(ConfigurationError, match="no file was named"):
        import_module(FAUST)


def test_the_command_is_there() -> None:
    command = Path(sys.executable).with_name("bisupervised")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, version("bisupervised"))
