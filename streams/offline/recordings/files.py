"""Reading columns of a file: CSV, JSON Lines or Parquet, by the end of its name.

Columns are read in bulk. The line of a row is looked up only when an error must name it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from ....schemas.encodings import verbatim, without_mark
from ....schemas.errors import BiSupervisedError
from ...console.tables import (
    columns_of,
    delimiter_hint,
    foreign_text,
    ragged_hint,
    torn_hint,
    undecodable,
    undecodable_line,
)

#: rows that are parsed at a time: all at once would keep every cell of the file in memory, needed or not
_CHUNK = 50_000
#: whole numbers below this are exact as floats
_EXACT = 2.0**53


class RecordingError(BiSupervisedError):
    """A recording cannot be read. The message names file, row and column."""


@dataclass(frozen=True, slots=True)
class Table:
    """Some columns of a file: text from CSV, any value from JSON Lines and Parquet."""

    path: Path
    columns: dict[str, list[Any]]  #: by name, all of the same length
    line: Callable[[int], str]  #: the place of a row as an editor counts: row 0 -> "line 2"

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def place(self, row: int, column: str) -> str:
        """The place of a cell, for an error message."""
        return f"{self.path}, {self.line(row)}, column {column!r}"


def column_names(path: Path) -> list[str]:
    """The names of a file's columns; of JSON Lines, the fields of the first row.

    Raises `RecordingError` where the file cannot be read, or has no columns.
    """
    with _translated_errors(path):
        names = _format(path).names(path)
    if hint := delimiter_hint(names) if _format(path) is _CSV else "":
        raise RecordingError(f"{path}: {hint}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RecordingError(f"{path}: several columns are called {', '.join(map(repr, repeated))}")
    return names


def read_table(path: Path, names: Sequence[str]) -> Table:
    """All rows of these columns. Raises `RecordingError` where the file is not what its name says."""
    with _translated_errors(path):
        columns = _format(path).read(path, list(names))
    return Table(path, columns, lambda row: _format(path).line(path, row))


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        if _format(path) is not _PARQUET and (name := foreign_text(path)):
            raise RecordingError(f"{path}: is {name}")
        yield
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: is {undecodable(path)}") from error


@dataclass(frozen=True, slots=True)
class _Format:
    names: Callable[[Path], list[str]]
    read: Callable[[Path, list[str]], dict[str, list[Any]]]
    line: Callable[[Path, int], str]


def _format(path: Path) -> _Format:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise RecordingError(f"{path}: its name must end in one of {', '.join(_FORMATS)}") from None


# CSV: a header, then the rows; quoted cells may hold line breaks, and blank lines are skipped


@contextmanager
def _csv(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as lines:  # -sig: spreadsheets begin with a byte order mark
        reader = csv.reader(lines, strict=True)
        try:
            yield reader
        except csv.Error as error:
            hint = torn_hint(path) if reader.line_num == 1 else ""
            said = f"{path}: {hint}" if hint else f"{path}, line {reader.line_num}: is not CSV: {error}"
            raise RecordingError(said) from error


def _csv_names(path: Path) -> list[str]:
    with _csv(path) as reader:
        names: list[str] = next(reader, [])
    if not (names := columns_of(names)):
        raise RecordingError(f"{path}: has no header: the first line names the columns")
    return names


def _read_csv(path: Path, names: list[str]) -> dict[str, list[Any]]:
    columns: list[list[Any]] = [[] for _ in names]
    with _csv(path) as reader:
        header = next(reader)
        named = columns_of(header)
        picked = [itemgetter(named.index(name)) for name in names]
        wide = range(len(named), len(header) + 1)  # a comma at the end of the header makes no column
        while rows := list(islice(reader, _CHUNK)):
            widths = set(map(len, rows))
            if 0 in widths:
                rows = [row for row in rows if row]
            if widths - {0, *wide}:
                _refuse_ragged(path, wide)
            for column, pick in zip(columns, picked, strict=True):
                column.extend(map(pick, rows))
    return dict(zip(names, columns, strict=True))


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, header included, with the line it begins on."""
    with _csv(path) as reader:
        begins = 1
        for row in reader:
            if row:
                yield begins, row
            begins = reader.line_num + 1


def _refuse_ragged(path: Path, wide: range) -> None:
    for line, row in _csv_rows(path):
        if len(row) not in wide:
            hint = ragged_hint(row, wide[-1])
            raise RecordingError(f"{path}, line {line}: has {len(row)} cells where the header has {wide[-1]}{hint}")


def _csv_line(path: Path, row: int) -> str:
    return f"line {next(islice(_csv_rows(path), row + 1, None))[0]}"


# JSON Lines: an object on each line


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every object, with its line. Raises `RecordingError` for a line that is no object."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            told = without_mark(line) if number == 1 else line
            if not told.isspace():
                yield number, _json_object(path, number, told)


def _json_object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        what = undecodable_line(line) or f"not JSON: {error}"
        raise RecordingError(f"{path}, line {number}: is {what}") from error
    if not isinstance(row, dict):
        raise RecordingError(f'{path}, line {number}: is not an object, as in {{"score": 0.9}}')
    for name, value in row.items():
        if isinstance(value, float) and abs(value) >= _EXACT:
            row[name] = _whole(line, name, value)
    return row


def _whole(line: bytes, name: str, value: float) -> float | int:
    """A whole number with all its digits, where that is what is written: no two ids become one."""
    text = verbatim(line, name) or ""
    return int(text) if text.lstrip("-").isdigit() else value


def _json_names(path: Path) -> list[str]:
    for _, row in _json_rows(path):
        return list(row)
    raise RecordingError(f"{path}: holds no rows")


def _read_json(path: Path, names: list[str]) -> dict[str, list[Any]]:
    columns: list[list[Any]] = [[] for _ in names]
    rows = (row for _, row in _json_rows(path))
    while chunk := list(islice(rows, _CHUNK)):
        for name, column in zip(names, columns, strict=True):
            column.extend([row.get(name) for row in chunk])  # an absent field is reported like an empty one
    return dict(zip(names, columns, strict=True))


def _json_line(path: Path, row: int) -> str:
    return f"line {next(islice(_json_rows(path), row, None))[0]}"


# Parquet: there are no lines, so rows are counted from 1


def _parquet(path: Path) -> Any:  # noqa: ANN401  # pyarrow is optional
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise RecordingError(f"{path}: needs pyarrow: pip install 'bisupervised[parquet]'") from error
    try:
        return parquet.ParquetFile(path)
    except ArrowException as error:
        raise RecordingError(f"{path}: is not Parquet: {error}") from error


def _parquet_names(path: Path) -> list[str]:
    with _parquet(path) as file:
        return list(file.schema_arrow.names)


def _read_parquet(path: Path, names: list[str]) -> dict[str, list[Any]]:
    with _parquet(path) as file:
        table = file.read(columns=names)
    return {name: table.column(name).to_pylist() for name in names}


_CSV = _Format(_csv_names, _read_csv, _csv_line)
_JSON = _Format(_json_names, _read_json, _json_line)
_PARQUET = _Format(_parquet_names, _read_parquet, lambda _, row: f"row {row + 1}")
_FORMATS = {".csv": _CSV, ".jsonl": _JSON, ".ndjson": _JSON, ".parquet": _PARQUET}
