from __future__ import annotations

import base64

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from bisupervised.streams.web.security import AccessPolicy, guard

HOME = AccessPolicy("127.0.0.1")
OUT = AccessPolicy("0.0.0.0", ("pages.example",), "s3cret")


async def ask(
    policy: AccessPolicy, path: str = "/api/status", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer of an application that has every path; `_` in a header's name is `-`."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="records")

    app = web.Application(middlewares=[guard(policy)])
    app.router.add_route("*", "/{path:.*}", answer)
    named = {"Host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with TestClient(TestServer(app)) as client:
        response = await client.request(method, path, headers=named)
        assert ("records" in await response.text()) == (response.status == 200)
        return response.status, dict(response.headers)


async def status(policy: AccessPolicy, path: str = "/api/status", method: str = "GET", **headers: str) -> int:
    return (await ask(policy, path, method, **headers))[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9000", "localhost:8080", "LOCALHOST", "[::1]:8080"])
async def test_names_of_this_machine_are_served(host: str) -> None:
    assert await status(HOME, Host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.7", "", "a@127.0.0.1", "[::1", "x:y"],
)
async def test_a_foreign_name_that_points_here_is_refused(host: str) -> None:
    for path in ("/", "/api/status", "/metrics", "/live"):
        assert await status(HOME, path, Host=host) == 421


async def test_beyond_loopback_addresses_and_listed_names_are_served() -> None:
    assert await status(OUT, "/ready", Host="10.0.0.7:8080") == 200
    assert await status(OUT, "/ready", Host="pages.example") == 200
    assert await status(OUT, "/ready", Host="evil.example") == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:8080"])
async def test_a_foreign_origin_is_refused(origin: str) -> None:
    assert await status(HOME, Origin=origin) == 403


async def test_our_own_origin_is_served() -> None:
    assert await status(HOME, Origin="http://127.0.0.1:8080", Sec_Fetch_Site="same-origin") == 200


async def test_what_another_site_embeds_is_refused_and_a_link_from_there_is_not() -> None:
    assert await status(HOME, "/pictures/x", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="image") == 403
    assert await status(HOME, Sec_Fetch_Site="same-site", Sec_Fetch_Dest="empty") == 403
    assert await status(HOME, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="document") == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(method: str) -> None:
    assert await status(HOME, method=method) == 405


async def test_every_answer_is_told_to_load_run_and_keep_nothing_foreign() -> None:
    for asked in ({}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        _, headers = await ask(HOME, **asked)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_beyond_loopback_no_record_is_shown_without_a_token() -> None:
    bare = AccessPolicy("0.0.0.0")
    assert [await status(bare, path) for path in ("/", "/api/status", "/pictures/x")] == [403] * 3
    assert [await status(bare, path) for path in ("/live", "/ready", "/metrics")] == [200] * 3


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize("shown", ["Bearer s3cret", "bearer s3cret", basic("s3cret")])
async def test_the_token_opens(shown: str) -> None:
    assert await status(OUT, Authorization=shown) == 200
    assert await status(AccessPolicy("127.0.0.1", token="s3cret"), Authorization=shown) == 200


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer s3cre", "s3cret", basic(""), "Basic s3cret", "Basic ÿ", "Bearer \udcff"]
)
async def test_anything_else_does_not(shown: str) -> None:
    for policy in (OUT, AccessPolicy("127.0.0.1", token="s3cret")):
        code, headers = await ask(policy, Authorization=shown)
        assert code == 401
        assert headers["WWW-Authenticate"].startswith("Basic ")


def test_the_token_is_in_no_status_line() -> None:
    assert "s3cret" not in repr(OUT)
