"""Results in Avro, behind the frame of a schema registry. The schema is `avroschema.py`'s file.

An answer is any JSON value, which Avro has no type for: null, a truth value, a number and text are themselves, and all
else is a record `Json` that holds it as text. So is a whole number of more than 64 bits.

New fields of `Result` go to its end: `head_of` reads the first ones of any version, without a registry. fastavro comes
with the extra `registry`, and is imported only where a value is Avro.
"""

from __future__ import annotations

import math
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import orjson

from .records import VERSION, Result, Source, Verdict

NAMESPACE = "bisupervised"
FILE = Path(__file__).parent / "json" / f"result.v{VERSION}.avsc"

_MAGIC = b"\0"
#: bytes of a frame: a zero, and the schema's id
_FRAME = 5
_LONG = 2**63
_JSON, _VERDICT = f"{NAMESPACE}.Json", f"{NAMESPACE}.Verdict"
#: of whom `head_of` wants to know whether there is a verdict
_REMOTE = "remote"
#: a value in a union, and the name of its type there: fastavro then need not find out
Branch = tuple[str, Any]

_encoder = msgspec.json.Encoder()


@cache
def result_schema() -> str:
    """The schema as it is registered."""
    return FILE.read_text(encoding="utf-8")


def prepare() -> None:
    """Read and parse what encoding and decoding need, so that neither touches a file. Imports fastavro."""
    _parsed()
    _beginnings()


class ResultEncoder:
    """Writes results behind the frame of a schema with this id."""

    def __init__(self, identity: int) -> None:
        from fastavro import schemaless_writer

        self._head = _MAGIC + identity.to_bytes(_FRAME - 1)
        self._write = schemaless_writer
        self._schema = _parsed()

    def __call__(self, result: Result) -> bytes:
        """The value of a record of `results`. Raises what an `EncodeResult` raises."""
        stream = BytesIO()
        stream.write(self._head)
        self._write(stream, self._schema, _document(result))
        return stream.getvalue()


def is_avro(value: bytes) -> bool:
    """It begins like a frame, which no JSON does."""
    return len(value) > _FRAME and value[:1] == _MAGIC


def decode_avro(data: bytes, written: Any) -> Result:  # noqa: ANN401  # a schema as fastavro keeps it
    """The result in what stands behind the frame, written with this schema of ours, or of a version of ours.

    Raises `msgspec.DecodeError` where it is none.
    """
    from fastavro import schemaless_reader

    try:
        document: Any = schemaless_reader(BytesIO(data), written, _parsed())
        for one in (document, document["local"], document["remote"]):
            if one is not None:
                one["prediction"] = _prediction(one["prediction"])
        return msgspec.convert(document, Result)
    except Exception as error:  # whatever bytes and schemas of others make fastavro raise
        raise msgspec.DecodeError(f"the value is no result in Avro: {type(error).__name__}: {error}") from error


def head_of(value: bytes) -> tuple[Source, bool]:
    """Of a framed result of any version: the source, and whether the remote was asked. Needs no registry.

    Raises `msgspec.DecodeError` where it is none.
    """
    try:
        from fastavro import schemaless_reader

        stream, (first, then) = BytesIO(value[_FRAME:]), _beginnings()
        document: Any = schemaless_reader(stream, first, None)
        source = msgspec.convert(document["source"], Source)
        if document["answered_by"] == "remote":
            return source, True
        schemaless_reader(stream, then, None)  # up to the remote verdict: a local answer holds no other
        return source, stream.read(1) not in (b"\0", b"")
    except Exception as error:  # as above; or fastavro is not there any more
        raise msgspec.DecodeError(f"the value is no result in Avro: {type(error).__name__}: {error}") from error


@cache
def _parsed() -> Any:  # noqa: ANN401  # a schema as fastavro keeps it
    from fastavro import parse_schema

    return parse_schema(orjson.loads(result_schema()))


@cache
def _beginnings() -> tuple[Any, Any]:
    """The schema of the fields up to the first verdict, and of those from there to the remote one."""
    from fastavro import parse_schema

    whole = orjson.loads(result_schema())
    fields, names = whole["fields"], [field["name"] for field in whole["fields"]]
    local, remote = names.index("local"), names.index(_REMOTE)
    first = whole | {"fields": fields[:local]}
    # the verdict's answer names a record that only the first part describes
    then = whole | {"fields": [fields[local] | {"type": ["null"]}, *fields[local + 1 : remote]]}
    return parse_schema(first), parse_schema(then)


def _document(result: Result) -> dict[str, Any]:
    document = msgspec.structs.asdict(result)
    source, identity = result.source, result.id
    document["source"] = {"topic": source.topic, "partition": source.partition, "offset": source.offset}
    document["prediction"] = _branch(result.prediction)
    if type(identity) is int and not -_LONG <= identity < _LONG:
        document["id"] = str(identity)
    document["local"] = None if result.local is None else _verdict(result.local)
    document["remote"] = None if result.remote is None else _verdict(result.remote)
    return document


def _verdict(verdict: Verdict) -> Branch:
    document = msgspec.structs.asdict(verdict)
    document["prediction"] = _branch(verdict.prediction)
    return _VERDICT, document


def _branch(value: Any) -> Branch | None:  # noqa: ANN401  # any JSON value
    """The answer in the union. What JSON does not have becomes what it is in a result in JSON."""
    kind = type(value)
    if kind is str:
        return "string", value
    if kind is bool:
        return "boolean", value
    if kind is int and -_LONG <= value < _LONG:
        return "long", value
    if kind is float:
        return ("double", value) if math.isfinite(value) else None
    if value is None:
        return None
    text = _encoder.encode(value)
    if kind in (dict, list, tuple, int):
        return _JSON, {"json": text.decode()}
    read = msgspec.json.decode(text)
    return (_JSON, {"json": text.decode()}) if isinstance(read, dict | list) else _branch(read)


def _prediction(found: Any) -> Any:  # noqa: ANN401  # any JSON value
    return orjson.loads(found["json"]) if isinstance(found, dict) else found
