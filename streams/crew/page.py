"""One page for all processes: at the address of `[web]`, with the guard of a single worker's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from ..web.listening import listen
from ..web.responses import add_files, as_json
from ..web.security import AccessPolicy, guard
from .door import Answer, Door, SilentError
from .merging import merged
from .plan import PagePlan

#: seconds that requests under way may take when the command stops
_GRACE_S = 0.5


class Page:
    """Asks the processes, and shows what they say. Nothing but the parent can ask them."""

    def __init__(self, plan: PagePlan, doors: Sequence[Door], static: Mapping[str, tuple[bytes, str]]) -> None:
        self._plan = plan
        self._doors = {door.number: door for door in doors}
        self._files = static
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """The routes of a single worker, behind the same guard."""
        plan = self._plan
        app = web.Application(middlewares=[guard(AccessPolicy(plan.host, plan.hosts, plan.token))])
        add_files(app, self._files)
        app.router.add_get("/api/status", self._status)
        app.router.add_get("/pictures/{name:[0-9a-f]+}", self._picture)
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def start(self) -> None:
        """Listen, and begin to ask."""
        for door in self._doors.values():
            door.open()
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_GRACE_S)
        await self._runner.setup()
        await listen(self._runner, self._plan.host, self._plan.port, self._plan.never)

    async def stop(self) -> None:
        """Listen and ask no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        for door in self._doors.values():
            await door.close()

    async def _status(self, request: web.Request) -> web.Response:
        """The document of one process, and how all are. Where it does not answer, only that."""
        door = self._asked(request)
        try:
            answer = await door.ask("/api/status")
        except SilentError:
            return as_json({"crew": self._crew(door, silent=True)}, 503)
        if answer.status != 200:
            return _passed_on(answer)
        document = orjson.loads(answer.body) | {"crew": self._crew(door)}
        for record in document["fallbacks"]:
            if record["picture"] is not None:
                record["picture"] += f"?process={door.number}"
        return as_json(document)

    async def _picture(self, request: web.Request) -> web.Response:
        door = self._asked(request)
        try:
            return _passed_on(await door.ask(f"/pictures/{request.match_info['name']}"))
        except SilentError:
            raise web.HTTPServiceUnavailable from None

    async def _live(self, request: web.Request) -> web.Response:
        dead = [number for number, door in self._doors.items() if not door.health.live]
        return as_json({"live": not dead, "reasons": self._reasons(dead)}, 503 if dead else 200)

    async def _ready(self, request: web.Request) -> web.Response:
        reasons = self._reasons(self._doors)
        return as_json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        texts = dict(await asyncio.gather(*map(_metrics_of, self._doors.values())))
        body = await asyncio.to_thread(merged, texts)  # many samples take long, and the page is not to wait
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    def _asked(self, request: web.Request) -> Door:
        """The process that a request is about; the first where it names none."""
        number = request.query.get("process", "1")
        door = next((door for door in self._doors.values() if str(door.number) == number), None)
        if door is None:
            raise web.HTTPNotFound
        return door

    def _crew(self, shown: Door, *, silent: bool = False) -> dict[str, Any]:
        states = {str(number): door.health.state for number, door in self._doors.items()}
        if silent:
            states[str(shown.number)] = "silent"
        return {"process": shown.number, "states": states}

    def _reasons(self, numbers: Iterable[int]) -> list[str]:
        return [f"process {number}: {reason}" for number in numbers for reason in self._doors[number].health.reasons]


async def _metrics_of(door: Door) -> tuple[int, str | None]:
    try:
        answer = await door.ask("/metrics")
    except SilentError:
        return door.number, None
    return door.number, answer.body.decode() if answer.status == 200 else None


def _passed_on(answer: Answer) -> web.Response:
    return web.Response(body=answer.body, content_type=answer.media_type, status=answer.status)
