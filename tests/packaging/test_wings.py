"""The order of the house: what each wing may import, and that each folder says what lives in it."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from grimp import ImportGraph

from scripts.wings import House, read_table

ROOT = Path(__file__).parents[2]
#: Python files of one folder, at most: as many as one still finds one's way in
MOST_FILES = 16
#: of the made-up house below
ROWS = ("streams:", "schemas:", "kafka: schemas", "plane: kafka schemas", "offline.reading offline: plane", "cli: *")
FOLDERS = sorted(
    file.parent for root in ("schemas", "agents", "streams") for file in (ROOT / root).rglob("__init__.py")
)


def name_of(folder: Path) -> str:
    return ".".join(folder.relative_to(ROOT).parts)


def contract() -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (found,) = settings["tool"]["importlinter"]["contracts"]
    return dict(found)


def house(*imports: tuple[str, str]) -> House:
    """A made-up one, with these imports in it: of whom, and what."""
    graph = ImportGraph()
    for module in ("schemas", "schemas.records", "streams", "streams.cli", "streams.kafka", "streams.kafka.client"):
        graph.add_module(f"house.{module}")
    for module in ("plane", "plane.plane", "plane.window", "offline", "offline.curve", "offline.reading"):
        graph.add_module(f"house.streams.{module}")
    graph.add_module("house.streams.offline.reading.files")
    for line, (importer, imported) in enumerate(imports, start=1):
        what = f"import {imported}"
        graph.add_import(
            importer=f"house.{importer}", imported=f"house.{imported}", line_number=line, line_contents=what
        )
    return House(graph, "house", "streams")


def faults(rows: Sequence[str], *imports: tuple[str, str]) -> list[str]:
    return house(*imports).faults(read_table(rows))


def test_what_a_row_allows_is_allowed_and_so_is_a_wing_to_itself() -> None:
    imports = [
        ("streams.kafka.client", "schemas.records"),
        ("streams.plane.plane", "streams.plane.window"),
        ("streams.plane.plane", "streams.kafka.client"),
        ("streams.offline.curve", "streams.plane.window"),
        ("streams.cli", "streams.offline.reading.files"),
    ]
    assert faults(ROWS, *imports) == []


@pytest.mark.parametrize(
    ("importer", "imported", "file", "wings"),
    [
        ("streams.kafka.client", "streams.plane.plane", "streams/kafka/client.py", ("kafka", "plane")),
        ("schemas.records", "streams.kafka.client", "schemas/records.py", ("schemas", "kafka")),
        ("streams.offline.curve", "schemas.records", "streams/offline/curve.py", ("offline", "schemas")),
        # a folder in a folder is a wing of its own
        (
            "streams.offline.curve",
            "streams.offline.reading.files",
            "streams/offline/curve.py",
            ("offline", "offline.reading"),
        ),
        ("streams.plane", "streams.cli", "streams/plane/__init__.py", ("plane", "cli")),
    ],
)
def test_what_a_row_does_not_allow_is_told_with_its_place(
    importer: str, imported: str, file: str, wings: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # places are relative to it
    wing, other = wings
    assert faults(ROWS, (importer, imported)) == [f"{file}:1: import {imported}: {wing} may not import {other}"]


def test_a_wing_without_a_row_is_told_and_so_is_a_row_without_a_wing() -> None:
    rows = [row for row in ROWS if not row.startswith("kafka")]
    rows[rows.index("plane: kafka schemas")] = "plane outbox: schemas"
    assert faults(rows) == [
        "kafka is in no row: say what it may import",
        "outbox has a row, and there is no such folder or file",
    ]


def test_a_new_file_beside_the_wings_may_import_nothing() -> None:
    (told,) = faults(ROWS[:-1], ("streams.cli", "schemas.records"))
    assert told.endswith(": streams may not import schemas")


def test_a_circle_inside_a_wing_is_told_step_by_step() -> None:
    around = [("streams.plane.plane", "streams.plane.window"), ("streams.plane.window", "streams.plane.plane")]
    told = faults(ROWS, *around)
    assert len(told) == 2
    assert all(fault.endswith("a step of a circle of 2 files") for fault in told)
    assert {fault.partition(" import ")[2].partition(":")[0] for fault in told} == {pair[1] for pair in around}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["plane: kafka", "kafka:"], "names kafka, which no row above it is about"),
        (["kafka: agents.*"], "names agents"),
        (["kafka:", "kafka:"], "kafka has two rows"),
        (["kafka"], "a row is"),
        ([": kafka"], "a row is"),
    ],
)
def test_a_table_that_cannot_be_kept_is_refused(rows: Sequence[str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_table(rows)


def test_a_star_takes_a_folder_with_all_that_is_in_it() -> None:
    table = read_table(["agents.remote agents agency:", "streams: agents.*", "cli: *"])
    assert table["streams"] == {"agents", "agents.remote"}
    assert table["cli"] == {"agents", "agents.remote", "agency", "streams"}


def test_lint_imports_fails_where_the_contract_is_broken(tmp_path: Path) -> None:
    """The command itself, over a made-up tree: an import for types alone, and one inside a function."""
    files = {
        "kafka/client.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..plane import plane\n",
        "plane/plane.py": "def run() -> None:\n    from ..kafka import client\n",
    }
    for name, text in files.items():
        path = tmp_path / "house" / "streams" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    for folder in ("house", "house/streams", "house/streams/kafka", "house/streams/plane"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_package = "house"\ncontract_types = ["wings: scripts.wings.Wings"]\n'
        '[[tool.importlinter.contracts]]\nname = "order"\ntype = "wings"\npackage = "house"\nhome = "streams"\n'
        'wings = ["house streams kafka:", "plane: kafka"]\n'
    )
    run = f"import sys; sys.path.append({str(ROOT)!r}); from importlinter.cli import lint_imports; "
    command = [sys.executable, "-c", f"{run}sys.exit(lint_imports(no_cache=True))"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    told = " ".join(ended.stdout.split())
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "client.py:3: from ..plane import plane: kafka may not import plane" in told
    assert told.count("a step of a circle of 2 files") == 2


def test_every_folder_has_a_row() -> None:
    rows = read_table(contract()["wings"])
    assert {name_of(folder).removeprefix("streams.") for folder in FOLDERS} - rows.keys() == set()


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_folder_is_small(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= MOST_FILES


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if name_of(folder).startswith("streams")], ids=name_of)
def test_a_wing_of_streams_says_in_a_few_lines_what_lives_there(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert 3 <= len(said.splitlines()) <= 5, said
