"""What is usually wrong with tables in files of others, in words: every command that reads one says the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ...schemas.encodings import named

#: bytes of a file that are looked at
_HEAD_BYTES = 64
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")


def foreign_text(path: Path) -> str:
    """What a file is that is no UTF-8 text, and what to do; '' where its beginning does not tell. Raises `OSError`."""
    with path.open("rb") as file:
        return named(file.read(_HEAD_BYTES))


def delimiter_hint(header: Sequence[str]) -> str:
    """What to do where a line of column names has no commas, but something else between them; '' where it has."""
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
    """What to do where a cell is no number because of its comma; '' where that is not it."""
    if isinstance(cell, str) and _DECIMAL_COMMA.fullmatch(cell):
        return f": write it with a point, as in {cell.strip().replace(',', '.')}"
    return ""
