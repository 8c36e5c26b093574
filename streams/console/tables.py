"""What is usually wrong with tables in files of others, in words: every command that reads one says the same."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ...schemas.encodings import named

#: bytes of a file that are checked at a time
_BLOCK_BYTES = 1024 * 1024
#: bytes of a file that are looked at
_HEAD_BYTES = 64
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_QUOTED = re.compile(r'"[^"]*"')
_PERCENTAGE = re.compile(r"\s*\+?(\d{1,3}(?:\.\d{1,20})?)\s*%\s*")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")


def foreign_text(path: Path) -> str:
    """What a file is that is no UTF-8 text, and what to do; '' where its beginning does not tell. Raises `OSError`."""
    with path.open("rb") as file:
        return named(file.read(_HEAD_BYTES))


def undecodable(path: Path) -> str:
    """Where a file is no UTF-8 text, what it seems to be instead, and what to do; '' where it is. Raises `OSError`."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                return f"not UTF-8 text (at line {line + _lines(before)}){_seems(error)}: save it as UTF-8"
            if not block:
                return ""
            line += _lines(text.encode())


def _lines(text: bytes) -> int:
    """How many lines end in it, whichever way."""
    return text.count(b"\n") or text.count(b"\r")


def undecodable_line(line: bytes) -> str:
    """The same of one line."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8 text{_seems(error)}: save it as UTF-8"
    return ""


def _seems(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    sign = bytes([byte]).decode("cp1252", "replace")
    return f"; it seems to be Windows-1252 or Latin-1, where byte {byte:#x} is {sign!r}" if sign.isprintable() else ""


def columns_of(header: Sequence[str]) -> list[str]:
    """The columns that a header names: without empty ones at the end, which a comma there makes, and without a second
    byte order mark, which files that were joined have.
    """
    kept = len(header)
    while kept and not header[kept - 1].strip():
        kept -= 1
    return [name.lstrip("\ufeff") if not number else name for number, name in enumerate(header[:kept])]


def torn_hint(path: Path) -> str:
    """The same as `delimiter_hint` where quotes in the first line keep it from being read. Raises `OSError`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline(_BLOCK_BYTES)
    return delimiter_hint([_QUOTED.sub("", first)]) if "," not in _QUOTED.sub("", first) else ""


def delimiter_hint(header: Sequence[str]) -> str:
    """What to do where a line of column names has no commas, but something else between them; '' where it has."""
    if len(header) <= 2 and header[:1] and header[0].casefold() in ("sep=", "sep=,"):
        return "begins with a line for spreadsheets, 'sep=': remove it"
    if len(header) != 1:
        return ""
    for sign, name in _DELIMITERS.items():
        if sign in header[0]:
            return f"has {name} between its cells: save it with commas, and write numbers with a point, as in 0.93"
    return ""


def ragged_hint(cells: Sequence[str], columns: int) -> str:
    """What is likely where a line has more cells than columns, and two of them are the halves of a number."""
    halves = any(one.strip().isdigit() and other.strip().isdigit() for one, other in pairwise(cells))
    return "; numbers are written with a point, as in 0.93" if len(cells) > columns and halves else ""


def number_hint(cell: object) -> str:
    """What to do where a cell is no number because of its comma or its sign of percent; '' where that is not it."""
    if isinstance(cell, str) and (share := _PERCENTAGE.fullmatch(cell)):
        return f": write it without the sign, as in {float(share[1]) / 100:.6g}"
    if isinstance(cell, str) and _DECIMAL_COMMA.fullmatch(cell):
        return f": write it with a point, as in {cell.strip().replace(',', '.')}"
    return ""
