"""The page over HTTP: its files, and what a person does on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from ..web.page_files import read_page
from ..web.responses import add_files, as_json
from ..web.security import AccessPolicy
from .desk import Desk, Gone, Unfit
from .kafka import NotReached
from .reviewers import Reviewers
from .security import WHO, guard, let_in, let_out

#: bytes of a request's body, at most
_MOST_BODY = 64 * 1024
_HERE = {
    "/": ("index.html", "text/html"),
    "/review.css": ("review.css", "text/css"),
    "/review.js": ("review.js", "text/javascript"),
    "/show.js": ("show.js", "text/javascript"),
}
#: nothing of a picture may act, however it is opened
_PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Content-Disposition": "inline; filename=input",
}


def read_static() -> dict[str, tuple[bytes, str]]:
    """The files of the page: body and media type by path. Reads from disk, so call it where no event loop runs."""
    return read_page(__package__, _HERE)


class ReviewServer:
    """The routes, behind the guard."""

    def __init__(
        self,
        policy: AccessPolicy,
        reviewers: Callable[[], Reviewers],
        desk: Desk,
        static: Mapping[str, tuple[bytes, str]],
    ) -> None:
        self._policy, self._reviewers, self._desk, self._files = policy, reviewers, desk, static

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application(middlewares=[guard(self._policy, self._reviewers)], client_max_size=_MOST_BODY)
        add_files(app, self._files)
        app.router.add_get("/live", self._live)
        app.router.add_get("/pictures/{name}", self._picture)
        app.router.add_post("/api/login", self._login)
        app.router.add_post("/api/logout", self._logout)
        app.router.add_post("/api/{step:next|label|skip|skipped|undo}", self._step)
        return app

    async def _live(self, _: web.Request) -> web.Response:
        return as_json({"live": True})

    async def _picture(self, request: web.Request) -> web.Response:
        picture = self._desk.picture(request[WHO], request.match_info["name"])
        if picture is None:
            raise web.HTTPNotFound
        return web.Response(body=picture.body, content_type=picture.media_type, headers=_PICTURE_HEADERS)

    async def _login(self, request: web.Request) -> web.Response:
        token = (await _body(request)).get("token")
        who = self._reviewers().who(token.strip()) if isinstance(token, str) else None
        if who is None or not isinstance(token, str):
            return as_json({"error": "nobody has this token"}, 401)
        response = as_json({"who": who})
        let_in(request, response, token.strip())
        return response

    async def _logout(self, _: web.Request) -> web.Response:
        response = as_json({})
        let_out(response)
        return response

    async def _step(self, request: web.Request) -> web.Response:
        body = await _body(request)
        try:
            return as_json(await self._do(request.match_info["step"], request[WHO], body))
        except Unfit as error:
            return as_json({"error": str(error)}, 422)
        except Gone as error:
            return as_json({"error": str(error)}, 409)
        except NotReached as error:
            return as_json({"error": str(error)}, 503)

    async def _do(self, step: str, who: str, body: Mapping[str, Any]) -> dict[str, Any]:
        desk = self._desk
        if step == "label":
            return await desk.label(who, _source(body), body.get("truth"))
        if step == "skip":
            return await desk.skip(who, _source(body))
        if step == "skipped":
            return await desk.skipped(who)
        return await (desk.undo(who) if step == "undo" else desk.next(who))


async def _body(request: web.Request) -> dict[str, Any]:
    """Raises `web.HTTPBadRequest` for what is no JSON object."""
    try:
        document = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise web.HTTPBadRequest(reason="the body must be a JSON object")
    return document


def _source(body: Mapping[str, Any]) -> str:
    source = body.get("source")
    if not isinstance(source, str):
        raise Unfit("source: which input is it?")
    return source
