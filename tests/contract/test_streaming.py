"""Bodies that no memory holds: what the transport sends and fetches in pieces, and what becomes of the key in them."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from bisupervised.agents.remote.credentials import Authorized
from bisupervised.agents.remote.retry import NotAnAnswer, NotConnected
from bisupervised.agents.remote.transport import AiohttpTransport, ScriptedTransport, StreamingTransport, Upload
from bisupervised.schemas.errors import RemoteError, Timeout

KEY = "sk-a-key-that-nobody-may-see"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LINES = b"".join(b'{"line": %d}\n' % number for number in range(50_000))


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport(connections=0)
    yield made
    await made.close()


async def fetched(transport: StreamingTransport, url: str, silence_s: float = 5.0, within_s: float = 5.0) -> bytes:
    async with transport.download(url, {}, silence_s, within_s) as download:
        return b"".join([chunk async for chunk in download.chunks])


def answering(*bodies: bytes, pause_s: float = 0.0, **headers: str) -> Handler:
    """A server that writes these pieces."""

    async def handle(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = web.StreamResponse(headers=named)
        await response.prepare(request)
        for body in bodies:
            await response.write(body)
            await asyncio.sleep(pause_s)
        await response.write_eof()
        return response

    return handle


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (LINES, "identity"),
        (gzip.compress(LINES), "gzip"),
        (zlib.compress(LINES), "deflate"),
        (gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]) + b"\0\r\n", "gzip"),
    ],
    ids=["plain", "gzip", "deflate", "two members"],
)
async def test_a_body_comes_as_it_was_before_somebody_compressed_it(
    transport: AiohttpTransport, body: bytes, encoding: str
) -> None:
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    async with served(answering(*pieces, content_encoding=encoding)) as url:
        assert await fetched(transport, url) == LINES


async def test_little_that_becomes_much_comes_in_pieces(transport: AiohttpTransport) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with served(answering(bomb, content_encoding="gzip")) as url, transport.download(url, {}, 5.0, 30.0) as got:
        sizes = [len(chunk) async for chunk in got.chunks]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 256 * 1024


@pytest.mark.parametrize(
    ("body", "encoding"), [(LINES, "br"), (LINES, "gzip, gzip"), (LINES, "gzip"), (gzip.compress(LINES)[:-30], "gzip")]
)
async def test_what_cannot_be_unpacked_is_no_answer(transport: AiohttpTransport, body: bytes, encoding: str) -> None:
    async with served(answering(body, content_encoding=encoding)) as url:
        with pytest.raises(NotAnAnswer, match="compressed"):
            await fetched(transport, url)


async def test_a_body_that_is_cut_off_is_a_failure(transport: AiohttpTransport) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(LINES[:1000])
        assert request.transport is not None
        request.transport.abort()
        return response

    async with served(handle) as url:
        with pytest.raises(RemoteError):
            await fetched(transport, url)


async def test_silence_and_slowness_are_bounded_apart(transport: AiohttpTransport) -> None:
    async with served(answering(*[b"x"] * 10, pause_s=0.05)) as url:
        assert await fetched(transport, url, silence_s=2.0) == b"x" * 10  # longer than no single pause
        with pytest.raises(Timeout):
            await fetched(transport, url, silence_s=0.01)
        with pytest.raises(Timeout):
            await fetched(transport, url, silence_s=2.0, within_s=0.2)


async def test_nothing_follows_a_redirect(transport: AiohttpTransport) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"location": "/elsewhere"}, text="over there")

    async with served(handle) as url, transport.download(url, {}, 5.0, 5.0) as got:
        assert (got.status, got.succeeded, got.headers["location"]) == (302, False, "/elsewhere")


async def receives(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.read(), headers={"x-length": request.headers["content-length"]})


def upload_of(*chunks: bytes, size: int | None = None, pause_s: float = 0.0) -> Upload:
    async def pieces() -> AsyncIterator[bytes]:
        for chunk in chunks:
            await asyncio.sleep(pause_s)
            yield chunk

    return Upload(sum(map(len, chunks)) if size is None else size, pieces)


async def test_a_body_is_sent_in_pieces_with_its_length(transport: AiohttpTransport) -> None:
    async with served(receives) as url:
        response = await transport.upload(url, upload_of(b"a" * 70_000, b"b" * 70_000), {"x": "y"}, 5.0, 5.0)
    assert response.body == b"a" * 70_000 + b"b" * 70_000
    assert response.headers["x-length"] == "140000"


@pytest.mark.parametrize("size", [9, 11])
async def test_a_body_of_another_size_is_not_sent_whole(transport: AiohttpTransport, size: int) -> None:
    whole: list[bytes] = []

    async def keeps(request: web.Request) -> web.StreamResponse:
        whole.append(await request.read())
        return web.Response()

    async with served(keeps) as url:
        with pytest.raises(ValueError, match=f"not of {size} bytes"):
            await transport.upload(url, upload_of(b"x" * 5, b"x" * 5, size=size, pause_s=0.01), {}, 5.0, 5.0)
        await asyncio.sleep(0.05)  # a server that has got all of it says so by now
    assert whole == []


async def test_an_upload_may_take_long_as_long_as_something_moves(transport: AiohttpTransport) -> None:
    slow = upload_of(*[b"x" * 10] * 6, pause_s=0.1)
    async with served(receives) as url:
        assert (await transport.upload(url, slow, {}, 0.4, 5.0)).status == 200
        with pytest.raises(Timeout):
            await transport.upload(url, slow, {}, 0.05, 5.0)
        with pytest.raises(Timeout):
            await transport.upload(url, slow, {}, 5.0, 0.2)
    with pytest.raises(NotConnected):
        await transport.upload("http://127.0.0.1:1", slow, {}, 5.0, 5.0)


async def test_the_key_is_taken_out_of_what_is_fetched_wherever_it_is_cut(transport: AiohttpTransport) -> None:
    quoted = f'{{"error": "the key {KEY} is no good"}}\n'.encode()
    pieces = [quoted[at : at + 7] for at in range(0, len(quoted), 7)]
    authorized = Authorized(transport, KEY)
    async with served(answering(*pieces, LINES, quoted[:-1], pause_s=0.001)) as url:
        body = await fetched(authorized, url)
    assert KEY.encode() not in body
    assert body.count(b"[key removed]") == 2
    assert LINES in body


async def test_a_transport_that_streams_nothing_says_so() -> None:
    authorized = Authorized(ScriptedTransport([]), KEY)
    with pytest.raises(TypeError, match="streams no bodies"):
        await authorized.upload("http://x", upload_of(b"x"), {}, 5.0, 5.0)
