"""What a schema registry must answer, and what a worker makes of it.

The tests ask the one in `support.registry`, `make conformance` asks Apicurio.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from bisupervised.agents.events.reading import Kind, RegistryReader
from bisupervised.agents.events.registry import Registry, SchemaUnknown
from bisupervised.agents.events.results import ResultReader, ResultWriter
from bisupervised.agents.remote.transport import AiohttpTransport
from bisupervised.schemas.codec import decode_result
from bisupervised.schemas.errors import InvalidRequest
from bisupervised.schemas.records import Result, Source
from fastavro import parse_schema, schemaless_writer
from support.registry import framed

#: asks a registry at this address, under subjects of its own; returns what it saw
Case = Callable[[str], Awaitable[str]]

_FIELDS = '{"name": "id", "type": "long"}, {"name": "text", "type": "string"}'
REVIEW = f'{{"type": "record", "name": "Review", "namespace": "shop", "fields": [{_FIELDS}]}}'
LATER = REVIEW.removesuffix("]}") + ', {"name": "stars", "type": "int", "default": 0}]}'
OTHER = '{"type": "record", "name": "Review", "namespace": "shop", "fields": [{"name": "price", "type": "long"}]}'
ORDER = (
    '{"type": "record", "name": "Order", "namespace": "shop", "fields": '
    '[{"name": "text", "type": "string"}, {"name": "of", "type": "shop.Review"}]}'
)
PROTO = 'syntax = "proto3"; package shop; message Review { int32 id = 1; string text = 2; }'
_UNKNOWN = 987_654


def registry_at(url: str) -> Registry:
    """As a worker asks it."""

    @asynccontextmanager
    async def connect() -> Any:
        transport = AiohttpTransport(connections=1)
        try:
            yield transport
        finally:
            await transport.close()

    return Registry(url, connect, 30.0)


async def put(url: str, subject: str, schema: str, **more: Any) -> int:
    """Register it as a producer's serializer does, and say its id."""
    transport = AiohttpTransport(connections=1)
    body = orjson.dumps({"schema": schema, **more})
    headers = {"content-type": "application/vnd.schemaregistry.v1+json"}
    try:
        response = await transport.post(f"{url}/subjects/{subject}/versions", body, headers, 30.0)
    finally:
        await transport.close()
    assert response.status == 200, response.body
    return int(orjson.loads(response.body)["id"])


def avro(schema: str, identity: int, document: dict[str, Any]) -> bytes:
    """An event as a serializer writes it."""
    written = io.BytesIO()
    schemaless_writer(written, parse_schema(orjson.loads(schema)), document)
    return framed(identity, written.getvalue())


async def read(url: str, kind: Kind, *values: bytes) -> list[Any]:
    """The documents, or why a value is none."""
    reader = RegistryReader(kind, registry_at(url))
    await reader.ready(values)
    return [_document(reader, value) for value in values]


def _document(reader: RegistryReader, value: bytes) -> Any:
    try:
        return reader.read(value)
    except InvalidRequest as error:
        return str(error)


async def which_kinds(url: str) -> str:
    """`check --connect` asks that."""
    kinds = await registry_at(url).kinds()
    assert {"AVRO", "PROTOBUF"} <= set(kinds), kinds
    return ", ".join(sorted(kinds))


async def evolution(url: str) -> str:
    """Two versions of a schema have two ids, and the events of both are read side by side."""
    ids = [await put(url, "evolution-value", schema) for schema in (REVIEW, LATER, REVIEW)]
    assert ids[0] == ids[2] != ids[1], ids
    document = {"id": 1, "text": "late", "stars": 4}
    found = await read(url, "AVRO", avro(REVIEW, ids[0], document), avro(LATER, ids[1], document))
    assert found == [{"id": 1, "text": "late"}, document], found
    return f"schemas {ids[0]} and {ids[1]}"


async def references(url: str) -> str:
    """What a schema refers to is fetched with it."""
    await put(url, "shop.Review", REVIEW)
    told = [{"name": "shop.Review", "subject": "shop.Review", "version": 1}]
    identity = await put(url, "orders-value", ORDER, references=told)
    schema = await registry_at(url).schema(identity)
    assert [name for name, _ in schema.references] == ["shop.Review"], schema
    [found] = await read(url, "AVRO", framed(identity, b"\x04hi\x02\x06bad"))
    assert found == {"text": "hi", "of": {"id": 1, "text": "bad"}}, found
    return f"schema {identity} with {schema.references[0][0]}"


async def protobuf(url: str) -> str:
    """Its sources are compiled, and its kind is told."""
    identity = await put(url, "protobuf-value", PROTO, schemaType="PROTOBUF")
    value = framed(identity, b"\x00\x08\x07\x12\x04late")
    [found] = await read(url, "PROTOBUF", value)
    assert found == {"id": 7, "text": "late"}, found
    [other] = await read(url, "AVRO", value)
    assert "that is of kind PROTOBUF, not AVRO" in other, other
    return str(found)


async def unknown_schema(url: str) -> str:
    """The record is to blame, not the registry."""
    [found] = await read(url, "AVRO", framed(_UNKNOWN, b"x"))
    assert found == f"the value names schema {_UNKNOWN}, and the registry has no schema {_UNKNOWN}", found
    return str(found)


async def not_registered(url: str) -> str:
    """Who may not register looks a schema up: neither a subject nor a schema that is missing is an outage."""
    registry = registry_at(url)
    await put(url, "looked-up-value", REVIEW)
    for subject in ("nobody-value", "looked-up-value"):
        with pytest.raises(SchemaUnknown, match="has no such schema under the subject"):
            await registry.identity(subject, OTHER, register=False)
    return str(await registry.identity("looked-up-value", REVIEW, register=False))


async def results(url: str) -> str:
    """A worker registers the schema of results, and who reads JSON reads them; a second worker finds the same id."""
    writers = [ResultWriter(registry_at(url), "results-value", register=True) for _ in range(2)]
    for writer in writers:
        await writer.settle()
    result = Result(Source("requests", 0, 1), {"a": [1]}, "local", 0.9, 0.8)
    first, second = (writer(result) for writer in writers)
    assert first == second, "one schema, one id"
    reader = ResultReader(registry_at(url))
    await reader.ready([first])
    back = decode_result(reader.as_json(first) or b"")
    assert (back.source, back.prediction) == (result.source, result.prediction), back
    return f"{len(first)} bytes"


async def incompatible(url: str) -> str:
    """A schema that the subject's rule refuses is told in the registry's words, and nothing is registered."""
    await put(url, "strict-value", REVIEW)
    transport = AiohttpTransport(connections=1)
    headers = {"content-type": "application/vnd.schemaregistry.v1+json"}
    try:
        body = b'{"compatibility": "BACKWARD"}'
        response = await transport.post(f"{url}/config/strict-value", body, headers, 30.0, method="PUT")
    finally:
        await transport.close()
    assert response.status == 200, response.body
    told: list[str] = []
    for schema in (OTHER, "nonsense"):
        with pytest.raises(
            SchemaUnknown, match=r"^does not take the schema under the subject strict-value: ."
        ) as error:
            await registry_at(url).identity("strict-value", schema, register=True)
        told.append(str(error.value))
    return "; ".join(told)


CASES: tuple[Case, ...] = (
    which_kinds,
    evolution,
    references,
    protobuf,
    unknown_schema,
    not_registered,
    results,
    incompatible,
)
