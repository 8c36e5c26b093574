"""What may change in a record, and what needs another version: the rules of docs/interfaces.md, over JSON Schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

#: words of a schema that no reader goes by
_PROSE = ("description", "title", "examples")


def unannounced(released: Schema, current: Schema) -> list[str]:
    """What is not allowed within one version: all but a further field that may be missing."""
    return [*unreadable(released, current), *_dropped(released, current)]


def unreadable(older: Schema, newer: Schema) -> list[str]:
    """What is not allowed between neighbouring versions either, for a worker of one could not read the other's."""
    return [fault for name, pair in _pairs(older, newer) for fault in _unreadable(name, *pair)]


def _pairs(older: Schema, newer: Schema) -> Iterator[tuple[str, tuple[Schema, Schema]]]:
    """The structs that both have, by name; the document's own is named by its title."""
    yield older["title"], (older, newer)
    for name in older["$defs"].keys() & newer["$defs"].keys():
        yield name, (older["$defs"][name], newer["$defs"][name])


def _unreadable(name: str, older: Schema, newer: Schema) -> list[str]:
    before, after = older["properties"], newer["properties"]
    required = set(newer.get("required", ()))
    faults = [f"{name}.{field} must be there now" for field in sorted(required - set(older.get("required", ())))]
    both = [(field, _shape(before[field]), _shape(after[field])) for field in sorted(before.keys() & after.keys())]
    faults += [f"{name}.{field} was {old} and is {new}" for field, old, new in both if old != new]
    needed = set(older.get("required", ()))
    return faults + [f"{name}.{field} is gone, and was always there" for field in sorted(needed - after.keys())]


def _dropped(released: Schema, current: Schema) -> list[str]:
    faults = []
    for name, (before, after) in _pairs(released, current):
        needed = set(before.get("required", ()))
        optional = before["properties"].keys() - needed
        faults += [f"{name}.{field} is gone" for field in sorted(optional - after["properties"].keys())]
        kept = needed & after["properties"].keys()
        faults += [f"{name}.{field} may be missing now" for field in sorted(kept - set(after.get("required", ())))]
    return faults


def _shape(field: Schema) -> dict[str, Any]:
    """A field without its prose. Its default counts: it is what readers take where the field is left out."""
    shape = {key: value for key, value in field.items() if key not in _PROSE}
    if "anyOf" in shape:
        shape["anyOf"] = [_shape(choice) for choice in shape["anyOf"]]
    return shape
