"""What the pages that we serve have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web


def add_files(app: web.Application, files: Mapping[str, tuple[bytes, str]]) -> None:
    """Serve these files: body and media type by path."""

    async def file(request: web.Request) -> web.Response:
        body, kind = files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    for path in files:
        app.router.add_get(path, file)


def as_json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    """The document as an answer."""
    return web.Response(body=orjson.dumps(document), content_type="application/json", status=status)
