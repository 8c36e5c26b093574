"""A fault of a configuration in words: one line each, in the user's terms, with what was probably meant.

pydantic finds what is wrong with a value; `told` says it. What is right alone and does not fit is found, and said, in
`fit.py`. No line repeats a value that may be a secret: neither of a key that is called like one, nor of a key that is
not known here, nor one that holds a user or a password, nor an address with a query.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .place import Known, Place, place_of, written

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

#: longest value that a fault repeats, characters
_GOT_CHARS = 60
_SECRET = re.compile(r"pass|secret|token(?!s_)|credential|api_?key|auth|private|bearer|headers", re.IGNORECASE)
#: by the end of a key
_UNITS = {"_s": "seconds", "_ms": "milliseconds", "_hours": "hours", "_bytes": "bytes"}
#: by pydantic's name of what is wrong
_TEXTS: dict[str, str] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "model_type": "must be a table",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "value_error": "{error}",
}


def told(errors: Iterable[ErrorDetails], known: Known, origins: Mapping[Place, str]) -> list[str]:
    """One line per validation error; `origins` names the environment variable that gave a value."""
    return [_told(error, known, origins) for error in errors]


def _told(error: ErrorDetails, known: Known, origins: Mapping[Place, str]) -> str:
    place = place_of(error["loc"], known)
    items = [f"item {step + 1} " for step in error["loc"][1:] if isinstance(step, int)]
    origin = f", from {origins[place]}" if place in origins else ""
    return f"{written(place, known)}: {''.join(items)}{_complaint(error, place, known)}{origin}"


def _complaint(error: ErrorDetails, place: Place, known: Known) -> str:
    table, key = place
    if error["type"] == "missing":
        return f"is missing: {known.get(table, {}).get(key, 'required')}"
    if error["type"] == "extra_forbidden":
        kind = "table" if not table and isinstance(error["input"], dict) else "key"
        return f"unknown {kind}{_nearest(place, known)}"
    text = _TEXTS.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    if text.endswith("number"):
        text += _unit(key)
    return f"{text}{_got(place, error['input'])}"


def _unit(key: str) -> str:
    """What a number of this key counts, as its name says: whoever wrote '30s' learns it."""
    return next((f" of {unit}" for end, unit in _UNITS.items() if key.endswith(end)), "")


def _nearest(place: Place, known: Known) -> str:
    """What was probably meant: the same key in another table, or the nearest one of the same table."""
    table, key = place
    elsewhere = [other for other in known if other and key in known[other]]
    if elsewhere:
        # of a protocol's table there are two; whoever writes [remote] means that one's
        best = min(elsewhere, key=lambda other: other.partition(".")[0] != table.partition(".")[0])
        return f"; it belongs in [{best}]"
    near = difflib.get_close_matches(key, known.get(table, ()), n=1)
    return f"; did you mean {near[0] if table else written(('', near[0]), known)}?" if near else ""


def unknown_variable(name: str, table: str, known: Known) -> str:
    """The fault of an environment variable that names no table."""
    return f"{name}: no table [{table}]{_nearest(('', table), known)}"


def _got(place: Place, value: Any) -> str:  # noqa: ANN401  # whatever the file held
    if not isinstance(value, str | int | float) or _SECRET.search(place[1]):
        return ""
    shown = repr(value)
    if "@" in shown or ("?" in shown and "://" in shown) or _SECRET.search(shown):
        return ""
    return f" (got {shown if len(shown) <= _GOT_CHARS else shown[:_GOT_CHARS] + '…'})"
