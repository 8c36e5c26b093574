from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer, unused_port
from bisupervised.streams.telemetry.health import Health, HealthPolicy
from bisupervised.streams.telemetry.monitor import WorkerView
from bisupervised.streams.web import listening as module
from bisupervised.streams.web.page_files import read_static
from bisupervised.streams.web.security import AccessPolicy
from bisupervised.streams.web.server import WebPolicy, WebServer
from bisupervised.streams.web.status import About
from bisupervised.streams.web.watch import Watch
from support.outcomes import fallen
from support.views import standing, step, whole_worker, worker

pytestmark = pytest.mark.wheel
STATIC = read_static()
SHOWN = orjson.dumps({"input": [[0.0] * 4] * 4})


class Monitor:
    """Tells the view it is given."""

    def __init__(self, view: WorkerView) -> None:
        self.shown = view
        self.answered = {"local": 0.0}
        self.refusal = ""
        self.missing: dict[str, str] = {}

    def view(self) -> WorkerView:
        return self.shown


def server(view: WorkerView | None = None, now: float = 1.0, port: int = 0) -> WebServer:
    """Of a worker with a loaded model whose broker has answered at 0."""
    health = Health(HealthPolicy(stalled_s=30.0), ["local"])
    monitor: Any = Monitor(whole_worker() if view is None else view)
    watch = Watch(monitor, health, lambda: now)
    policy = WebPolicy(AccessPolicy("127.0.0.1"), port)
    return WebServer(policy, About("shop", "1", ("local",)), watch, lambda: b"bisupervised_up 1\n", STATIC)


@asynccontextmanager
async def asked(served: WebServer, *, loaded: bool = True) -> AsyncIterator[TestClient[Any, Any]]:
    if loaded:
        served._watch.health.loaded("local")
    served._watch.look()
    async with TestClient(TestServer(served.application())) as client:
        yield client


async def test_only_these_paths_are_served() -> None:
    async with asked(server()) as client:
        for path in (
            "/",
            "/page.js",
            "/base.css",
            "/page.css",
            "/audit.js",
            "/draw.js",
            "/icon.svg",
            "/api/status",
            "/live",
            "/ready",
            "/metrics",
        ):
            assert (await client.get(path)).status == 200, path
        for path in ("/index.html", "/static/page.js", "/../settings.py", "/%2e%2e/settings.py", "/api", "/pictures/x"):
            response = await client.get(path)
            assert response.status == 404, path
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_each_file_is_served_as_what_it_is() -> None:
    async with asked(server()) as client:
        for path, (body, kind) in STATIC.items():
            response = await client.get(path)
            assert (await response.read(), response.content_type) == (body, kind), path
    assert len({body for body, _ in STATIC.values()}) == len(STATIC)


async def test_the_page_itself_has_no_inline_script_or_style() -> None:
    async with asked(server()) as client:
        page = await (await client.get("/")).text()
    assert page.count("<script") == 1
    assert "style=" not in page
    assert "<style" not in page
    assert "http://" not in page
    assert "https://" not in page


async def test_metrics_are_told_in_their_format() -> None:
    async with asked(server()) as client:
        response = await client.get("/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert await response.read() == b"bisupervised_up 1\n"


async def test_ready_and_live_tell_reasons() -> None:
    async with asked(server()) as client:
        assert await (await client.get("/ready")).json() == {"ready": True, "reasons": []}
        assert await (await client.get("/live")).json() == {"live": True, "reasons": []}


async def test_not_ready_before_the_model_is_loaded_and_alive() -> None:
    async with asked(server(), loaded=False) as client:
        response = await client.get("/ready")
        assert response.status == 503
        assert await response.json() == {"ready": False, "reasons": ["the model of local is not loaded yet"]}
        assert (await client.get("/live")).status == 200


async def test_not_ready_while_the_broker_is_gone() -> None:
    async with asked(server(now=25.0)) as client:
        response = await client.get("/ready")
        assert response.status == 503
        assert (await response.json())["reasons"] == ["the broker has not answered local for 25 s"]


async def test_not_ready_while_a_partition_is_stopped() -> None:
    view = worker(step("local", standings=[standing(2, "stopped")]))
    async with asked(server(view)) as client:
        assert (await (await client.get("/ready")).json())["reasons"] == ["requests-2 is stopped: a reason"]


async def test_not_alive_after_a_plane_has_failed() -> None:
    served = server()
    async with asked(served) as client:
        served._watch.health.failed("a data plane has failed: KafkaError")
        response = await client.get("/live")
        assert response.status == 503
        assert await response.json() == {"live": False, "reasons": ["a data plane has failed: KafkaError"]}


async def test_a_picture_is_served_as_what_it_is_while_its_record_is_shown() -> None:
    async with asked(server(worker(step("remote", fallen(value=SHOWN))))) as client:
        told = await (await client.get("/api/status")).json()
        response = await client.get(told["fallbacks"][0]["picture"])
        assert response.status == 200
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert (await response.read()).startswith(b"\x89PNG")


async def test_a_second_worker_takes_the_next_port_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = unused_port()
    first, second = server(port=port), server(port=port)
    await first.start()
    await second.start()
    try:
        assert first.url == f"http://127.0.0.1:{port}/"
        assert second.url is not None
        assert second.url != first.url
        assert f"the page: {second.url}" in caplog.text
        async with aiohttp.ClientSession() as session, session.get(f"{second.url}live") as response:
            assert response.status == 200
    finally:
        await first.stop()
        await second.stop()


async def test_a_worker_goes_on_where_no_port_is_free(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTS", 1)
    first = server(port=unused_port())
    await first.start()
    assert first.url is not None
    second = server(port=int(first.url.rsplit(":", 1)[1].strip("/")))
    await second.start()
    try:
        assert second.url is None
        assert "web_failed" in [getattr(record, "action", "") for record in caplog.records]
    finally:
        await second.stop()
        await first.stop()


async def test_stopping_ends_what_was_begun() -> None:
    served = server()
    await served.start()
    await served.stop()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "watch"] == []
