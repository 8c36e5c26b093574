"""What a worker shows of itself, made from the settings: health always, the server where it is enabled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from socket import socket
from urllib.parse import urlsplit

from ..settings.secret import one_word
from ..settings.tables import Settings
from ..telemetry.exposition import render
from ..telemetry.health import Health, HealthPolicy
from ..telemetry.monitor import Monitor
from ..telemetry.release import release
from .page_files import read_static
from .security import AccessPolicy, is_loopback
from .server import WebPolicy, WebServer
from .status import About
from .watch import Watch


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among the processes of one command, which shows the pages of all at one address (`crew/`)."""

    process: int  #: counted from 1
    listener: socket | None  #: on loopback, where that command asks; None where nothing is served
    secret: str = field(repr=False)  #: what it shows to see records, which nobody else knows


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


def make_site(settings: Settings, agents: Sequence[str], monitor: Monitor, place: Place | None = None) -> Site:
    """With a `place`, for the command that asks there, and nobody else. Raises `ValueError` where the token cannot be
    read.
    """
    web = settings.web
    health = Health(HealthPolicy(web.stalled_s), agents)
    if not web.enabled:
        return Site(health, None)
    access = access_to(settings) if place is None else AccessPolicy("127.0.0.1", (), place.secret)
    listener = None if place is None else place.listener
    policy = WebPolicy(access, web.port, settings.request.input, web.image_shape, ports_of_remote(settings), listener)
    about = About(settings.name, release(), tuple(agents))
    watch = Watch(monitor, health)
    return Site(health, WebServer(policy, about, watch, lambda: render(monitor.view()), read_static()))


def access_to(settings: Settings) -> AccessPolicy:
    """Who may see the page. Raises `ValueError` where the token cannot be read."""
    web = settings.web
    return AccessPolicy(web.host, tuple(name.lower() for name in web.hosts), one_word(web, "token"))


def ports_of_remote(settings: Settings) -> frozenset[int]:
    """The remote's port, where it is on this machine: on it, a worker that starts first would ask itself."""
    remote = urlsplit(settings.remote.url)
    host = (remote.hostname or "").rstrip(".")
    if not is_loopback(host) and host != settings.web.host:
        return frozenset()
    return frozenset({remote.port or (443 if remote.scheme == "https" else 80)})
