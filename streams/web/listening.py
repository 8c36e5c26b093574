"""A web application at an address of this machine: for as long as a block runs, or on the first free port."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiohttp import web

log = logging.getLogger(__name__)

#: ports that are tried, beginning with the one in the settings: several workers may share a machine
PORTS = 20
#: seconds that requests under way may take at the end
_GRACE_S = 2.0


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Yields the address. Port 0 takes a free one. Raises `OSError` where nobody may listen there."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield _url(runner, host)
    finally:
        await runner.cleanup()


async def listen(runner: web.AppRunner, host: str, port: int, never: Collection[int] = ()) -> str | None:
    """Listen on this port, or on the next free one; 0 takes any. Returns the address; None where none is free."""
    for tried in range(port, port + PORTS if port else 1):
        if tried in never:
            log.info("the page leaves port %d to the remote", tried, extra={"action": "web_port_taken"})
            continue
        try:
            await web.TCPSite(runner, host, tried).start()
        except OSError as error:
            log.info("the page cannot use port %d: %s", tried, error.strerror, extra={"action": "web_port_taken"})
            continue
        url = _url(runner, host)
        log.info("the page: %s", url, extra={"action": "web_started", "url": url})
        return url
    log.warning("there is no page: no port of %s from %d on is free", host, port, extra={"action": "web_failed"})
    return None


def _url(runner: web.AppRunner, host: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}/"
