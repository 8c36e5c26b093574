"""Write requirements/build.txt, lock.txt, torch.txt and image.txt anew: `make lock`.

Pins that still fit are kept; `python scripts/lock.py --upgrade` takes the newest of everything.

One resolution for every extra, the development tools, Linux and macOS, Python 3.11 and later. It is cut in
two, so that either build of torch can be put beside the same lock:

- build.txt: what installs the rest (pip, setuptools, wheel);
- lock.txt:  everything but torch and the CUDA family;
- torch.txt: the plain torch with the CUDA family;
- image.txt: the part of lock.txt that a worker in a container needs, torch's own needs included.

torch's version is the one of torch-cpu.txt, which is kept by hand and says why.
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
    """uv prefers what its output file names already: a new dependency then moves no other one."""
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
    """Annotations are left out: they would carry the scratch folder's path into the lock."""
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
    """Entries of a requirements file: a line at the margin and the indented ones that go with it."""
    return re.findall(r"^\S.*\n(?:[ \t].*\n)*", text, re.MULTILINE)


def write(name: str, entries: list[str]) -> None:
    (REQUIREMENTS / name).write_text(HEADER + "".join(entries))
    print(f"requirements/{name}: {len(entries)} packages")


if __name__ == "__main__":
    main()
