"""Places in a JSON document, written with dots: `choices.0.message.content`. A number counts the items of a list."""

from __future__ import annotations

from typing import Any


def find(document: Any, path: str) -> Any:  # noqa: ANN401  # any JSON value
    """What stands at `path`; '' is the document itself. Raises `LookupError` where there is nothing."""
    found = document
    for step in path.split(".") if path else ():
        found = _inside(found, step)
    return found


def _inside(found: Any, step: str) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(found, dict):
        return found[step]
    if isinstance(found, list) and step.isdecimal():
        return found[int(step)]
    raise LookupError(step)
