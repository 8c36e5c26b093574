"""A schema registry as clients see it: Confluent's REST interface, schemas in memory, errors when asked for.

What it answers was compared with confluent-kafka's own client and serializers, which register and write against it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass
class FakeRegistry:
    """Its schemas by id, and what it was asked."""

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failing: web.Response | None = None  #: what it answers to everything, while it is down
    authorization: str = ""  #: what it wants to be shown; '' for nothing
    strict: set[str] = field(default_factory=set)  #: subjects whose later schemas must read what earlier ones wrote

    def register(self, subject: str, schema: str, kind: str = "AVRO", references: list[Any] | None = None) -> int:
        """The id of a schema under a subject; the same where it is there already."""
        document: dict[str, Any] = {"schema": schema}
        document |= {"schemaType": kind} if kind != "AVRO" else {}
        document |= {"references": references} if references else {}
        found = next((one for one, there in self.schemas.items() if there == document), len(self.schemas) + 1)
        self.schemas[found] = document
        versions = self.subjects.setdefault(subject, [])
        if found not in versions:
            versions.append(found)
        return found

    @property
    def app(self) -> web.Application:
        """Its routes."""

        @web.middleware
        async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard])
        app.router.add_get("/schemas/types", self._types)
        app.router.add_put("/config/{subject}", self._configure)
        app.router.add_get("/schemas/ids/{id}", self._by_id)
        app.router.add_post("/subjects/{subject}/versions", self._post)
        app.router.add_post("/subjects/{subject}", self._look_up)
        app.router.add_get("/subjects/{subject}/versions/{version}", self._version)
        return app

    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.failing is not None:
            return web.Response(
                status=self.failing.status, body=self.failing.body, content_type=self.failing.content_type
            )
        if self.authorization and request.headers.get("authorization") != self.authorization:
            return _answer({"error_code": 401, "message": "Unauthorized"}, 401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _types(self, _: web.Request) -> web.Response:
        return _answer(["JSON", "PROTOBUF", "AVRO"])

    async def _by_id(self, request: web.Request) -> web.Response:
        found = self.schemas.get(int(request.match_info["id"]))
        return _missing(40403, "Schema") if found is None else _answer(found)

    async def _post(self, request: web.Request) -> web.Response:
        subject, document = request.match_info["subject"], await request.json()
        kind = document.get("schemaType") or "AVRO"
        if kind == "AVRO" and not _is_json(document["schema"]):
            return _answer({"error_code": 42201, "message": "Invalid schema"}, 422)
        if subject in self.strict and not self._reads_earlier(subject, document["schema"]):
            return _answer({"error_code": 409, "message": "Schema being registered is incompatible"}, 409)
        return _answer({"id": self.register(subject, document["schema"], kind, document.get("references"))})

    async def _configure(self, request: web.Request) -> web.Response:
        document = await request.json()
        if document["compatibility"] == "BACKWARD":
            self.strict.add(request.match_info["subject"])
        return _answer(document)

    def _reads_earlier(self, subject: str, schema: str) -> bool:
        """Whether each field that is new to the last version has a default."""
        versions = self.subjects.get(subject)
        if not versions:
            return True
        earlier = {one["name"] for one in orjson.loads(self.schemas[versions[-1]]["schema"])["fields"]}
        return all("default" in one for one in orjson.loads(schema)["fields"] if one["name"] not in earlier)

    async def _look_up(self, request: web.Request) -> web.Response:
        subject, document = request.match_info["subject"], await request.json()
        for version, identity in enumerate(self.subjects.get(subject, ()), 1):
            if self.schemas[identity]["schema"] == document["schema"]:
                return _answer({"subject": subject, "version": version, "id": identity, **self.schemas[identity]})
        return _missing(40403 if subject in self.subjects else 40401, "Schema")

    async def _version(self, request: web.Request) -> web.Response:
        subject, named = request.match_info["subject"], request.match_info["version"]
        if subject not in self.subjects:
            return _missing(40401, f"Subject '{subject}'")
        versions = self.subjects[subject]
        version = len(versions) if named == "latest" else int(named)
        if not 0 < version <= len(versions):
            return _missing(40402, f"Version {version}")
        identity = versions[version - 1]
        return _answer({"subject": subject, "version": version, "id": identity, **self.schemas[identity]})


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _answer(document: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type=_TYPE)


def _missing(code: int, what: str) -> web.Response:
    return _answer({"error_code": code, "message": f"{what} not found"}, 404)


@asynccontextmanager
async def serving_registry() -> AsyncIterator[FakeRegistry]:
    """The registry on a port of this machine."""
    registry = FakeRegistry()
    runner = web.AppRunner(registry.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    registry.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield registry
    finally:
        await runner.cleanup()


def framed(identity: int, data: bytes) -> bytes:
    """As a registry's serializer writes it."""
    return b"\0" + identity.to_bytes(4) + data
