"""`make lock`: write requirements/build.txt, lock.txt, torch.txt and image.txt anew.

Pins that still fit are kept. `python scripts/lock.py --upgrade` takes the newest version of everything.

There is one resolution for every extra, the development tools, Linux and macOS, Python 3.11 and later. It is written to
several files, so that the same lock goes with either build of torch:

- build.txt: what installs the rest (pip, setuptools, wheel);
- lock.txt:  everything but torch and the CUDA packages;
- torch.txt: the default build of torch with the CUDA packages;
- image.txt: the part of lock.txt that a worker in a container needs, with the dependencies of torch.

The version of torch is that of torch-cpu.txt, which is edited by hand and gives the reasons.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
CUDA_FAMILY = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
HEADER = "# Written by `make lock`: do not edit.\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        uv = install_uv(scratch / "venv")
        (scratch / "build.in").write_text("pip>=25.1\nsetuptools\nwheel\n")  # 25.1: resumes broken downloads
        (scratch / "torch.in").write_text(f"torch=={torch_version()}\n")
        if "--upgrade" not in sys.argv:
            keep_present_pins(scratch)
        resolve(
            uv,
            scratch / "all.txt",
            "pyproject.toml",
            "--all-extras",
            "--group",
            "dev",
            "--constraints",
            str(scratch / "torch.in"),
        )
        pinned = ("--constraints", str(scratch / "all.txt"))
        resolve(uv, scratch / "image.txt", "pyproject.toml", "--extra", "torch", "--extra", "parquet", *pinned)
        resolve(uv, scratch / "build.txt", str(scratch / "build.in"), *pinned)
        entries = split((scratch / "all.txt").read_text())
        write("build.txt", split((scratch / "build.txt").read_text()))
        write("lock.txt", [entry for entry in entries if not CUDA_FAMILY.match(entry)])
        write("torch.txt", [entry for entry in entries if CUDA_FAMILY.match(entry)])
        image = split((scratch / "image.txt").read_text())
        write("image.txt", [entry for entry in image if not CUDA_FAMILY.match(entry)])


def keep_present_pins(scratch: Path) -> None:
    """Give uv the present pins, which it prefers: then a new dependency changes no other version."""
    for name, parts in {"all.txt": ("lock.txt", "torch.txt"), "build.txt": ("build.txt",)}.items():
        (scratch / name).write_text("".join((REQUIREMENTS / part).read_text() for part in parts))


def install_uv(folder: Path) -> Path:
    print("installing uv, which resolves for every platform at once", flush=True)
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", "uv"], check=True)
    return folder / "bin" / "uv"


def torch_version() -> str:
    found = re.search(r"^torch==([\d.]+)\+cpu", (REQUIREMENTS / "torch-cpu.txt").read_text(), re.MULTILINE)
    if found is None:
        sys.exit("requirements/torch-cpu.txt names no version of torch")
    return found[1]


def resolve(uv: Path, output: Path, source: str, *options: str) -> None:
    """Resolve into a file, without annotations: they would contain the path of the scratch folder."""
    print(f"resolving {Path(source).name}", flush=True)
    command: list[str | Path] = [
        uv,
        "pip",
        "compile",
        source,
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--fork-strategy",
        "fewest",
        "--generate-hashes",
        "--allow-unsafe",
        "--no-header",
        "--no-annotate",
        "--output-file",
        output,
        *options,
    ]
    subprocess.run(command, check=True, cwd=ROOT)


def split(text: str) -> list[str]:
    """The entries of a requirements file: an unindented line each, with the indented lines after it."""
    return re.findall(r"^\S.*\n(?:[ \t].*\n)*", text, re.MULTILINE)


def write(name: str, entries: list[str]) -> None:
    (REQUIREMENTS / name).write_text(HEADER + "".join(entries))
    print(f"requirements/{name}: {len(entries)} packages")


if __name__ == "__main__":
    main()
