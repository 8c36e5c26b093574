"""How commands tell: tables or JSON on stdout, what is under way on stderr, and files that are written.

On stdout is what was asked for, and nothing else, so that it can be piped. Signs of life show on a terminal only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status

from ...schemas.errors import BiSupervisedError, ConfigurationError

#: characters in a line of a table that goes into a file or a pipe
_FILE_WIDTH = 120


class OutputError(BiSupervisedError):
    """A file cannot be written. The message names it and says why."""


def as_text(document: Mapping[str, Any]) -> str:
    """A document as `--json` prints it."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def tell(document: Mapping[str, Any], tables: Sequence[RenderableType], notes: Sequence[str], *, as_json: bool) -> None:
    """Print the document, or the same for people."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _FILE_WIDTH  # no window bounds a file or a pipe
    if as_json:
        console.out(as_text(document), highlight=False)
        return
    for table in tables:
        console.print(table, soft_wrap=False)
    for note in notes:
        console.print(note, markup=False)


def progress_console() -> Console:
    """Where progress is told: stderr, so that a pipe gets results alone."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def progress_bar(console: Console) -> Progress:
    """Bars while something long can be counted; nothing where nobody watches."""
    return Progress(
        TextColumn("  {task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def working(on: str) -> Status:
    """A sign of life while something takes long; nothing where nobody watches."""
    return progress_console().status(f"  {on}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Makes the file's folder. Raises `OutputError` where it or the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_outputs(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """Files to write and files to read, by the option or argument that names them; None where it names none.

    Raises `ConfigurationError` where one would be written over a file that is read, or over another one.
    """
    faults = []
    taken = {path.resolve(): f"{name} is read from there" for name, path in read.items() if path is not None}
    for name, path in written.items():
        if path is None:
            continue
        if (other := taken.get(path.resolve())) is not None:
            faults.append(f"{name}: {path} would be written over, and {other}; name another file")
        taken.setdefault(path.resolve(), f"{name} is written there")
    if faults:
        raise ConfigurationError(faults)


def counted(count: int, what: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
