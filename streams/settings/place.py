"""Where a setting stands in the file, as a table and a key, and how that looks to whoever reads about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: (table, key); table is '' for the keys above all tables, and 'remote.tei' for a table inside one
Place = tuple[str, str]
#: table -> key -> its description; the tables themselves stand under ''
Known = Mapping[str, Mapping[str, str]]


def place_of(location: Sequence[str | int], known: Known) -> Place:
    """The place that pydantic's path through the document leads to; what is deeper counts as its key."""
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
