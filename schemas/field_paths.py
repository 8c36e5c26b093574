r"""Where a part of a request stands: the name of a field, or names with dots between them, as in `payload.after.text`.

A number counts the items of a list, from 0: `messages.0.text`. A backslash before a dot makes it part of a name, and
before a backslash as well: `meta\.id` is one field.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

Steps = tuple[str, ...]

_STEP = re.compile(r"(?:[^.\\]|\\[.\\])+")
_PATH = re.compile(rf"{_STEP.pattern}(?:\.{_STEP.pattern})*")
_ESCAPED = re.compile(r"\\(.)")
#: a list of more items than that is not looked into, nor made
_INDEX = re.compile(r"[0-9]{1,4}")


@lru_cache(maxsize=256)  # a configuration names few
def steps_of(path: str) -> Steps:
    """The names on the way; none for ''. Raises `ValueError` where a name is empty or a backslash escapes nothing."""
    if path and not _PATH.fullmatch(path):
        raise ValueError(
            r"must be a field, or fields with a dot between each two, as in payload.text; \. is a plain dot"
        )
    return tuple(_ESCAPED.sub(r"\1", step) for step in _STEP.findall(path))


def is_plain(path: str) -> bool:
    """It is the name of a top-level field as it stands, or none."""
    return "." not in path and "\\" not in path


def path_of(steps: Steps) -> str:
    """How these names are written."""
    return ".".join(step.replace("\\", r"\\").replace(".", r"\.") for step in steps)


def find(document: Any, steps: Steps) -> Any:  # noqa: ANN401  # any JSON value
    """What stands there; without a step the document itself. Raises `LookupError` where there is nothing."""
    found = document
    for step in steps:
        if isinstance(found, dict):
            found = found[step]
        elif isinstance(found, list) and _INDEX.fullmatch(step):
            found = found[int(step)]
        else:
            raise LookupError(step)
    return found


def place(document: dict[str, Any], steps: Steps, value: Any) -> None:  # noqa: ANN401  # any JSON value
    """Put a value where `find` finds it, and make what is missing on the way. What is in the way is replaced."""
    *way, last = steps
    inner: Any = document
    for step, following in zip(way, steps[1:], strict=True):
        inner = _made(inner, step, kind=list if _INDEX.fullmatch(following) else dict)
    _put(inner, last, value)


def _made(holder: Any, step: str, kind: type[dict[str, Any] | list[Any]]) -> Any:  # noqa: ANN401  # any JSON value
    try:
        there = find(holder, (step,))
    except LookupError:
        there = None
    if not isinstance(there, dict | kind):
        there = kind()
        _put(holder, step, there)
    return there


def _put(holder: Any, step: str, value: Any) -> None:  # noqa: ANN401  # any JSON value
    if isinstance(holder, dict):
        holder[step] = value
        return
    holder.extend([None] * (int(step) + 1 - len(holder)))
    holder[int(step)] = value
