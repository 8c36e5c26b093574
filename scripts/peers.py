"""Install the libraries that `make bench` compares us with, each in an environment of its own below build/peers.

`benchmarks/candidates/<peer>.txt` lists the packages of an environment with their exact versions. An environment is
kept while that file and the interpreter stay the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "benchmarks" / "candidates"
BUILD = ROOT / "build" / "peers"


def python_of(peer: str) -> Path | None:
    """The interpreter of a peer's environment; None where it is missing or out of date."""
    stamp = BUILD / peer / "installed"
    current = stamp.exists() and stamp.read_text() == _made_from(peer)
    return BUILD / peer / "bin" / "python" if current else None


def versions(peer: str) -> dict[str, str]:
    """The versions of the environment's packages, by name."""
    lines = (REQUIREMENTS / f"{peer}.txt").read_text().splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def install(peer: str) -> None:
    """Make the environment, unless it is there and up to date."""
    if python_of(peer) is not None:
        return
    print(f"{peer}, in an environment of its own (seconds)", flush=True)
    folder = BUILD / peer
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    requirements = REQUIREMENTS / f"{peer}.txt"
    # the file is complete, hence --no-deps
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)]
    subprocess.run(command, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (folder / "installed").write_text(_made_from(peer))


def _made_from(peer: str) -> str:
    return f"{sys.version} {ROOT}\n{(REQUIREMENTS / f'{peer}.txt').read_text()}"


def main() -> None:
    try:
        for requirements in sorted(REQUIREMENTS.glob("*.txt")):
            install(requirements.stem)
    except subprocess.CalledProcessError as error:
        sys.exit(f"stopped, for the reason above: {' '.join(map(str, error.cmd))}")


if __name__ == "__main__":
    main()
