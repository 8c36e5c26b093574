"""The built package: `wheel.py build FOLDER` builds the wheel there, `wheel.py test` runs tests against it.

Both work on a copy. A build in the working tree would take up what an earlier one left in build/lib, and
tests that run there could import the source folders where they mean to import what is installed.

The tests are those marked `wheel`: every module can be imported, the command runs, files beside the code are found.
That the wheel holds all that the tree does is shown by tests/packaging; what the code does, by the other tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ("pyproject.toml", "README.md", "LICENSE", "schemas", "agents", "streams")
MARK = "mark.wheel"


def build(into: Path) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        for name in PACKAGE:
            copy(ROOT / name, Path(folder) / name)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
        ]
        subprocess.run([*command, "--wheel-dir", into, folder], check=True)
    (wheel,) = into.glob("bisupervised-*.whl")
    return wheel


def test() -> int:
    """A second environment holds the wheel, and borrows everything else from the one that runs this."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = build(place / "dist")
        python = environment_with(wheel, place / "venv")
        for name in ("pyproject.toml", "tests", "examples"):
            copy(ROOT / name, place / "checkout" / name)
        command: list[str | Path] = [python, "-m", "pytest", "-m", "wheel", "-p", "no:cacheprovider", *marked()]
        expected = {**os.environ, "BISUPERVISED_EXPECTED_IN": str(place / "venv")}
        return subprocess.run(command, check=False, cwd=place / "checkout", env=expected).returncode


def marked() -> list[Path]:
    """Test files with such a test, as seen from the checkout: to collect all of them would take longer than to run."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path.relative_to(ROOT) for path in files if MARK in path.read_text()]


def environment_with(wheel: Path, folder: Path) -> Path:
    """The path file comes last: pip must not see, and then remove, the editable package behind it."""
    venv.create(folder)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, wheel], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = folder / "lib" / version / "site-packages" / "borrowed.pth"
    borrowed.write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def main() -> int:
    match sys.argv[1:]:
        case ["build", folder]:
            print(build(Path(folder)))
            return 0
        case ["test"]:
            return test()
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
