"""What every format is read into, and what the readers have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ....schemas.errors import ConfigurationError

#: endings of files, by what reads them; here, so that who only wants the endings loads no reader
EXPORTED, TORCHSCRIPT, ONNX = (".pt2",), (".pt", ".ts"), (".onnx",)
#: what the second output of a model is called
FEATURES = "features"
#: bytes of a file that are hashed at once
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, ready to be called."""

    call: Callable[[list[Any]], Any]  #: takes a list of inputs; blocks
    name: str
    version: str  #: of its files
    labels: tuple[Any, ...] = ()  #: what its classes are called; empty where the files do not say
    #: the same call with features beside the outputs; None where that is no other call
    featured: Callable[[list[Any]], tuple[Any, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a model computes, and in what."""

    device: str = "cpu"  #: "auto", "cpu", "cuda", "cuda:1", "mps"
    dtype: str = "auto"  #: "auto", "float32", "float16", "bfloat16"
    threads: int = 0  #: of the processor; 0: one for a small torch file, else what the library takes


def optional(module: str, wanted_by: str, extra: str) -> Any:  # noqa: ANN401  # optional modules are not typed here
    """The module. Raises `ConfigurationError` with what to install where it is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError([f"{wanted_by!r} needs {module}: install bisupervised[{extra}] ({error})"]) from error


def digest(paths: Iterable[Path]) -> str:
    """Twelve characters that tell these files from others, by what they hold. Raises `ConfigurationError`."""
    found = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    found.update(block)
        except OSError as error:
            raise ConfigurationError([f"cannot read the model file {str(path)!r}: {error.strerror}"]) from error
    return found.hexdigest()[:12]


@contextmanager
def digesting(paths: Iterable[Path]) -> Iterator[Callable[[], str]]:
    """Gives the files' `digest`, which is made beside what is done within: hashing leaves Python's lock to imports, and
    who reads the files after that finds them in memory.
    """
    with ThreadPoolExecutor(1, "digest") as beside:
        yield beside.submit(digest, paths).result


def first_line(error: Exception) -> str:
    """What a library says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
