"""What a worker shows of itself, made from the settings: health always, the server where it is enabled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ..health import Health, HealthPolicy
from ..settings import Settings
from ..web_token import web_token
from .security import AccessPolicy
from .server import WebPolicy, WebServer
from .status import About
from .watch import Watch, Watched


@dataclass(frozen=True, slots=True)
class Face:
    """Started before anything can take long, stopped last."""

    health: Health
    server: WebServer | None  #: None where it is switched off

    async def start(self) -> None:
        """Listen."""
        if self.server is not None:
            await self.server.start()

    async def stop(self) -> None:
        """Listen no more."""
        if self.server is not None:
            await self.server.stop()


def make_face(settings: Settings, watched: Sequence[Watched], metrics: Callable[[], bytes] | None = None) -> Face:
    """`metrics` renders them in Prometheus' text format. Raises `ValueError` where the token cannot be read."""
    web, names = settings.web, tuple(one.name for one in watched)
    health = Health(HealthPolicy(web.stalled_s), names, time.monotonic())
    if not web.enabled:
        return Face(health, None)
    about = About(
        name=settings.name,
        version=_version(),
        agents=names,
        started_ms=time.time() * 1000.0,
        price_per_call=settings.remote.price_per_call,
        stalled_s=web.stalled_s,
    )
    access = AccessPolicy(web.host, tuple(name.lower() for name in web.hosts), web_token(web))
    policy = WebPolicy(access, web.port, settings.request.input, web.image_shape)
    return Face(health, WebServer(policy, about, Watch(watched, health), metrics))


def _version() -> str:
    try:
        return version("bisupervised")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
