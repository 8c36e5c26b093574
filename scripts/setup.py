"""`make setup`: make .venv with everything that is needed to run. Only Python must be there.

`steps` lists the steps in order. A step that succeeds leaves a stamp with the digest of its sources. So a second run
does nothing, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMPS = VENV / "stamps"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = ROOT / "requirements"
PROJECT = ROOT / "pyproject.toml"
JARS = ROOT / "streams" / "sandbox" / "kafka.json"
INTERPRETER = f"{sys.version} {sys.base_prefix} {ROOT}"  # a moved checkout breaks a virtual environment


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and the sources that its result depends on."""

    name: str
    announcement: str  #: printed before it starts
    made_from: tuple[Path | str, ...]
    make: Callable[[], None]


def steps() -> tuple[Step, ...]:
    build, lock = REQUIREMENTS / "build.txt", REQUIREMENTS / "lock.txt"
    torch = (REQUIREMENTS / "torch-cpu.txt", REQUIREMENTS / "torch.txt")
    return (
        Step(
            "environment",
            f"a virtual environment with Python {platform.python_version()}",
            (INTERPRETER,),
            make_environment,
        ),
        Step("pip", "pip, by digest (seconds)", (build,), lambda: pip_install(build)),
        Step(
            "dependencies",
            "the dependencies, by digest (430 MB, about a minute)",
            (lock,),
            lambda: pip_install(lock),
        ),
        Step("torch", "torch, by digest", torch, install_torch),
        Step("package", "this package, editable", (PROJECT,), install_package),
        Step("broker", "the Kafka broker's jars, by digest (43 MB, about half a minute)", (JARS,), fetch_jars),
    )


def main() -> None:
    try:
        for number, step in enumerate(steps(), start=1):
            run(step, f"[{number}/{len(steps())}]")
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"set-up stopped, for the reason above: {' '.join(map(str, error.cmd))}\n"
            "The same command goes on from here."
        )
    except KeyboardInterrupt:
        sys.exit("set-up interrupted. The same command goes on from here.")


def run(step: Step, label: str) -> None:
    stamp, digest = STAMPS / step.name, digest_of(step.made_from)
    if stamp.exists() and stamp.read_text() == digest:
        return
    print(f"{label} {step.announcement}", flush=True)
    step.make()
    STAMPS.mkdir(exist_ok=True)
    stamp.write_text(digest)


def digest_of(sources: tuple[Path | str, ...]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes() if isinstance(source, Path) else source.encode())
    return digest.hexdigest()


def make_environment() -> None:
    """Make a new environment in place of an old one."""
    try:
        venv.create(VENV, clear=True, with_pip=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit("this Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv")


def pip(*arguments: str | Path, quiet: bool = False) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    sink = subprocess.DEVNULL if quiet else None
    subprocess.run([PYTHON, "-m", "pip", *arguments], check=True, env=environment, stdout=sink, stderr=sink)


def pip_install(requirements: Path) -> None:
    """Install a lock. It is complete, hence --no-deps; an isolated build would fetch tools that no digest covers."""
    pip("install", "--no-deps", "--no-build-isolation", "--require-hashes", "-r", requirements)


def install_torch() -> None:
    """Install the CPU build where the user's index has it, else the default build, which is large on Linux."""
    cpu, plain = REQUIREMENTS / "torch-cpu.txt", REQUIREMENTS / "torch.txt"
    if sys.platform != "linux":
        pip_install(plain)
    elif offers(requirement := pin_in(cpu)):
        print(f"      your package index has {requirement}", flush=True)
        pip_install(cpu)
    else:
        print(
            f"      your package index has no {requirement}, so the build with the CUDA libraries follows:\n"
            "      about 2.7 GB to fetch and 4.7 GB on disk, several minutes. If you know an index that has\n"
            "      the CPU build (200 MB), stop this and name it in PIP_EXTRA_INDEX_URL.",
            flush=True,
        )
        pip_install(plain)


def pin_in(requirements: Path) -> str:
    found = re.search(r"^torch==\S+", requirements.read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"{requirements} names no version of torch")
    return found[0]


def offers(requirement: str) -> bool:
    try:
        pip("install", "--dry-run", "--no-deps", "--only-binary=:all:", requirement, quiet=True)
    except subprocess.CalledProcessError:
        return False
    return True


def install_package() -> None:
    pip("install", "-qq", "--no-deps", "--no-build-isolation", "--editable", ROOT)


def fetch_jars() -> None:
    subprocess.run([PYTHON, "-u", "-m", "bisupervised.streams.sandbox.kafka_jars"], check=True)


if __name__ == "__main__":
    main()
