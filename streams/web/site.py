"""What a worker shows of itself, made from the settings: health always, the server where it is enabled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..settings.secret import one_word
from ..settings.tables import Settings
from ..telemetry.exposition import render
from ..telemetry.health import Health, HealthPolicy
from ..telemetry.monitor import Monitor
from ..telemetry.release import release
from .security import AccessPolicy, is_loopback
from .server import WebPolicy, WebServer, read_static
from .status import About
from .watch import Watch


@dataclass(frozen=True, slots=True)
class Site:
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


def make_site(settings: Settings, agents: Sequence[str], monitor: Monitor) -> Site:
    """Raises `ValueError` where the token cannot be read."""
    web = settings.web
    health = Health(HealthPolicy(web.stalled_s), agents)
    if not web.enabled:
        return Site(health, None)
    access = AccessPolicy(web.host, tuple(name.lower() for name in web.hosts), one_word(web, "token"))
    policy = WebPolicy(access, web.port, settings.request.input, web.image_shape, _ports_of_remote(settings))
    about = About(settings.name, release(), tuple(agents))
    watch = Watch(monitor, health)
    return Site(health, WebServer(policy, about, watch, lambda: render(monitor.view()), read_static()))


def _ports_of_remote(settings: Settings) -> frozenset[int]:
    """The remote's port, where it is on this machine: on it, a worker that starts first would ask itself."""
    remote = urlsplit(settings.remote.url)
    host = (remote.hostname or "").rstrip(".")
    if not is_loopback(host) and host != settings.web.host:
        return frozenset()
    return frozenset({remote.port or (443 if remote.scheme == "https" else 80)})
