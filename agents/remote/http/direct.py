"""Requests without what aiohttp's session does around each of them: redirects, cookies, middleware, traces, uploads.

A session's request takes three times the CPU time of its parts: the connector, which keeps the connections, and the
parser, which reads responses. These are used here as the session uses them. What is out of the ordinary goes through
the session: addresses with credentials, headers that say how a body is sent, and versions of aiohttp whose parts are
not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import _serialize_headers
from multidict import CIMultiDict
from yarl import URL

from .connector import parts_are_known

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.streams import StreamReader

_CHUNK_BYTES = 64 * 1024
#: addresses that are remembered
_ADDRESSES = 64
#: headers that say how a body is sent, or for how long a connection is kept
_SPECIAL = frozenset(
    {
        *("connection", "content-encoding", "content-length", "cookie", "expect", "host", "keep-alive"),
        *("proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
#: what a request says of itself where its caller does not
_USUAL = {
    "accept": ("Accept", "*/*"),
    "user-agent": ("User-Agent", SERVER_SOFTWARE),
    "content-type": ("Content-Type", "application/octet-stream"),
}
_WITHOUT_BODY = ("HEAD",)
#: the caller bounds the whole
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class Received(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]  #: a multidict: a name may come several times
    body: bytes  #: of a body over the bound, one byte more than that


class _Address(NamedTuple):
    request: aiohttp.ClientRequest  #: by which the connector knows where to connect
    key: ConnectionKey  #: by which it knows the connections that are kept
    host: str
    path: str


async def read_body(content: StreamReader, most: int) -> bytes:
    """A body, and of one over this bound no more than one byte over it, which tells that there was more."""
    if content.is_eof():  # nearly always: it came in one piece
        return content.read_nowait()[: most + 1]
    found = bytearray()
    while len(found) <= most:
        chunk = await content.read(_CHUNK_BYTES)
        if not chunk:
            break
        found += chunk
    return bytes(found[: most + 1])


class Direct:
    """Sends requests over the connections of one session, and keeps no more than that."""

    def __init__(self, session: aiohttp.ClientSession, most: int) -> None:
        """`most`: bytes of the largest body that is read whole."""
        self._session = session
        self._most = most
        self._known = parts_are_known()
        self._addresses: dict[str, _Address | None] = {}

    def takes(self, url: str, headers: Mapping[str, str]) -> bool:
        """Nothing of this request needs the session. Raises `ValueError` where the address is none."""
        return self._known and _usual(tuple(headers)) is not None and self._address(url) is not None

    async def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Received:
        """Send a request that `takes` says yes to, and read its response.

        Raises `TimeoutError` after so many seconds, `aiohttp.ClientError`, and `ValueError` for what is no header.
        """
        address, usual = self._address(url), _usual(tuple(headers))
        if address is None or usual is None:
            raise ValueError("this request needs a session")
        sent = {"Host": address.host, **headers, **usual, "Content-Length": str(len(body))}
        head = _serialize_headers(f"{method} {address.path} HTTP/1.1", CIMultiDict(sent))
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        connection = await self._kept(address) or await self._connected(address, ends)
        late = loop.call_at(ends, _fail_late, connection)
        try:
            received = await self._exchange(connection, head, body, answers_body=method not in _WITHOUT_BODY)
        except HttpProcessingError as error:
            connection.close()
            raise aiohttp.ClientPayloadError(f"{error.code}, {error.message}") from error
        except BaseException:
            connection.close()
            raise
        finally:
            late.cancel()
        if connection.transport is None or connection.transport.get_write_buffer_size():
            connection.close()  # answered before it was all sent: what is left would come before the next request
        else:
            connection.release()
        return received

    async def _kept(self, address: _Address) -> Connection | None:
        """One that has served a call, if there is one. It is there at once, so no time needs to be kept."""
        return await self._connector()._get(address.key, [])  # noqa: SLF001  # `connect` goes on to make one

    async def _connected(self, address: _Address, ends: float) -> Connection:
        async with asyncio.timeout_at(ends):
            return await self._connector().connect(address.request, [], _NO_TIMEOUT)

    def _connector(self) -> aiohttp.BaseConnector:
        if self._session.connector is None:
            raise aiohttp.ClientConnectionError("the session is closed")
        return self._session.connector

    async def _exchange(self, connection: Connection, head: bytes, body: bytes, *, answers_body: bool) -> Received:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(skip_payload=not answers_body, read_until_eof=True, auto_decompress=False)
        transport.write(head + body if len(body) < _CHUNK_BYTES else head)
        if len(body) >= _CHUNK_BYTES:
            transport.write(body)
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code < 200 or message.code == 101:
                return Received(message.code, message.headers, await read_body(content, self._most))

    def _address(self, url: str) -> _Address | None:
        """None for one with credentials."""
        if url not in self._addresses:
            if len(self._addresses) >= _ADDRESSES:
                self._addresses.clear()
            self._addresses[url] = self._address_of(URL(url))
        return self._addresses[url]

    def _address_of(self, url: URL) -> _Address | None:
        host = url.host_port_subcomponent
        if host is None or url.scheme not in ("http", "https") or url.raw_user or url.raw_password:
            return None
        request = aiohttp.ClientRequest("POST", url, session=self._session)
        return _Address(request, request.connection_key, host, url.raw_path_qs)


def _fail_late(connection: Connection) -> None:
    """Whoever waits for the response, or for more of it, gets a `TimeoutError`."""
    if connection.protocol is not None:
        connection.protocol._on_read_timeout()  # noqa: SLF001  # its own is about each read, not the whole


@lru_cache(maxsize=256)
def _usual(names: tuple[str, ...]) -> Mapping[str, str] | None:
    """What headers of these names lack; None where one of them needs the session."""
    given = {name.lower() for name in names}
    if given & _SPECIAL:
        return None
    return dict(pair for name, pair in _USUAL.items() if name not in given)
