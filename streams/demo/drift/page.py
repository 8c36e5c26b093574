"""The page of the drift example: three pipelines beside each other, while they run. It changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from ...web.listening import listening
from ...web.page_files import read_page
from ...web.responses import add_files, as_json
from ...web.security import AccessPolicy, guard

_HOST = "127.0.0.1"
_HERE = {
    "/": ("index.html", "text/html"),
    "/drift.css": ("drift.css", "text/css"),
    "/drift.js": ("drift.js", "text/javascript"),
}
#: a page asks once a second: one that asked so many seconds ago is still open, and sees the end
_OPEN_S = 2.0


def read_static() -> dict[str, tuple[bytes, str]]:
    """The files of the page: body and media type by path. Reads from disk, so call it where no event loop runs."""
    return read_page(__package__, _HERE)


class Page:
    """Serves what `told` says, on this machine alone."""

    def __init__(self, told: Callable[[], Mapping[str, Any]], static: Mapping[str, tuple[bytes, str]]) -> None:
        self._told, self._files = told, static
        self._asked_at = -_OPEN_S

    def application(self) -> web.Application:
        """The routes, behind the guard of the worker's page."""
        app = web.Application(middlewares=[guard(AccessPolicy(_HOST))])
        add_files(app, self._files)
        app.router.add_get("/api/drift", self._drift)
        return app

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yields the address. Where a page is open at the end, it is shown the last figures."""
        async with listening(self.application(), _HOST, 0) as url:
            yield url
            if time.monotonic() - self._asked_at < _OPEN_S:
                await asyncio.sleep(_OPEN_S)

    async def _drift(self, _: web.Request) -> web.Response:
        self._asked_at = time.monotonic()
        return as_json(self._told())
