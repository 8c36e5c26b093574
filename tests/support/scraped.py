"""A worker whose metrics are served on loopback: `python -m support.scraped --config FILE [--agents local,…]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path
from typing import Any, cast

import faust
from aiohttp import web
from bisupervised.agents.agents import LocalAgent
from bisupervised.streams.flow import AGENTS, AgentName
from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.telemetry.exposition import render
from bisupervised.streams.telemetry.logs import configure
from bisupervised.streams.worker.app import create_app
from mode import Service
from support.crashing_agent import crash

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--agents", default=",".join(AGENTS))
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--crashing", action="store_true", help="a local agent with a fault")
    arguments = parser.parse_args()
    if arguments.crashing:
        LocalAgent.run = crash  # type: ignore[method-assign]  # this is what it is for
    configuration = load_configuration(arguments.config)
    configure(configuration.settings.log.level, as_json=True)
    app = create_app(configuration, cast("list[AgentName]", arguments.agents.split(",")))

    @app.service
    class _Metrics(Service):
        async def on_start(self) -> None:
            async def metrics(request: web.Request) -> web.Response:
                return web.Response(body=render(app.telemetry.view()))

            served = web.Application()
            served.router.add_get("/metrics", metrics)
            self._runner = web.AppRunner(served, access_log=None)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", arguments.port).start()
            port: Any = self._runner.addresses[0][1]
            log.info("metrics on port %d", port, extra={"action": "metrics_served", "port": port})

        async def on_stop(self) -> None:
            await self._runner.cleanup()

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = faust.Worker(app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
