r"""Paths with backslashes in TOML: in double quotes a backslash begins an escape, so that C:\new holds a line break."""

from __future__ import annotations

import re
from typing import Any

from .place import written

_ADVICE = r"in double quotes a backslash begins an escape: write the path in single quotes, or with / or \\"
_LINE = re.compile(r"at line (\d+)")
#: what the escapes of b, t, n, f and r become
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: keys that hold a path
_PATH_KEY = re.compile(r"(^|_)(file|model)$")


def backslash_hint(text: str, fault: str) -> str:
    """What is wrong where TOML cannot be read because of a backslash; '' where there is none at that place."""
    at = _LINE.search(fault)
    lines = text.splitlines()
    line = lines[int(at[1]) - 1] if at and int(at[1]) <= len(lines) else ""
    quoted = line.partition('"')[2]
    return f"; {_ADVICE}" if "\\" in quoted else ""


def escaped_paths(document: dict[str, Any], table: str = "") -> list[str]:
    """A fault for each path in which a backslash has become a tab, a line break or the like."""
    faults = []
    for key, value in document.items():
        if isinstance(value, dict):
            faults += escaped_paths(value, f"{table}.{key}" if table else key)
        elif isinstance(value, str) and _PATH_KEY.search(key) and _CONTROL.search(value.rstrip("\r\n")):
            faults.append(f"{written((table, key), {})}: holds a control character ({value!r}): {_ADVICE}")
    return faults
