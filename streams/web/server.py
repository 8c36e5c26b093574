"""The worker's web server: the page with its data and pictures, health, metrics. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from ..telemetry.exposition import CONTENT_TYPE
from .listening import listen
from .pictures import Gallery
from .responses import add_files, as_json
from .security import AccessPolicy, guard
from .status import About, last_fallbacks, status, whole_values
from .watch import Watch

if TYPE_CHECKING:
    from socket import socket

#: seconds that requests under way may take when the worker stops
_GRACE_S = 0.5


@dataclass(frozen=True, slots=True)
class WebPolicy:
    """Where to listen, who has access, and how inputs are shown."""

    access: AccessPolicy
    port: int  #: the first port to try; 0 takes a free one
    input_field: str = (
        "input"  #: field of a request with its input, or the way to it; empty where the whole value is the input
    )
    image_shape: tuple[int, ...] = ()  #: shape of inputs that are flat lists
    never: frozenset[int] = frozenset()  #: ports of others on this machine, which may not have started yet
    listener: socket | None = None  #: where to listen instead, where somebody else shows the page


class WebServer:
    """Serves what a `Watch` sees. Where no port is free, the worker runs without it."""

    def __init__(
        self,
        policy: WebPolicy,
        about: About,
        watch: Watch,
        metrics: Callable[[], bytes],
        static: Mapping[str, tuple[bytes, str]],
    ) -> None:
        self.url: str | None = None  #: None while it does not listen
        self._policy = policy
        self._about = about
        self._watch = watch
        self._metrics = metrics
        self._gallery = Gallery(policy.input_field, policy.image_shape)
        self._files = static
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"<WebServer {self.url or 'not listening'}>"

    def application(self) -> web.Application:
        """The web application: the routes, behind the guard."""
        app = web.Application(middlewares=[guard(self._policy.access)])
        add_files(app, self._files)
        app.router.add_get("/api/status", self._status)
        app.router.add_get("/pictures/{name}", self._picture)
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics_page)
        return app

    async def start(self) -> None:
        """Listen on the port of the settings, or on the next free one."""
        self._watch.start()
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_GRACE_S)
        self._runner = runner
        await runner.setup()
        policy = self._policy
        if policy.listener is not None:
            await web.SockSite(runner, policy.listener).start()
        else:
            self.url = await listen(runner, policy.access.host, policy.port, policy.never)

    async def stop(self) -> None:
        """Stop listening, and stop the watch."""
        await self._watch.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        watch = self._watch
        pictures = self._gallery.show(whole_values(last_fallbacks(watch.view)))
        return as_json(status(self._about, watch.view, watch.reasons(), watch.history, pictures))

    async def _picture(self, request: web.Request) -> web.Response:
        picture = self._gallery.get(request.match_info["name"])
        if picture is None:
            raise web.HTTPNotFound
        return web.Response(body=picture.body, content_type=picture.media_type)

    async def _live(self, request: web.Request) -> web.Response:
        """Liveness. Any answer shows that the event loop runs."""
        reasons = [] if self._watch.health.alive else self._watch.reasons()
        return as_json({"live": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _ready(self, request: web.Request) -> web.Response:
        reasons = self._watch.reasons()
        return as_json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})
