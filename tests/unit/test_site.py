"""The page never takes the port of a remote on this machine: a worker that starts first would ask itself."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from aiohttp.test_utils import unused_port
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.telemetry.monitor import Monitor
from bisupervised.streams.web.site import Site, make_site


def settings(url: str, port: int, host: str = "127.0.0.1") -> Settings:
    document = {
        "local": {"model": "module:callable", "threshold": 0.5},
        "remote": {"url": url, "model": "large", "threshold": 0.5},
        "web": {"port": port, "host": host, "token": "secret"},
    }
    return Settings.model_validate(document)


def served_on(given: Settings) -> int:
    """The port that the page is on."""
    return asyncio.run(port_of(make_site(given, ("local",), Monitor([]))))


async def port_of(site: Site) -> int:
    await site.start()
    assert site.server is not None
    assert site.server.url is not None
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{site.server.url}live") as answer:
            assert answer.status == 200
    finally:
        await site.stop()
    return int(site.server.url.rsplit(":", 1)[1].strip("/"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST."])
def test_its_port_is_left_to_it_and_the_log_says_so(host: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = unused_port()
    assert served_on(settings(f"http://{host}:{port}/v2", port)) != port
    assert f"the page leaves port {port} to the remote" in caplog.text


def test_a_remote_elsewhere_has_ports_of_its_own() -> None:
    """As in a cluster, where probes ask for the port of the settings."""
    port = unused_port()
    assert served_on(settings(f"http://model.example:{port}", port)) == port
