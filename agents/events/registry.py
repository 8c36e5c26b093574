"""Schemas from a registry that speaks Confluent's REST interface, as Apicurio, Karapace and Redpanda do as well.

A schema has an id and never changes, so what was fetched once is kept. That a registry says "there is no such schema",
and that it says nothing that can be understood, are two things: the first is about a record, the second about itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from ...schemas.errors import BiSupervisedError, RemoteFailure
from ..remote.transport import Response, Transport

#: what a registry says of an id, a subject or a version that it does not have
_NOT_THERE = frozenset({40401, 40402, 40403})
#: schemas that one may refer to, on all ways together
_MOST_REFERENCES = 100
_TYPE = "application/vnd.schemaregistry.v1+json"
_HEADERS = {"accept": f"{_TYPE}, application/json"}
#: characters of what a registry says about a schema that it refuses
_TOLD_CHARS = 300


class RegistryUnavailable(BiSupervisedError):
    """The registry cannot be asked now, or says nothing that a registry says. Nothing is known about the schema."""


class SchemaUnknown(BiSupervisedError):
    """The registry has no such schema, or none that can be used. The message says why."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as it was registered."""

    kind: str  #: AVRO, PROTOBUF or JSON
    text: str
    #: name and text of the schemas that it refers to, those first that others refer to
    references: tuple[tuple[str, str], ...] = ()


#: opens a transport for a few questions: schemas are fetched too seldom to keep a connection
Connecting = Callable[[], AbstractAsyncContextManager[Transport]]


class Registry:
    """Asks a registry for schemas."""

    def __init__(self, url: str, connect: Connecting, timeout_s: float) -> None:
        self._url = url
        self._connect = connect
        self._timeout_s = timeout_s

    async def schema(self, identity: int) -> Schema:
        """The schema of this id. Raises `SchemaUnknown` and `RegistryUnavailable`."""
        async with self._connect() as transport:
            found = await self._get(transport, f"/schemas/ids/{identity}", f"schema {identity}")
            references: dict[str, str] = {}
            await self._collect(transport, found, references)
        return Schema(str(found.get("schemaType") or "AVRO"), _text(found), tuple(references.items()))

    async def identity(self, subject: str, text: str, *, register: bool) -> int:
        """The id of an Avro schema under a subject. `register`: it is put there where it is not.

        Raises `SchemaUnknown` where it is not there and is not to be put there, or where the registry does not take it,
        and `RegistryUnavailable`.
        """
        path = f"/subjects/{quote(subject, safe='')}" + ("/versions" if register else "")
        async with self._connect() as transport:
            response = await self._ask(transport, path, orjson.dumps({"schema": text}))
        found = _parsed(response)
        if response.succeeded and isinstance(found, dict) and isinstance(found.get("id"), int):
            return int(found["id"])
        if isinstance(found, dict) and found.get("error_code") in _NOT_THERE:
            raise SchemaUnknown(f"has no such schema under the subject {subject}")
        if response.status in (409, 422):
            told = found.get("message", "") if isinstance(found, dict) else ""
            raise SchemaUnknown(f"does not take the schema under the subject {subject}: {str(told)[:_TOLD_CHARS]}")
        raise RegistryUnavailable(f"answers {response.status} about the subject {subject}{_hint(response.status)}")

    async def kinds(self) -> list[str]:
        """The kinds of schemas that it takes. Raises `RegistryUnavailable`."""
        async with self._connect() as transport:
            response = await self._ask(transport, "/schemas/types")
        kinds = _parsed(response) if response.succeeded else None
        if not isinstance(kinds, list):
            raise RegistryUnavailable(f"does not say which kinds of schemas it takes: status {response.status}")
        return [str(kind) for kind in kinds]

    async def _collect(self, transport: Transport, found: dict[str, Any], references: dict[str, str]) -> None:
        """What a schema refers to, and what that refers to, first."""
        for one in found.get("references") or ():
            name, subject, version = one["name"], one["subject"], one["version"]
            if name in references:
                continue
            if len(references) >= _MOST_REFERENCES:
                raise SchemaUnknown(f"refers to more than {_MOST_REFERENCES} others")
            path = f"/subjects/{quote(str(subject), safe='')}/versions/{int(version)}"
            further = await self._get(transport, path, f"version {version} of {subject}, which it refers to")
            references[name] = ""  # it is on its way: a circle ends here
            await self._collect(transport, further, references)
            del references[name]
            references[name] = _text(further)

    async def _get(self, transport: Transport, path: str, what: str) -> dict[str, Any]:
        response = await self._ask(transport, path)
        found = _parsed(response)
        if response.succeeded and isinstance(found, dict) and isinstance(found.get("schema"), str):
            return found
        if response.status == 404 and isinstance(found, dict) and found.get("error_code") in _NOT_THERE:
            raise SchemaUnknown(f"the registry has no {what}")
        raise RegistryUnavailable(f"answers {response.status} when it is asked for {what}{_hint(response.status)}")

    async def _ask(self, transport: Transport, path: str, body: bytes | None = None) -> Response:
        headers = _HEADERS if body is None else _HEADERS | {"content-type": _TYPE}
        method = "GET" if body is None else "POST"
        try:
            return await transport.post(self._url + path, body or b"", headers, self._timeout_s, method=method)
        except RemoteFailure as error:
            raise RegistryUnavailable(str(error)) from error


def _hint(status: int) -> str:
    if status in (401, 403):
        return ": see [registry] username and password"
    return ": is [registry] url the address of a schema registry?" if status in (200, 404, 405) else ""


def _text(found: dict[str, Any]) -> str:
    return str(found["schema"])


def _parsed(response: Response) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
