"""An application of aiohttp in a thread of its own: tests of commands, which have their own event loops, need one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Thread

from aiohttp import web


@contextmanager
def served(app: web.Application) -> Iterator[str]:
    """Serve it on a free port of 127.0.0.1; gives the URL."""
    told: Queue[str] = Queue()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.put(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await stop.wait()
        await runner.cleanup()

    thread = Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield told.get(timeout=10.0)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
