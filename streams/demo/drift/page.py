"""The page of the drift example: three pipelines beside each other, while they run. It changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web

from ... import web as worker_page
from ...web.listening import listening
from ...web.security import AccessPolicy, guard

_HOST = "127.0.0.1"
_HERE = {
    "/": ("index.html", "text/html"),
    "/drift.css": ("drift.css", "text/css"),
    "/drift.js": ("drift.js", "text/javascript"),
}
_SHARED = {"/base.css": ("base.css", "text/css"), "/icon.svg": ("icon.svg", "image/svg+xml")}
#: a page asks once a second: one that asked so many seconds ago is still open, and sees the end
_OPEN_S = 2.0


def read_static() -> dict[str, tuple[bytes, str]]:
    """The files of the page: body and media type by path. Reads from disk, so call it where no event loop runs."""
    own, shared = files(__package__) / "static", files(worker_page) / "static"
    found = {path: ((own / name).read_bytes(), kind) for path, (name, kind) in _HERE.items()}
    return found | {path: ((shared / name).read_bytes(), kind) for path, (name, kind) in _SHARED.items()}


class Page:
    """Serves what `told` says, on this machine alone."""

    def __init__(self, told: Callable[[], Mapping[str, Any]], static: Mapping[str, tuple[bytes, str]]) -> None:
        self._told, self._files = told, static
        self._asked_at = -_OPEN_S

    def application(self) -> web.Application:
        """The routes, behind the guard of the worker's page."""
        app = web.Application(middlewares=[guard(AccessPolicy(_HOST))])
        for path in self._files:
            app.router.add_get(path, self._file)
        app.router.add_get("/api/drift", self._drift)
        return app

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yields the address. Where a page is open at the end, it is shown the last figures."""
        async with listening(self.application(), _HOST, 0) as url:
            yield url
            if time.monotonic() - self._asked_at < _OPEN_S:
                await asyncio.sleep(_OPEN_S)

    async def _file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _drift(self, _: web.Request) -> web.Response:
        self._asked_at = time.monotonic()
        return web.Response(body=orjson.dumps(self._told()), content_type="application/json")
