"""Avro: a schema as a function from bytes to a document of JSON. Needs the extra `registry`.

Bytes become Base64; decimals, dates, times and UUIDs become text.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import orjson

from ...schemas.errors import InvalidRequest
from .registry import Schema, SchemaUnknown

#: a schema without these yields JSON as it is
_FOREIGN = ('"bytes"', '"fixed"', '"logicalType"')


#: levels of JSON in a schema: fastavro goes down them in C, where nothing bounds the stack
_MOST_LEVELS = 64


def avro_reader(schema: Schema) -> Callable[[bytes], Any]:
    """What reads data of this schema, and raises `InvalidRequest`. Raises `SchemaUnknown` where there is none."""
    parsed, recursive = _parsed(schema)
    schemaless_reader = _reader(recursive=recursive)
    foreign = any(word in text for word in _FOREIGN for text in (schema.text, *(text for _, text in schema.references)))

    def read(data: bytes) -> Any:  # noqa: ANN401  # any JSON value
        stream = BytesIO(data)
        try:
            document = schemaless_reader(stream, parsed, None)
        except Exception as error:  # whatever bytes of others make fastavro raise
            raise InvalidRequest(f"the value is not of its Avro schema: {type(error).__name__}: {error}") from error
        if stream.tell() < len(data):
            raise InvalidRequest(
                f"{len(data) - stream.tell()} bytes are left over behind what its Avro schema describes"
            )
        return _plain(document) if foreign else document

    return read


def checked(schema: Schema) -> Any:  # noqa: ANN401  # as fastavro keeps it
    """The schema, to read data with that name it. Raises `SchemaUnknown` where it cannot be used."""
    if schema.kind != "AVRO":
        raise SchemaUnknown(f"that is of kind {schema.kind}, not AVRO")
    parsed, recursive = _parsed(schema)
    if recursive:
        raise SchemaUnknown("holds itself: it is none of a result")
    return parsed


def _reader(*, recursive: bool) -> Any:  # noqa: ANN401  # a function of fastavro's
    """The one in C; for a schema that holds itself, the one in Python: 5 kB of such data overflow the stack of the
    first, and end the process.
    """
    if recursive:
        from fastavro import _read_py

        return _read_py.schemaless_reader
    from fastavro import schemaless_reader

    return schemaless_reader


def _parsed(schema: Schema) -> tuple[Any, bool]:
    """As fastavro keeps it, and whether it holds itself."""
    from fastavro import parse_schema

    named: dict[str, Any] = {}
    try:
        *before, document = [orjson.loads(text) for text in (*(text for _, text in schema.references), schema.text)]
        if max(map(_levels, (*before, document))) > _MOST_LEVELS:
            raise SchemaUnknown(f"has more than {_MOST_LEVELS} levels")
        for one in before:
            parse_schema(one, named)
        parsed = parse_schema(document, named)
        nature = _nature(parsed, named, frozenset())
    except SchemaUnknown:
        raise
    except Exception as error:  # whatever a schema of others makes fastavro raise
        raise SchemaUnknown(f"is no Avro schema that can be used: {type(error).__name__}: {error}") from error
    if "endless" in nature:
        raise SchemaUnknown("has a list of items that take no bytes: a few bytes could claim more of them than fit")
    return parsed, "recursive" in nature


def _levels(document: Any) -> int:  # noqa: ANN401  # any JSON value
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return 1 + max(map(_levels, inner), default=0)


def _nature(schema: Any, named: dict[str, Any], within: frozenset[str]) -> set[str]:  # noqa: ANN401  # any part of one
    """`endless`: a list in it has items of no bytes. `recursive`: a record in it holds itself."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, list):
        return set[str]().union(*(_nature(one, named, within) for one in schema))
    if not isinstance(schema, dict):
        return set()
    kind = schema.get("type")
    if kind == "array":
        empty = _is_empty(schema["items"], named, frozenset())
        return {"endless"} if empty else _nature(schema["items"], named, within)
    if kind == "map":
        return _nature(schema["values"], named, within)
    if kind not in ("record", "error"):
        return _nature(kind, named, within) if isinstance(kind, dict | list) else set()
    if schema["name"] in within:
        return {"recursive"}
    inside = within | {schema["name"]}
    return set[str]().union(*(_nature(field["type"], named, inside) for field in schema["fields"]))


def _is_empty(schema: Any, named: dict[str, Any], within: frozenset[str]) -> bool:  # noqa: ANN401  # any part of one
    """Whether it takes no bytes, whatever its value."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    if schema == "null":
        return True
    if not isinstance(schema, dict):
        return False
    kind = schema.get("type")
    if kind in ("record", "error"):
        inside = within | {schema["name"]}
        return schema["name"] in within or all(_is_empty(field["type"], named, inside) for field in schema["fields"])
    if kind == "fixed":
        return bool(schema["size"] == 0)
    return kind == "null" or (isinstance(kind, dict) and _is_empty(kind, named, within))


def _plain(value: Any) -> Any:  # noqa: ANN401  # what an Avro schema can describe
    """The same as JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID) else value
