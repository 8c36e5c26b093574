"""One suite over the transport that calls and the one that plays a script: code tested on one holds on both."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import cramjam
import pytest
from aiohttp import web
from bisupervised.agents.remote.asking import Bill
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.http.connector import KNOWN_VERSION
from bisupervised.agents.remote.http.direct import Direct
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.retry import CallRefused, RetryPolicy
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.transport import (
    AiohttpTransport,
    Response,
    ScriptedTransport,
    ScriptStep,
    Slow,
    Transport,
)
from bisupervised.schemas.errors import InvalidAnswer, RemoteError, Timeout
from support.remote import Clock, probabilities

MOST_BYTES = 100_000
HEADERS = {"content-type": "application/json", "idempotency-key": "a-key"}
OK = Response(200, {"Content-Type": "application/json"}, b'{"fine": true}')
#: how a connection ends badly; the scripted transport is given the error, the real one meets it
RESET = RemoteError("reset")
NO_HTTP = RemoteError("no HTTP")
CUT_SHORT = RemoteError("cut short")


@dataclass(frozen=True)
class Got:
    """A call as the other side sees it."""

    path: str
    body: bytes
    headers: Mapping[str, str]


class Rig(Protocol):
    """A transport and the far end of it."""

    transport: Transport
    url: str

    def plays(self, *steps: ScriptStep) -> None:
        """What the far end does, call by call."""
        ...

    @property
    def got(self) -> Sequence[Got]: ...


class ScriptedRig:
    url = "http://remote"

    def __init__(self) -> None:
        self._scripted = ScriptedTransport(self._following, max_response_bytes=MOST_BYTES)
        self.transport: Transport = self._scripted
        self._steps: list[ScriptStep] = []

    def plays(self, *steps: ScriptStep) -> None:
        self._steps = list(steps)

    @property
    def got(self) -> Sequence[Got]:
        return [Got(sent.url.removeprefix(self.url), sent.body, sent.headers) for sent in self._scripted.sent]

    def _following(self, sent: object) -> ScriptStep:
        return self._steps.pop(0)


@dataclass
class Server:
    """The far end of the real thing: an HTTP server that plays the script."""

    steps: list[ScriptStep] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    redirected: int = 0
    raw: bytes | None = None  #: sent in place of a response, and the connection closed
    keeps: bool = False  #: it is left open
    endless: bool = False
    written: int = 0  #: bytes of an endless body

    async def answer(self, asked: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        self.got.append(Got(asked.path, await asked.read(), headers))
        if self.raw is not None:
            return await self._raw(asked, self.raw)
        if self.endless:
            return await self._endless(asked)
        step = self.steps.pop(0)
        if isinstance(step, Slow):
            await self.stop.wait()  # longer than any caller waits, and no longer than the test
            step = step.response
        if isinstance(step, Response):
            return web.Response(status=step.status, headers=step.headers, body=step.body)
        assert asked.transport is not None
        if step is NO_HTTP:
            asked.transport.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        if step is CUT_SHORT:
            asked.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        if step is RESET:
            asked.transport.abort()
        asked.transport.close()
        return web.Response()

    async def _raw(self, asked: web.Request, raw: bytes) -> web.Response:
        assert asked.transport is not None
        asked.transport.write(raw)
        if self.keeps:
            await self.stop.wait()
        asked.transport.close()
        return web.Response()

    async def _endless(self, asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(asked)
        with suppress(ConnectionError):
            while self.written < 400 * MOST_BYTES:
                await response.write(b" " * MOST_BYTES)
                self.written += MOST_BYTES
        return response

    async def elsewhere(self, asked: web.Request) -> web.Response:
        self.redirected += 1
        return web.Response()


class RealRig:
    def __init__(self, server: Server, transport: Transport, url: str) -> None:
        self.server = server
        self.transport = transport
        self.url = url

    def plays(self, *steps: ScriptStep) -> None:
        self.server.steps = list(steps)

    @property
    def got(self) -> Sequence[Got]:
        return self.server.got


async def real_rig() -> AsyncIterator[RealRig]:
    server = Server()
    app = web.Application()
    app.router.add_get("/elsewhere", server.elsewhere)
    app.router.add_post("/elsewhere", server.elsewhere)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = AiohttpTransport(connections=4, max_response_bytes=MOST_BYTES)
    yield RealRig(server, transport, f"http://127.0.0.1:{runner.addresses[0][1]}")
    server.stop.set()
    await transport.close()
    await runner.cleanup()


@pytest.fixture(params=["scripted", "aiohttp"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "scripted":
        yield ScriptedRig()
        return
    async for made in real_rig():
        yield made


async def post(rig: Rig, *, body: bytes = b"{}", timeout_s: float = 30.0) -> Response:
    return await rig.transport.post(rig.url + "/v2/x", body, HEADERS, timeout_s)


async def test_a_response_comes_back_whole(rig: Rig) -> None:
    rig.plays(OK)
    response = await post(rig)
    assert (response.status, response.body, response.succeeded) == (200, OK.body, True)
    assert response.headers["content-type"].startswith("application/json")


async def test_path_body_and_headers_arrive_as_given(rig: Rig) -> None:
    rig.plays(OK)
    body = bytes(range(256)) * 1000
    await post(rig, body=body)
    [got] = rig.got
    assert (got.path, got.body) == ("/v2/x", body)
    assert {name: got.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize("status", [201, 204, 400, 404, 408, 429, 500, 503])
async def test_every_status_is_a_response_and_no_error(rig: Rig, status: int) -> None:
    rig.plays(Response(status, {"Retry-After": "7", "X-Mixed-Case": "Kept"}, b""))
    response = await post(rig)
    assert (response.status, response.succeeded) == (status, status < 300)
    assert (response.headers["retry-after"], response.headers["x-mixed-case"]) == ("7", "Kept")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(rig: Rig, status: int) -> None:
    rig.plays(Response(status, {"Location": "/elsewhere"}, b""))
    response = await post(rig)
    assert (response.status, response.headers["location"]) == (status, "/elsewhere")
    assert len(rig.got) == 1
    if isinstance(rig, RealRig):
        assert rig.server.redirected == 0


async def test_no_answer_in_time_is_a_timeout(rig: Rig) -> None:
    rig.plays(Slow(60.0))
    with pytest.raises(Timeout, match=r"within 0\.05 s"):
        await post(rig, timeout_s=0.05)


@pytest.mark.parametrize("how", [RESET, NO_HTTP, CUT_SHORT], ids=["reset", "no HTTP", "cut short"])
async def test_a_connection_that_ends_badly_is_a_remote_error(rig: Rig, how: RemoteError) -> None:
    rig.plays(how)
    with pytest.raises(RemoteError):
        await post(rig)


async def test_a_body_of_the_largest_size_comes_back(rig: Rig) -> None:
    rig.plays(Response(200, {}, b"x" * MOST_BYTES))
    assert len((await post(rig)).body) == MOST_BYTES


async def test_a_larger_answer_is_none_for_it_would_be_as_large_again(rig: Rig) -> None:
    rig.plays(Response(200, {}, b"x" * (MOST_BYTES + 1)), OK)
    with pytest.raises(InvalidAnswer, match=f"larger than {MOST_BYTES} bytes"):
        await post(rig)
    assert (await post(rig)).body == OK.body


async def test_a_larger_error_is_cut_for_its_status_tells_enough(rig: Rig) -> None:
    rig.plays(Response(500, {}, b"x" * (MOST_BYTES * 3)))
    response = await post(rig)
    assert (response.status, len(response.body)) == (500, MOST_BYTES)


#: what each name stands for; deflate is sent with its header, and without one
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "DEFLATE": lambda body: zlib.compress(body)[2:-4],
    "br": lambda body: bytes(cramjam.brotli.compress(body)),
    "zstd": lambda body: bytes(cramjam.zstd.compress(body)),
    "identity, GZip": gzip.compress,
    "br, gzip": lambda body: gzip.compress(bytes(cramjam.brotli.compress(body))),
}


@pytest.mark.parametrize("how", COMPRESSED)
async def test_what_comes_compressed_is_read_and_a_bomb_is_not(rig: Rig, how: str) -> None:
    """200 times the bound, in fewer bytes than the bound: no more than the bound is ever unpacked."""
    compress = COMPRESSED[how]
    bomb = compress(b"0" * (200 * MOST_BYTES))
    assert len(bomb) < MOST_BYTES
    rig.plays(
        Response(200, {"Content-Encoding": how}, compress(OK.body)),
        Response(200, {"Content-Encoding": how}, compress(b"0" * MOST_BYTES)),
        Response(200, {"Content-Encoding": how}, bomb),
        Response(500, {"Content-Encoding": how}, bomb),
        OK,
    )
    assert (await post(rig)).body == OK.body
    assert len((await post(rig)).body) == MOST_BYTES
    with pytest.raises(InvalidAnswer, match=f"larger than {MOST_BYTES} bytes"):
        await post(rig)
    assert (await post(rig)).status == 500
    assert (await post(rig)).body == OK.body


async def test_a_bomb_takes_no_memory() -> None:
    bodies = {how: compress(b"0" * (64 * 2**20)) for how, compress in COMPRESSED.items()}
    tracemalloc.start()
    try:
        for how, bomb in bodies.items():
            transport = ScriptedTransport(
                [Response(200, {"Content-Encoding": how}, bomb)], max_response_bytes=MOST_BYTES
            )
            with pytest.raises(InvalidAnswer):
                await transport.post("http://remote", b"", {}, 1.0)
        assert tracemalloc.get_traced_memory()[1] < 8 * MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("how", "body"),
    [
        *((how, b'{"claimed": "only"}') for how in ("gzip", "deflate", "br", "zstd")),
        *((how, COMPRESSED[how](OK.body)[:-6]) for how in ("gzip", "deflate", "br", "zstd")),
        ("gzip", gzip.compress(OK.body) + b"and more"),
        ("compress", OK.body),
        ("gzip, gzip, gzip", gzip.compress(gzip.compress(gzip.compress(OK.body)))),
        ("x" * 300, OK.body),
    ],
    ids=lambda value: str(len(value)),  # what gzip writes holds the time, and every process must find the same names
)
async def test_what_is_not_what_it_says_is_no_answer(rig: Rig, how: str, body: bytes) -> None:
    rig.plays(Response(200, {"Content-Encoding": how}, body), Response(503, {"Content-Encoding": how}, body), OK)
    with pytest.raises(InvalidAnswer, match="cannot be read"):
        await post(rig)
    assert (await post(rig)).status == 503
    assert (await post(rig)).body == OK.body


@pytest.mark.parametrize(
    ("how", "body", "plain"),
    [
        *((how, b"", b"") for how in COMPRESSED),
        *((how, compress(OK.body) + b"\r\n", OK.body) for how, compress in COMPRESSED.items()),
        ("gzip, gzip", gzip.compress(OK.body), OK.body),
        ("gzip, gzip", gzip.compress(gzip.compress(OK.body)), OK.body),
        ("br, br", COMPRESSED["br"](OK.body), OK.body),
        ("gzip;q=1", gzip.compress(OK.body), OK.body),
        ("utf-8", OK.body, OK.body),
        ("none", OK.body, OK.body),
        ("", gzip.compress(OK.body), OK.body),
    ],
    ids=lambda value: str(len(value)),
)
async def test_what_is_compressed_in_a_way_of_its_own_is_read(rig: Rig, how: str, body: bytes, plain: bytes) -> None:
    rig.plays(Response(200, {"Content-Encoding": how} if how else {}, body))
    assert (await post(rig)).body == plain


@pytest.mark.parametrize(("status", "how"), [(200, "compress"), (200, "lz4, gzip"), (400, "compress")])
async def test_an_encoding_that_is_not_known_is_named(rig: Rig, status: int, how: str) -> None:
    rig.plays(Response(status, {"Content-Encoding": how}, gzip.compress(OK.body)))
    try:
        said = (await post(rig)).body.decode()
    except InvalidAnswer as error:
        said = str(error)
    assert f"the encoding '{how.split(',')[0]}' is not known here" in said


async def test_two_headers_of_encodings_are_both_undone() -> None:
    body = COMPRESSED["br, gzip"](OK.body)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\ncontent-encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    async for rig in real_rig():
        rig.server.raw = head + body
        assert (await post(rig)).body == OK.body


async def test_a_compressed_error_says_why(rig: Rig) -> None:
    rig.plays(Response(503, {"Content-Encoding": "gzip", "Retry-After": "7"}, gzip.compress(b'{"error": "busy"}')))
    response = await post(rig)
    assert (response.status, response.body, response.headers["retry-after"]) == (503, b'{"error": "busy"}', "7")


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_byte_order_mark_is_none_of_the_body(rig: Rig, status: int, packed: bool) -> None:
    body = b"\xef\xbb\xbf" + OK.body
    packing = {"Content-Encoding": "gzip"} if packed else {}
    rig.plays(Response(status, packing, gzip.compress(body) if packed else body))
    assert (await post(rig)).body == OK.body


async def test_several_byte_order_marks_are_none_of_the_body_either(rig: Rig) -> None:
    mark = b"\xef\xbb\xbf"
    for before in (mark + mark, b"\r\n" + mark, mark + b"\n" + mark):
        rig.plays(Response(200, {}, before + OK.body))
        assert (await post(rig)).body == OK.body
    rig.plays(Response(200, {}, " ；".encode()))
    assert (await post(rig)).body == " ；".encode()


async def test_the_members_of_a_gzip_file_are_one_body(rig: Rig) -> None:
    halves = gzip.compress(OK.body[:5]) + gzip.compress(OK.body[5:]) + bytes(8)
    rig.plays(Response(200, {"Content-Encoding": "gzip"}, halves))
    assert (await post(rig)).body == OK.body


async def test_an_answer_that_says_that_it_is_plain_is_one(rig: Rig) -> None:
    rig.plays(OK._replace(headers={"Content-Encoding": "identity"}))
    assert (await post(rig)).body == OK.body


async def test_calls_run_beside_each_other(rig: Rig) -> None:
    rig.plays(OK, OK, OK, OK)
    responses = await asyncio.gather(*(post(rig) for _ in range(4)))
    assert [response.body for response in responses] == [OK.body] * 4


async def test_after_a_failure_the_next_call_is_well(rig: Rig) -> None:
    rig.plays(RESET, Slow(60.0), OK)
    with pytest.raises(RemoteError):
        await post(rig)
    with pytest.raises(Timeout):
        await post(rig, timeout_s=0.5)
    assert (await post(rig)).body == OK.body


async def test_closing_twice_is_closing(rig: Rig) -> None:
    rig.plays(OK)
    await post(rig)
    await rig.transport.close()
    await rig.transport.close()


async def test_it_asks_for_plain_answers_whatever_else_is_asked_for() -> None:
    async for rig in real_rig():
        rig.plays(OK, OK)
        await post(rig)
        await rig.transport.post(rig.url + "/v2/x", b"{}", {"Accept-Encoding": "br"}, 30.0)
        assert [got.headers["accept-encoding"] for got in rig.got] == ["identity"] * 2


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nmany\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: x\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/9.9 yes\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconte",
        b"",
    ],
)
async def test_what_is_no_whole_response_is_a_remote_error(raw: bytes) -> None:
    async for rig in real_rig():
        rig.server.raw = raw
        with pytest.raises(RemoteError):
            await post(rig)


async def test_a_second_answer_to_one_call_is_never_that_of_the_next() -> None:
    async for rig in real_rig():
        rig.server.keeps = True
        rig.server.raw = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1" * 2
        assert (await post(rig)).body == b"1"
        rig.server.raw = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n3"
        assert (await post(rig)).body == b"3"


@pytest.mark.parametrize("directly", [True, False])
async def test_an_answer_that_nobody_asked_for_is_never_that_of_the_next_call(
    directly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the connection has been put back, and would be the first thing that the next call reads."""
    if not directly:
        monkeypatch.setattr(Direct, "takes", lambda *_: False)
    answers = iter([b"1", b"2"])
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" + next(answers))
        writer.close()

    transport = AiohttpTransport(connections=2)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, asyncio.timeout(30):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await transport.post(url, b"", {}, 30.0)).body == b"1"
        [[(connection, _since)]] = pool(transport)._conns.values()
        writers[0].write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n9")
        while connection.is_connected() and not connection.should_close:  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0)
        assert (await transport.post(url, b"", {}, 30.0)).body == b"2"
        assert len(writers) == 2
        await transport.close()


async def test_a_response_that_stops_half_way_is_a_timeout() -> None:
    async for rig in real_rig():
        rig.server.keeps = True
        rig.server.raw = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
        with pytest.raises(Timeout, match=r"within 0\.05 s"):
            await post(rig, timeout_s=0.05)


async def test_a_response_that_never_stops_coming_is_a_timeout() -> None:
    """Each piece is in time, the whole is not."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0)
        writer.close()
        ended.set()

    transport = AiohttpTransport(connections=1)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, asyncio.timeout(30):
        with pytest.raises(Timeout):
            await transport.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"", {}, 0.05)
        await ended.wait()
    await transport.close()


@pytest.mark.parametrize("step", [OK, RESET], ids=["well", "badly"])
async def test_a_call_that_has_ended_leaves_no_timer_behind(step: ScriptStep) -> None:
    async for rig in real_rig():
        rig.plays(step)
        with suppress(RemoteError):
            await post(rig, timeout_s=12345.0)
        loop: Any = asyncio.get_running_loop()
        ours = [timer for timer in loop._scheduled if timer.when() > loop.time() + 10_000]
        assert all(timer.cancelled() for timer in ours)


async def test_a_call_that_waits_for_a_connection_waits_no_longer_than_it_may() -> None:
    async for rig in real_rig():
        rig.plays(*[Slow(60.0)] * 4)
        calls = [asyncio.create_task(post(rig, timeout_s=300.0)) for _ in range(4)]  # all connections
        async with asyncio.timeout(30):
            while len(rig.got) < 4:  # noqa: ASYNC110  # the far end is a test's, and has no event for it
                await asyncio.sleep(0)
            with pytest.raises(Timeout, match=r"within 0\.05 s"):
                await post(rig, timeout_s=0.05)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)


async def test_no_more_than_the_bound_is_read_of_a_body_without_end() -> None:
    async for rig in real_rig():
        rig.server.endless = True
        with pytest.raises(InvalidAnswer, match="larger"):
            await post(rig)
        assert rig.server.written < 200 * MOST_BYTES  # what sockets and buffers hold, and no more


async def test_nobody_listening_is_a_remote_error(unused_tcp_port: int) -> None:
    transport = AiohttpTransport(connections=1)
    with pytest.raises(RemoteError):
        await transport.post(f"http://127.0.0.1:{unused_tcp_port}/", b"", {}, 30.0)
    await transport.close()


async def test_a_script_that_has_ended_says_so() -> None:
    transport = ScriptedTransport([OK])
    await transport.post("http://remote/a", b"", {}, 1.0)
    with pytest.raises(LookupError, match="http://remote/b"):
        await transport.post("http://remote/b", b"", {}, 1.0)


async def test_a_slow_answer_in_time_is_an_answer() -> None:
    transport = ScriptedTransport([Slow(0.9, OK)])
    assert (await transport.post("http://remote", b"", {}, 1.0)).body == OK.body


# the client behaves the same over both


INPUTS = [[0.1, 0.9], [0.75, 0.25]]
GOOD = probabilities(INPUTS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(rig: Rig, clock: Clock, request: pytest.FixtureRequest) -> RemoteClient:
    """Patient, but where the test is about patience: on a busy machine an answer may take its time."""
    slow = any(isinstance(value, Slow) for value in request.node.callspec.params.values())
    policy = ClientPolicy(rig.url, timeout_s=1.0 if slow else 30.0, retry=RetryPolicy(tries=3), price=Price(2.0))
    return RemoteClient(rig.transport, OpenInference("big"), policy, clock=clock, sleep=clock.sleep, random=lambda: 0.0)


@pytest.mark.parametrize(
    ("failure", "wait_s"),
    [
        (Response(429, {"Retry-After": "3"}, b"{}"), 3.0),
        (Response(500, {}, b"<html>"), 0.5),
        (Slow(60.0), 0.5),
        (RESET, 0.5),
        (NO_HTTP, 0.5),
        (CUT_SHORT, 0.5),
    ],
    ids=["429", "500", "slow", "reset", "no HTTP", "cut short"],
)
async def test_a_failure_that_may_pass_is_tried_again_with_one_key(
    rig: Rig, client: RemoteClient, clock: Clock, failure: ScriptStep, wait_s: float
) -> None:
    rig.plays(failure, GOOD)
    bill = Bill()
    answers = await client.ask(INPUTS, "a-key", None, bill)
    assert [(answer.prediction, answer.score, answer.model) for answer in answers] == [
        (1, 0.9, "big@7"),
        (0, 0.75, "big@7"),
    ]
    assert clock.waits == [wait_s]
    assert (bill.calls, bill.cost) == (2, 2.0)
    first, second = (got.headers["idempotency-key"] for got in rig.got)
    assert first == second
    assert first.startswith("a-key-")


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Response(503, {}, b""), RemoteError),
        (Slow(60.0), Timeout),
        (RESET, RemoteError),
    ],
    ids=["503", "slow", "reset"],
)
async def test_the_last_error_is_raised_when_the_tries_are_over(
    rig: Rig, client: RemoteClient, step: ScriptStep, kind: type[Exception]
) -> None:
    rig.plays(step, step, step)
    with pytest.raises(kind) as caught:
        await client.ask(INPUTS, "a-key", None, Bill())
    assert type(caught.value) is kind
    assert len(rig.got) == 3


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Response(302, {"Location": "/elsewhere"}, b""), CallRefused),
        (Response(400, {}, b""), CallRefused),
        (Response(200, {}, b"\x00garbage"), InvalidAnswer),
        (Response(200, {}, b"x" * (MOST_BYTES + 1)), InvalidAnswer),
        (probabilities(INPUTS[:1]), InvalidAnswer),
    ],
    ids=["redirect", "400", "garbage", "oversized", "too few"],
)
async def test_what_would_come_again_is_asked_once(
    rig: Rig, client: RemoteClient, step: ScriptStep, kind: type[Exception]
) -> None:
    rig.plays(step)
    with pytest.raises(kind):
        await client.ask(INPUTS, "a-key", None, Bill())
    assert len(rig.got) == 1


async def test_a_put_is_not_sent_again_by_itself(rig: Rig) -> None:
    """On a connection that was kept open and is closed meanwhile, the client library would: a try nobody counts."""
    rig.plays(OK, RESET, OK)
    await rig.transport.post(rig.url + "/v2/x", b"{}", HEADERS, 30.0, method="PUT")
    with pytest.raises(RemoteError):
        await rig.transport.post(rig.url + "/v2/x", b"{}", HEADERS, 30.0, method="PUT")
    assert len(rig.got) == 2


# what is sent directly, and what goes through aiohttp's session


async def test_this_version_of_aiohttp_is_one_whose_parts_are_known() -> None:
    assert aiohttp.__version__.startswith(KNOWN_VERSION)


async def asked_of(transport: AiohttpTransport, body: bytes, headers: Mapping[str, str], method: str) -> bytes:
    """The bytes of a request, as a server gets them."""
    got = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.set_result(head + await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await transport.post(f"http://127.0.0.1:{port}/a%20b/ü?c=d e#f", body, headers, 30.0, method=method)
        asked: bytes = await got
        return asked.replace(str(port).encode(), b"PORT")


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
@pytest.mark.parametrize("headers", [HEADERS, {}, {"User-Agent": "me", "ACCEPT": "text/plain", "x-ü": "ü"}], ids=len)
async def test_what_is_sent_directly_is_what_the_session_would_send(
    headers: Mapping[str, str], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = AiohttpTransport(connections=1)
    directly = await asked_of(transport, b"{}", headers, method)
    with monkeypatch.context() as patched:
        patched.setattr(Direct, "takes", lambda *_: False)
        by_session = await asked_of(transport, b"{}", headers, method)
    await transport.close()
    assert sorted(directly.split(b"\r\n")) == sorted(by_session.split(b"\r\n"))


@pytest.mark.parametrize(
    ("url", "headers", "taken"),
    [
        ("http://remote/a", HEADERS, True),
        ("https://remote:1/a?b", {}, True),
        ("http://me:secret@remote/a", {}, False),
        ("http://remote/a", {"Transfer-Encoding": "chunked"}, False),
        ("http://remote/a", {"content-length": "7"}, False),
        ("http://remote/a", {"Host": "another"}, False),
        ("ftp://remote/a", {}, False),
        ("/a", {}, False),
    ],
)
async def test_what_is_out_of_the_ordinary_goes_through_the_session(
    url: str, headers: Mapping[str, str], taken: bool
) -> None:
    async with aiohttp.ClientSession() as session:
        assert Direct(session, MOST_BYTES).takes(url, headers) is taken


async def test_a_version_of_aiohttp_that_is_not_known_goes_through_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp, "__version__", "3.99.0")
    async with aiohttp.ClientSession() as session:
        assert not Direct(session, MOST_BYTES).takes("http://remote/a", HEADERS)
    transport = AiohttpTransport(connections=1)
    assert type(pool(transport)) is aiohttp.TCPConnector
    await transport.close()


async def test_a_password_in_the_address_is_sent_as_before() -> None:
    async for rig in real_rig():
        rig.plays(OK)
        await rig.transport.post(rig.url.replace("//", "//me:secret@") + "/v2/x", b"{}", HEADERS, 30.0)
        assert rig.got[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("value", ["a\r\nx: b", "a\nb", "a\x00"])
async def test_what_would_make_two_headers_of_one_is_a_remote_error(rig: Rig, value: str) -> None:
    if isinstance(rig, RealRig):
        with pytest.raises(RemoteError):
            await rig.transport.post(rig.url + "/v2/x", b"{}", {"x": value}, 30.0)
        assert not rig.got


def pool(transport: Transport) -> aiohttp.BaseConnector:
    assert isinstance(transport, AiohttpTransport)
    session = transport._open()
    assert session.connector is not None
    return session.connector


async def test_one_connection_serves_calls_after_each_other() -> None:
    async for rig in real_rig():
        rig.plays(*[OK] * 20)
        kept = set()
        for _ in range(20):
            await post(rig)
            [[(connection, _since)]] = pool(rig.transport)._conns.values()
            kept.add(connection)
        assert len(kept) == 1


async def test_what_a_server_says_before_its_answer_is_none() -> None:
    async for rig in real_rig():
        rig.server.raw = (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1"
        )
        response = await post(rig)
        assert (response.status, response.body) == (200, b"1")


async def test_a_body_that_ends_with_its_connection_is_whole() -> None:
    async for rig in real_rig():
        rig.server.raw = b"HTTP/1.1 200 OK\r\n\r\nall of it"
        assert (await post(rig)).body == b"all of it"


async def test_an_answer_before_the_body_was_all_sent_is_the_answer_and_the_next_call_has_its_own_connection() -> None:
    """A server that refuses a large body at once: what is left of it may not stand before the next request."""
    answers = [b"HTTP/1.1 413 no\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1"]
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await done.wait()
        writer.close()

    transport = AiohttpTransport(connections=2)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**10) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await transport.post(url, bytes(64 * 2**20), {}, 30.0)).status == 413
        assert (await transport.post(url, b"{}", {}, 30.0)).body == b"1"
        done.set()
        await transport.close()


async def test_a_call_that_is_cancelled_leaves_no_connection_behind() -> None:
    async for rig in real_rig():
        rig.plays(Slow(60.0), OK)
        call = asyncio.create_task(post(rig))
        async with asyncio.timeout(30):
            while not rig.got:  # noqa: ASYNC110  # the far end is a test's, and has no event for it
                await asyncio.sleep(0)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        assert not pool(rig.transport)._acquired
        assert not pool(rig.transport)._conns
        assert (await post(rig)).body == OK.body
