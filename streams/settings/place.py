"""Where a setting stands in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: (table, key); table is '' for the keys above all tables
Place = tuple[str, str]


#: table -> key -> its description; the tables themselves stand under ''
Known = Mapping[str, Mapping[str, str]]


def place_of(location: Sequence[str | int], known: Known) -> Place:
    """The table and key of a location inside the document."""
    first = str(location[0])
    inside = ".".join(map(str, location[:2]))
    if len(location) > 2 and inside in known:
        return inside, str(location[2])
    if len(location) > 1 and first in known:
        return first, str(location[1])
    return "", first


def written(place: Place, known: Known) -> str:
    """How a place looks in the file: `[table] key`, `[table]` or `key`."""
    table, key = place
    if table:
        return f"[{table}] {key}"
    return f"[{key}]" if key in known else key
