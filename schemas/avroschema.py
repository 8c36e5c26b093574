"""The Avro schema of a result, made from its struct: `python -m bisupervised.schemas.avroschema [--check]`.

Written to `json/` beside this module and shipped: a worker registers the file as it stands.
"""

from __future__ import annotations

import inspect
import sys
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import orjson

from .avro import FILE, NAMESPACE
from .jsonschema import comments_of
from .records import Result

_PLAIN: dict[Any, str] = {NoneType: "null", bool: "boolean", int: "long", float: "double", str: "string"}
#: whatever Avro has no type for
_JSON = {
    "type": "record",
    "name": "Json",
    "doc": "A JSON value that is neither null, a truth value, a number nor text.",
    "fields": [{"name": "json", "type": "string", "doc": "the value as JSON text"}],
}


def schema() -> dict[str, Any]:
    """The schema of `Result`. A field with a default has it here, too, so it may come and go."""
    return _record(Result, set())


def rendered() -> bytes:
    """The file's content."""
    return orjson.dumps(schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _record(kind: type[msgspec.Struct], named: set[str]) -> dict[str, Any]:
    comments = comments_of(kind)
    fields: list[dict[str, Any]] = []
    for field in msgspec.structs.fields(kind):
        default = {} if field.default is msgspec.NODEFAULT else {"default": field.default}
        typed = _type(field.type, named)
        fields.append({"name": field.name, "type": typed, "doc": comments[field.name], **default})
    doc = (inspect.getdoc(kind) or "").partition("\n")[0]
    return {"type": "record", "name": kind.__name__, "namespace": NAMESPACE, "doc": doc, "fields": fields}


def _type(kind: Any, named: set[str]) -> Any:  # noqa: ANN401  # a type of a field, and a piece of a schema
    if kind is Any:
        return [*_PLAIN.values(), _once("Json", _JSON, named)]
    if get_origin(kind) in (Union, UnionType):  # what is None by itself needs null first
        kinds = sorted(get_args(kind), key=lambda one: (one is not NoneType, str(one)))
        return [_type(one, named) for one in kinds]
    if get_origin(kind) is Literal:
        return "string"  # no enumeration: a reader takes a word that a later worker has added
    return _PLAIN[kind] if kind in _PLAIN else _once(kind.__name__, kind, named)


def _once(name: str, described: Any, named: set[str]) -> Any:  # noqa: ANN401  # a struct or a piece of a schema
    """A record where it is met first, and its name from then on."""
    if name in named:
        return f"{NAMESPACE}.{name}"
    named.add(name)
    return described if isinstance(described, dict) else _record(described, named)


def main(arguments: list[str]) -> str | None:
    """Write the file, or with `--check` say whether it is stale."""
    if arguments == ["--check"]:
        stale = not FILE.is_file() or FILE.read_bytes() != rendered()
        return f"not current: {FILE.name}; run python -m bisupervised.schemas.avroschema" if stale else None
    if arguments:
        return "usage: python -m bisupervised.schemas.avroschema [--check]"
    FILE.write_bytes(rendered())
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
