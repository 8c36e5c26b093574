"""Every module and every source file that a text or a program of this tree names is there."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = (".md", ".py", ".toml", ".yaml", ".yml")
NAMES = ("Makefile", "Dockerfile")
#: folders whose files are not ours, or not written by hand
LEFT_OUT = ("build", "dist", "tests/vendored")
#: part of names that tests make up
MADE_UP = "no_such"

_DOTTED = re.compile(r"\bbisupervised((?:\.\w+)+)(?::(\w+)\b(?!\{))?")
#: a module named from a module, as in f"{__package__}.offline.commands:curve"
_FROM_PACKAGE = re.compile(r"\{__package__\}((?:\.\w+)+)(?::(\w+)\b(?!\{))?")
_FOLDERS = "streams|agents|schemas|tests|benchmarks|scripts"
_PATH = re.compile(rf"(?<![\w/.<>-])((?:{_FOLDERS})/[\w./-]*\w\.(?:py|json))\b")


def texts() -> list[Path]:
    """The files that a person wrote."""
    found = (path for path in sorted(ROOT.rglob("*")) if path.suffix in SUFFIXES or path.name in NAMES)
    return [path for path in found if path.is_file() and not _left_out(path.relative_to(ROOT))]


def _left_out(path: Path) -> bool:
    ours = not any(path.is_relative_to(folder) for folder in LEFT_OUT)
    return not ours or any(part.startswith(".") or part.endswith(".egg-info") for part in path.parts[:-1])


def missing_modules(path: Path, text: str) -> Iterator[str]:
    """What a file names of the package that is not there. A test may make up what it looks for in a module."""
    place = path.relative_to(ROOT).parts[:-1]
    package = "".join(f".{part}" for part in place)
    found = [(match[0], match[1], match[2]) for match in _DOTTED.finditer(text)]
    found += [(match[0], f"{package}{match[1]}", match[2]) for match in _FROM_PACKAGE.finditer(text)]
    for name, dotted, attribute in found:
        ours = dotted.split(".")[1] in ("streams", "agents", "schemas")
        if ours and not _exists(dotted, attribute if place[:1] != ("tests",) else None):
            yield name


def missing_files(text: str) -> list[str]:
    return [found[1] for found in _PATH.finditer(text) if not (ROOT / found[1]).exists()]


def _exists(dotted: str, attribute: str | None) -> bool:
    """A module, or a module and the name of something in it, which may follow a dot or a colon."""
    parts = dotted.split(".")[1:]
    source = _source(parts)
    if source is not None:
        return attribute is None or attribute in _defined(source)
    source = _source(parts[:-1])
    return source is not None and attribute is None and (parts[-1] in _defined(source) or parts[-1].startswith("__"))


def _source(parts: list[str]) -> Path | None:
    if not parts:
        return None
    module, package = ROOT.joinpath(*parts).with_suffix(".py"), ROOT.joinpath(*parts, "__init__.py")
    return next((path for path in (module, package) if path.is_file()), None)


@cache
def _defined(source: Path) -> frozenset[str]:
    """What a module has at its top: definitions, assignments and imports."""
    names = set[str]()
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        else:
            names.update(one.id for one in ast.walk(node) if isinstance(one, ast.Name))
    return frozenset(names)


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_is_there(path: Path) -> None:
    text = path.read_text()
    missing = [*missing_modules(path, text), *missing_files(text)]
    assert not [name for name in missing if MADE_UP not in name]


def test_what_set_up_is_made_from_is_there() -> None:
    spec = spec_from_file_location("setup", ROOT / "scripts" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    setup = module_from_spec(spec)
    sys.modules["setup"] = setup  # dataclasses look their module up
    spec.loader.exec_module(setup)
    sources = [source for step in setup.steps() for source in step.made_from if isinstance(source, Path)]
    assert sources
    assert not [source for source in sources if not source.is_file()]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("`bisupervised.streams.cli:main`", []),
        ("bisupervised.streams.cli.main", []),
        ("from bisupervised.schemas.records import Result", []),
        ("bisupervised.streams.cli:no_such", ["bisupervised.streams.cli:no_such"]),
        ("bisupervised.streams.no_such.main", ["bisupervised.streams.no_such.main"]),
        ("bisupervised.toml", []),
        ("{__package__}.streams.cli:main", []),
        ("{__package__}.streams.cli:no_such", ["{__package__}.streams.cli:no_such"]),
    ],
)
def test_a_module_that_is_not_there_is_found(text: str, missing: list[str]) -> None:
    assert list(missing_modules(ROOT / "README.md", text)) == missing


def test_a_file_that_is_not_there_is_found() -> None:
    there, away = "streams/cli.py", "streams/no_such.py"
    assert missing_files(f"`{there}`, `{away}`, docs/{away}, https://example.org/{away}") == [away]
