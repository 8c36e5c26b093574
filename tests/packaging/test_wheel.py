from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("schemas", "agents", "streams")


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, ROOT / "scripts" / "wheel.py", "build", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def packages_on_disk() -> set[str]:
    inits = (path for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py"))
    return {f"bisupervised.{'.'.join(path.parent.relative_to(ROOT).parts)}" for path in inits}


def files_on_disk() -> set[str]:
    """A wheel holds the code, the data files that it reads, and the marker for type checkers."""
    wanted = ("*.py", "*.json", "*.avsc", "py.typed", "static/*")
    files = (path for folder in FOLDERS for pattern in wanted for path in (ROOT / folder).rglob(pattern))
    return {f"bisupervised/{path.relative_to(ROOT).as_posix()}" for path in files}


def test_pyproject_lists_every_package() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(setuptools["packages"]) == packages_on_disk()
    assert set(setuptools["package-dir"]) == packages_on_disk()


def test_the_wheel_holds_the_packages_and_nothing_else(contents: set[str]) -> None:
    packaged = {name for name in contents if ".dist-info/" not in name}
    assert packaged == files_on_disk()


def test_the_wheel_says_that_it_is_typed(contents: set[str]) -> None:
    assert {f"bisupervised/{folder}/py.typed" for folder in FOLDERS} <= contents


def test_the_wheel_carries_its_licence(contents: set[str]) -> None:
    assert any(name.endswith("/LICENSE") for name in contents)


def test_imports_go_one_way() -> None:
    check = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout
