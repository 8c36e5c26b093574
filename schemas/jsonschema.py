"""JSON Schemas of what we write, generated from the structs: `python -m bisupervised.schemas.jsonschema [--check]`.

Written to `json/` beside this module, shipped with the package, and checked by a test.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import orjson

from . import records
from .audits import Audit, Label
from .bulk import BulkEntry
from .closings import Closing
from .records import Facts, Result
from .versions import ThresholdsEntry

FOLDER = Path(__file__).parent / "json"
#: what travels as a document of its own, by the name of its schema
DOCUMENTS: dict[str, type[msgspec.Struct]] = {
    "facts": Facts,
    "result": Result,
    "audit": Audit,
    "label": Label,
    "closing": Closing,
    "batch": BulkEntry,
    "thresholds_entry": ThresholdsEntry,
}

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# a field and the comment that says what it is: `offset: int  #: its offset`
_FIELD = re.compile(r"^    (\w+): .*?#: (.+)$", re.MULTILINE)
# a header, or several, and the comment above: `#: header on …` over `REASON_HEADER = …`
_HEADER = re.compile(r"^#: (.+)\n(\w+_HEADERS?)\b", re.MULTILINE)


def file_name(name: str) -> str:
    """A new version of a document is a new file; readers of the old one keep theirs."""
    return f"{name}.v{version_of(name)}.json"


def version_of(name: str) -> int:
    """The version of a document in `DOCUMENTS`."""
    version: int = sys.modules[DOCUMENTS[name].__module__].VERSION
    return version


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a document in `DOCUMENTS`. Fields that a schema does not know are allowed: the next
    version may add some.
    """
    found = components("#/$defs/{name}", [DOCUMENTS[name]])
    whole = found.pop(DOCUMENTS[name].__name__)
    return {
        "$schema": _DRAFT,
        "$id": f"urn:bisupervised:{name}:v{version_of(name)}",
        "version": version_of(name),
        **whole,
        "$defs": found,
    }


def components(ref_template: str, documents: Sequence[type[msgspec.Struct]]) -> dict[str, dict[str, Any]]:
    """The schemas of these structs and of the ones inside them, by name. `ref_template` says how they refer to each
    other, as in `#/$defs/{name}`.
    """
    (_, found) = msgspec.json.schema_components(documents, ref_template=ref_template)
    for kind in _structs(documents):
        _describe(found[kind.__name__], kind)
    return found


def _structs(documents: Sequence[type[msgspec.Struct]]) -> set[type[msgspec.Struct]]:
    """These, and the ones inside them."""
    found: set[type[msgspec.Struct]] = set()
    looked_at: list[Any] = list(documents)
    while looked_at:
        kind = looked_at.pop()
        looked_at += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
            found.add(kind)
            looked_at += [field.type for field in msgspec.structs.fields(kind)]
    return found


def headers() -> dict[str, str]:
    """Every header that `records` names, and what it says there of each."""
    described: dict[str, str] = {}
    for comment, constant in _HEADER.findall(inspect.getsource(records)):
        named: str | tuple[str, ...] = getattr(records, constant)
        described |= dict.fromkeys((named,) if isinstance(named, str) else named, comment)
    return described


def struct_in(comment: str) -> type[msgspec.Struct] | None:
    """The struct that a header holds as JSON: the one that its comment names in backticks; None for plain text."""
    named = [getattr(records, word, None) for word in re.findall(r"`(\w+)`", comment)]
    structs = [found for found in named if isinstance(found, type) and issubclass(found, msgspec.Struct)]
    return structs[0] if structs else None


def comments_of(kind: type[msgspec.Struct]) -> dict[str, str]:
    """What stands beside each field of a struct."""
    return dict(_FIELD.findall(inspect.getsource(kind)))


def _describe(component: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    comments = comments_of(kind)
    for field, described in component["properties"].items():
        if described.get("default") == ():
            described["default"] = []  # as JSON has it
        component["properties"][field] = {"description": comments[field], **described}


def rendered(name: str) -> bytes:
    """The file's content."""
    return orjson.dumps(schema(name), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def stale() -> list[Path]:
    """The files that are missing, or not what the structs say."""
    files = {FOLDER / file_name(name): rendered(name) for name in DOCUMENTS}
    return [path for path, content in files.items() if not path.is_file() or path.read_bytes() != content]


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in DOCUMENTS:
        (FOLDER / file_name(name)).write_bytes(rendered(name))


def main(arguments: list[str]) -> str | None:
    """Write the files, or with `--check` say which are stale."""
    if arguments == ["--check"]:
        names = ", ".join(path.name for path in stale())
        return f"not current: {names}; run python -m bisupervised.schemas.jsonschema" if names else None
    if arguments:
        return "usage: python -m bisupervised.schemas.jsonschema [--check]"
    write()
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
