"""Bytes over HTTP. Foreign errors are translated here, once."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import aiohttp

from ...schemas.errors import RemoteError, RemoteFailure, Timeout
from ..compression import PLAIN, CannotDecompress, TooLarge, decompress, encodings_of, inflated
from .http.connector import Connector, parts_are_known
from .http.direct import Direct, read_body
from .retry import NotAnAnswer, NotConnected

#: largest body that is read, bytes. It is parsed in the event loop, at about 50 ms a MiB for the worst of JSON.
MAX_RESPONSE_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_ENCODING = "content-encoding"
_MARKS = re.compile(rb"(?:\s*\xef\xbb\xbf)+")
#: errors of aiohttp and of sockets. `ValueError`: headers that are no headers
_FOREIGN = (aiohttp.ClientError, OSError, ValueError)
#: how gzip begins; no JSON and no text does
_GZIPPED = b"\x1f\x8b\x08"


class Response(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]  #: names in lower case
    body: (
        bytes  #: plain and without a byte order mark, whatever came; of an error no more than the bound, cut off there
    )

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


#: a success that says nothing
EMPTY = Response(200, {}, b"")


class Transport(Protocol):
    """Sends a body and returns the response.

    Raises `Timeout` after `timeout_s` seconds, `RemoteError` where no whole response came, `NotAnAnswer`
    where a successful one is larger than the bound or cannot be decompressed (the same question would get the same
    again), and nothing else. Follows no redirects, for they could lead the inputs elsewhere. Asks for plain bodies, and
    decompresses within the bound what comes compressed all the same.
    """

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response: ...

    async def close(self) -> None: ...


class Upload(NamedTuple):
    """A body that is made while it is sent."""

    size: int  #: bytes of all chunks
    chunks: Callable[[], AsyncIterator[bytes]]  #: from the first on, the same each time


class Download(NamedTuple):
    """A response that is read while it comes, however large it is."""

    status: int
    headers: Mapping[str, str]  #: names in lower case
    chunks: AsyncIterator[bytes]  #: plain; raises as `StreamingTransport` says

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


@runtime_checkable
class StreamingTransport(Transport, Protocol):
    """Sends and returns bodies that no memory holds. It raises as `Transport` does.

    A `Timeout` here is `silence_s` seconds in which nothing has moved, or `within_s` seconds for all of it.
    """

    async def upload(
        self, url: str, body: Upload, headers: Mapping[str, str], silence_s: float, within_s: float
    ) -> Response:
        """POST it. What its chunks raise comes out, and then the server has not got the whole body."""
        ...

    def download(
        self, url: str, headers: Mapping[str, str], silence_s: float, within_s: float
    ) -> AbstractAsyncContextManager[Download]:
        """GET it, whatever its status."""
        ...


class AiohttpTransport:
    """The real thing: one session. `connections` at once, 0 for as many as its caller has calls in flight.

    `tls`: whom to believe, and what to show; None for the system's certificates. `proxy`: where calls go instead, ''
    for straight on. aiohttp's own way to a proxy of the environment is not taken: it would read ~/.netrc, too.
    """

    def __init__(
        self,
        *,
        connections: int,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        tls: ssl.SSLContext | None = None,
        proxy: str = "",
    ) -> None:
        self._connections = connections
        self._tls = tls
        self._proxy = proxy or None
        self._most = max_response_bytes
        self._session: aiohttp.ClientSession | None = None
        self._direct: Direct | None = None  # over the session's connections

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        asked = _asking_plain(headers)
        try:
            session = self._open()
            if self._proxy is None and self._direct is not None and self._direct.takes(url, asked):
                received = await self._direct.send(method, url, body, asked, timeout_s)
                return _bounded(received.status, _by_name(received.headers.items()), received.body, self._most)
            limit = aiohttp.ClientTimeout(total=timeout_s, ceil_threshold=float("inf"))  # inf: never rounded up
            async with session.request(
                method, url, data=body, headers=asked, timeout=limit, allow_redirects=False, proxy=self._proxy
            ) as response:
                return _bounded(
                    response.status, _by_name(response.headers.items()), await self._read(response), self._most
                )
        except _FOREIGN as error:
            raise _translated(error, f"no answer within {timeout_s:.3g} s") from error

    async def upload(
        self, url: str, body: Upload, headers: Mapping[str, str], silence_s: float, within_s: float
    ) -> Response:
        limit = aiohttp.ClientTimeout(total=within_s, ceil_threshold=float("inf"))
        failed: list[Exception] = []
        silence = f"nothing moved for {silence_s:.3g} s, or the call took {within_s:.3g} s"
        try:
            async with asyncio.timeout(silence_s) as patience:

                async def sent() -> AsyncIterator[bytes]:
                    try:
                        async for chunk in _as_large_as(body):
                            patience.reschedule(asyncio.get_running_loop().time() + silence_s)
                            yield chunk
                    except Exception as error:  # aiohttp would call it a failed connection
                        failed.append(error)
                        raise

                async with self._open().post(
                    url,
                    data=sent(),
                    headers=_asking_plain(headers) | {"content-length": str(body.size)},
                    timeout=limit,
                    allow_redirects=False,
                    proxy=self._proxy,
                ) as response:
                    return _bounded(
                        response.status, _by_name(response.headers.items()), await self._read(response), self._most
                    )
        except _FOREIGN as error:
            raise failed[0] if failed else _translated(error, silence) from error

    @asynccontextmanager
    async def download(
        self, url: str, headers: Mapping[str, str], silence_s: float, within_s: float
    ) -> AsyncIterator[Download]:
        limit = aiohttp.ClientTimeout(total=within_s, sock_connect=silence_s, sock_read=silence_s)
        silence = f"nothing came for {silence_s:.3g} s, or all of it took {within_s:.3g} s"
        try:
            response = await self._open().get(
                url, headers=_asking_plain(headers), timeout=limit, allow_redirects=False, proxy=self._proxy
            )
        except _FOREIGN as error:
            raise _translated(error, silence) from error
        async with response:  # what is not read closes the connection
            named = _by_name(response.headers.items())
            yield Download(response.status, named, _plain(_chunks(response, silence), named.get(_ENCODING, "")))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = self._direct = None

    def _open(self) -> aiohttp.ClientSession:
        # on first use: a session belongs to a running loop. No cookies: calls share no state.
        if self._session is None:
            kind = Connector if parts_are_known() else aiohttp.TCPConnector
            connector = kind(limit=self._connections, ssl=self._tls or True)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
            # by itself it would send a PUT again on a connection that was closed: a try nobody counts, and pays for
            self._session._retry_connection = False  # noqa: SLF001  # there is no public way
            self._direct = Direct(self._session, self._most)
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """One byte more than the bound at most, which tells that there was more."""
        body = await read_body(response.content, self._most)
        if len(body) > self._most:
            response.close()  # the rest is not read, so the connection cannot serve another call
        return body


def _translated(error: Exception, late: str) -> RemoteFailure:
    """One of `_FOREIGN` as ours."""
    if isinstance(error, TimeoutError):  # first: some of aiohttp's are a ClientError as well
        return Timeout(late)
    if isinstance(error, aiohttp.ClientConnectorError):
        return NotConnected(f"no connection: {type(error).__name__}: {error}")
    return RemoteError(f"the call failed: {type(error).__name__}: {error}")


async def _as_large_as(body: Upload) -> AsyncIterator[bytes]:
    """Its chunks. Raises `ValueError` where they are of another size: aiohttp would cut off the rest, or wait."""
    left = body.size
    async for chunk in body.chunks():
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise ValueError(f"the body is not of {body.size} bytes, as was said")


async def _chunks(response: aiohttp.ClientResponse, silence: str) -> AsyncIterator[bytes]:
    while True:
        try:
            chunk = await response.content.read(_CHUNK_BYTES)
        except _FOREIGN as error:
            raise _translated(error, silence) from error
        if not chunk:
            return
        yield chunk


async def _plain(chunks: AsyncIterator[bytes], encodings: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in inflated(chunks, encodings):
            yield chunk
    except CannotDecompress as error:
        raise NotAnAnswer(f"the answer is compressed and cannot be read: {error}") from error


class Sent(NamedTuple):
    """A call that `ScriptedTransport` got."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout_s: float
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Slow:
    """A response that takes its time: a `Timeout` where that is longer than the caller waits."""

    takes_s: float
    response: Response = EMPTY


ScriptStep = Response | Slow | RemoteFailure
Script = Iterable[ScriptStep] | Callable[[Sent], ScriptStep]


class ScriptedTransport:
    """The fake, for tests of whatever calls: answers by script, or by a function of the call. No time passes.

    Ships with the real thing and obeys the same tests. Raises `LookupError` when the script has ended.
    """

    def __init__(self, script: Script, *, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self.sent: list[Sent] = []
        self.closed = False
        self._most = max_response_bytes
        self._next = script if callable(script) else _from(script)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        sent = Sent(url, body, headers, timeout_s, method)
        self.sent.append(sent)
        await asyncio.sleep(0)  # as a real call would, let others run
        step = self._next(sent)
        if isinstance(step, RemoteFailure):
            raise step
        if isinstance(step, Slow):
            if step.takes_s >= timeout_s:
                raise Timeout(f"no answer within {timeout_s:.3g} s")
            step = step.response
        return _bounded(step.status, _by_name(step.headers.items()), step.body, self._most)

    async def close(self) -> None:
        self.closed = True


def _from(script: Iterable[ScriptStep]) -> Callable[[Sent], ScriptStep]:
    steps = iter(script)

    def following(sent: Sent) -> ScriptStep:
        for step in steps:
            return step
        raise LookupError(f"the script has no answer to a call of {sent.url}")

    return following


def _asking_plain(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in headers.items() if name.lower() != "accept-encoding"}
    return kept | {"accept-encoding": PLAIN}


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers, the last of each name; but of encodings all, in the order in which they were applied."""
    names: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        names[key] = f"{names[key]}, {value}" if key == _ENCODING and key in names else value
    return names


def _without_marks(body: bytes) -> bytes:
    """Without byte order marks before it, also where there are several, or line ends around them."""
    before = _MARKS.match(body)
    return body[before.end() :] if before else body


def _bounded(status: int, headers: Mapping[str, str], body: bytes, most: int) -> Response:
    """The response with its body as it was before somebody compressed it. Of an error, the status is enough."""
    encodings = encodings_of(headers[_ENCODING]) if _ENCODING in headers else []
    if not encodings and body.startswith(_GZIPPED):  # and does not say so
        encodings = ["gzip"]
    if not encodings and len(body) <= most:
        return Response(status, headers, _without_marks(body))
    response = Response(status, headers, body[:most])
    try:
        if len(body) > most:
            raise TooLarge
        return response._replace(body=_without_marks(decompress(body, encodings, most)))
    except TooLarge as error:
        if response.succeeded:
            raise NotAnAnswer(f"the answer is larger than {most} bytes") from error
    except CannotDecompress as error:
        if response.succeeded:
            raise NotAnAnswer(f"the answer is compressed and cannot be read: {error}") from error
        return response._replace(body=f"its account is compressed and cannot be read: {error}".encode())
    return response._replace(body=b"" if encodings else _without_marks(response.body))
