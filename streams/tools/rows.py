"""Reading requests from files: rows of CSV, JSON Lines and Parquet, and images of a folder.

A row becomes a JSON object whose fields are its columns; a column that is named like a way in `[request]`, such as
`payload.text`, comes to stand there. A line of JSON Lines is sent unchanged. An image becomes
`{"<input>": "<base64>", "<id>": "<file name>", "name": …, "media_type": …}`, with the field names of `[request]`.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ...schemas.codec import RequestFormat, decode_request
from ...schemas.encodings import verbatim, without_mark
from ...schemas.errors import BiSupervisedError, InvalidRequest
from ...schemas.field_paths import Steps, place, steps_of
from ...schemas.records import Headers
from ..console.tables import (
    columns_of,
    delimiter_hint,
    foreign_text,
    ragged_hint,
    torn_hint,
    undecodable,
    undecodable_line,
)

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
#: bytes of the longest cell of a CSV file
_CELL_BYTES = 16 * 1024 * 1024


class RowsError(BiSupervisedError):
    """The file cannot be read. The message names it and says why."""


class BadRow(ValueError):
    """The row is no request. The message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `fault` says why it is no request; it is empty for a good row."""

    place: str  #: line of the file, or name of the image
    value: bytes = b""
    key: bytes | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """The record as the pipeline would get it, so that a row is checked as the pipeline checks it."""

    value: bytes
    topic: str = ""
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: Headers = ()


def read_rows(path: Path, shape: RequestFormat, key: str | None, *, as_text: bool) -> Iterator[Row]:
    """The rows in their order, good and bad. Raises `RowsError`."""
    try:
        for place, make in _values(path, shape, as_text=as_text):
            yield _row(place, make, shape, key)
    except (OSError, UnicodeError, csv.Error) as error:
        raise RowsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _row(place: str, make: Callable[[], bytes], shape: RequestFormat, key: str | None) -> Row:
    try:
        value = make()
        request = decode_request(Candidate(value), shape)
        return Row(place, value, None if key is None else _key(value, request.document, key))
    except (BadRow, InvalidRequest) as error:
        return Row(place, fault=str(error))


def _key(written: bytes, document: Any, field: str) -> bytes:  # noqa: ANN401  # any JSON value
    if not isinstance(document, dict) or document.get(field) is None:
        raise BadRow(f"there is no field {field!r} for the key")
    value = document[field]
    if isinstance(value, str):
        return value.encode()
    # a number that was parsed may be another: two ids must not become one key
    text = verbatim(written, field) if isinstance(value, float) else None
    return orjson.dumps(value) if text is None else text.encode()


def _values(path: Path, shape: RequestFormat, *, as_text: bool) -> Iterator[tuple[str, Callable[[], bytes]]]:
    if path.is_dir():
        return _images(path, shape)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".jsonl", ".ndjson") and (name := foreign_text(path)):
        raise RowsError(f"{path}: is {name}")
    if suffix == ".csv":
        if name := undecodable(path):  # before anything is sent
            raise RowsError(f"{path}: is {name}")
        return _csv(path, shape, as_text=as_text)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if suffix == ".parquet":
        return _parquet(path)
    if suffix == ".json":
        raise RowsError(f"{path}: write one object on each line, and name the file .jsonl")
    raise RowsError(f"{path}: must be .csv, .jsonl, .parquet, or a folder with images ({' '.join(MEDIA_TYPES)})")


def _csv(path: Path, shape: RequestFormat, *, as_text: bool) -> Iterator[tuple[str, Callable[[], bytes]]]:
    csv.field_size_limit(_CELL_BYTES)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            names = columns_of(next(rows, []))
        except csv.Error as error:
            raise RowsError(f"{path}: {torn_hint(path) or f'line 1 cannot be read: {error}'}") from error
        if not names or len(set(names)) < len(names):
            raise RowsError(f"{path}: line 1 must name the columns, each once")
        if hint := delimiter_hint(names):
            raise RowsError(f"{path}: {hint}")
        ways = [_way(name, shape) for name in names]
        for cells in rows:
            if cells:  # an empty line is no row
                yield f"line {rows.line_num}", lambda cells=cells: _object(ways, cells, as_text=as_text)  # type: ignore[misc]  # a default binds the row


def _way(column: str, shape: RequestFormat) -> Steps:
    """Where a column goes: further in where `[request]` names it so, else to the field of its name."""
    return steps_of(column) if column in (shape.input, shape.id, shape.deadline_ms) else (column,)


def _object(ways: list[Steps], cells: list[str], *, as_text: bool) -> bytes:
    if len(cells) > len(ways) and not any(map(str.strip, cells[len(ways) :])):
        cells = cells[: len(ways)]  # commas at the end
    if len(cells) != len(ways):
        raise BadRow(f"{len(cells)} cells, but {len(ways)} columns{ragged_hint(cells, len(ways))}")
    document: dict[str, Any] = {}
    for way, cell in zip(ways, cells, strict=True):
        place(document, way, cell if as_text else _cell(cell))
    return orjson.dumps(document)


def _cell(cell: str) -> Any:  # noqa: ANN401  # any JSON value
    try:
        value = orjson.loads(cell)
    except orjson.JSONDecodeError:
        return cell
    # as it is written: a number that no 64 bits hold would be sent as another
    return orjson.Fragment(cell) if isinstance(value, float | list | dict) else value


def _json_lines(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = without_mark(line) if number == 1 else line  # the same line, as it is meant
            if line.strip():
                yield f"line {number}", lambda line=line: _line(line)  # type: ignore[misc]  # a default binds the line


def _line(line: bytes) -> bytes:
    if name := undecodable_line(line):
        raise BadRow(f"is {name}")
    return line.rstrip(b"\r\n")


def _parquet(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise RowsError(f"{path}: Parquet needs the extra `parquet`: pip install 'bisupervised[parquet]'") from error
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", lambda row=row: _dumped(row)  # type: ignore[misc]  # a default binds the row
    except ArrowException as error:
        raise RowsError(f"{path}: cannot be read: {error}") from error


def _dumped(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row)
    except TypeError as error:
        raise BadRow(f"cannot be written as JSON: {error}") from error


def _images(folder: Path, shape: RequestFormat) -> Iterator[tuple[str, Callable[[], bytes]]]:
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in MEDIA_TYPES and path.is_file())
    if not images:
        raise RowsError(f"{folder}: holds no image ({' '.join(MEDIA_TYPES)})")
    for path in images:
        yield path.name, lambda path=path: _image(path, shape)  # type: ignore[misc]  # a default binds the path


def _image(path: Path, shape: RequestFormat) -> bytes:
    content = path.read_bytes()
    if not content:
        raise BadRow("the file is empty")
    document: dict[str, Any] = {"name": path.name, "media_type": MEDIA_TYPES[path.suffix.lower()]}
    if shape.id:
        place(document, steps_of(shape.id), path.name)
    place(document, steps_of(shape.input or "image"), base64.b64encode(content).decode())
    return orjson.dumps(document)
