"""Documents that anybody may have written, read so that none of them ends who reads it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
#: levels of lists and objects in a label's truth; the same everywhere, so that all who read it agree
MOST_LEVELS = 100


def decoded(decoder: msgspec.json.Decoder[T], document: bytes) -> T:
    """What the document holds. Raises `msgspec.DecodeError` whatever is wrong with it."""
    try:
        return decoder.decode(document)
    except RecursionError as error:  # thousands of levels, which msgspec follows as deep as Python's stack goes
        raise msgspec.DecodeError("lists or objects in it lie too deep in each other") from error


def lies_deep(value: object) -> bool:
    """Whether lists and objects lie in each other at more than `MOST_LEVELS` levels."""
    level: list[Any] = [value]
    depth = 0
    while level := [one for one in level if isinstance(one, (list, dict))]:
        depth += 1
        if depth > MOST_LEVELS:
            return True
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return False
