"""What the batch interfaces have in common on the wire: JSON asked and told, and lines that come as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import orjson

from ....schemas.errors import RateLimited, RemoteError, RemoteFailure
from ..protocol import complaint_in, raise_for_status
from ..retry import CallRefused, NotAnAnswer, NotConnected
from ..transport import Download, Response, StreamingTransport, Upload
from .provider import BulkStatus, LineResult, TooLate, Unsure

T = TypeVar("T")

#: bytes of an error's body that are read of a download
_ERROR_BYTES = 64 * 1024
#: seconds by which a provider's clock may differ from ours
SKEW_S = 3600.0
#: batches of one page of a list, and the most pages that are looked through
PAGE, _MOST_PAGES = 100, 200
#: bytes of lines that are sent at once
CHUNK_BYTES = 64 * 1024
JSON = {"content-type": "application/json"}


#: some batches, and whether there are more
Page = tuple[list[BulkStatus], bool]


@dataclass(frozen=True, slots=True)
class BulkPolicy:
    """Where a batch interface is, and how patient to be with it."""

    url: str  #: of the server, without a path
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  #: sent along; may hold a secret
    timeout_s: float = 60.0  #: seconds for a question, and in which something must move of what is long
    within_s: float = 1800.0  #: seconds for what is long, all in all: files that are sent and fetched
    most_line_bytes: int = 16 * 1024 * 1024  #: of one result; a longer one is not read


class Exchange:
    """Asks one server. All that goes wrong is a `RemoteFailure`."""

    def __init__(self, transport: StreamingTransport, policy: BulkPolicy) -> None:
        self._transport = transport
        self.policy = policy

    async def ask(self, path: str, decoder: msgspec.json.Decoder[T], *, method: str = "GET") -> T:
        """The document at a path."""
        return await self._post(path, b"", {}, decoder, method)

    async def tell(
        self,
        path: str,
        document: Any,  # noqa: ANN401  # any JSON value
        decoder: msgspec.json.Decoder[T],
        headers: Mapping[str, str],
    ) -> T:
        """The document that this one brings."""
        return await self._post(path, orjson.dumps(document), {**JSON, **headers}, decoder, "POST")

    async def _post(
        self, path: str, body: bytes, headers: Mapping[str, str], decoder: msgspec.json.Decoder[T], method: str
    ) -> T:
        sent = {**self.policy.headers, **headers}
        with _only_failures():
            response = await self._transport.post(self._url(path), body, sent, self.policy.timeout_s, method=method)
            return _read(response, decoder)

    async def send(self, path: str, body: Upload, decoder: msgspec.json.Decoder[T], headers: Mapping[str, str]) -> T:
        """The document that a body of any size brings. What its chunks raise comes out."""
        sent, policy = {**self.policy.headers, **headers}, self.policy
        with _only_failures():
            response = await self._transport.upload(self._url(path), body, sent, policy.timeout_s, policy.within_s)
            return _read(response, decoder)

    async def lines(self, path: str) -> AsyncIterator[bytes | None]:
        """The lines of a file, as they come; None for one that is too long."""
        policy = self.policy
        with _only_failures():
            async with self._transport.download(
                self._url(path), dict(policy.headers), policy.timeout_s, policy.within_s
            ) as download:
                if not download.succeeded:
                    _raise_for(Response(download.status, download.headers, await _beginning(download)))
                async for line in split(download.chunks, policy.most_line_bytes):
                    yield line

    async def close(self) -> None:
        await self._transport.close()

    def _url(self, path: str) -> str:
        return self.policy.url.rstrip("/") + path


@contextmanager
def creating() -> Iterator[None]:
    """What is done within creates a batch: raises `Unsure` where that may have come about before it failed."""
    try:
        yield
    except (Unsure, TooLate, NotConnected, RateLimited):
        raise
    except CallRefused as error:
        if error.may_be_input:
            raise
        raise Unsure(str(error), retry_after_s=error.retry_after_s) from error  # a redirect, or a failure that is final
    except RemoteFailure as error:
        raise Unsure(str(error), retry_after_s=error.retry_after_s) from error


@contextmanager
def _only_failures() -> Iterator[None]:
    """An answer that is none may be another one next time: it is no input that is asked about here."""
    try:
        yield
    except NotAnAnswer as error:
        raise RemoteError(str(error)) from error


def _read(response: Response, decoder: msgspec.json.Decoder[T]) -> T:
    _raise_for(response)
    try:
        return decoder.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnAnswer(f"the answer of the batch interface cannot be read: {error}") from error


def _raise_for(response: Response) -> None:
    raise_for_status(response, *complaint_in(response.body))


async def newest(fetch: Callable[[str], Awaitable[Page]], since_ms: int) -> AsyncIterator[BulkStatus]:
    """A provider's batches, back to one that was created before then. `fetch` gives the page after a batch, '' for the
    first one. Raises `RemoteError` where there are too many to look through.
    """
    after = ""
    for _ in range(_MOST_PAGES):
        found, more = await fetch(after)
        for status in found:
            yield status
        times = [status.created_ms for status in found]
        newest_first = times == sorted(times, reverse=True)  # as all do, and none promises
        if not found or not more or (newest_first and times[-1] < since_ms):
            return
        after = found[-1].id
    raise RemoteError(f"there are more than {PAGE * _MOST_PAGES} batches to look through")


async def any_running(fetch: Callable[[str], Awaitable[Page]], since_ms: int) -> bool:
    """Whether one has not ended of the batches that were created since then."""
    async for status in newest(fetch, since_ms):
        if status.state == "running":
            return True
    return False


async def cancelled(asking: Awaitable[BulkStatus], poll: Callable[[], Awaitable[BulkStatus]]) -> BulkStatus:
    """What is asked, or how it is where it cannot be cancelled any more: it has ended, or somebody was quicker."""
    try:
        return await asking
    except RemoteFailure:
        status = await poll()
        if status.state == "running" and not status.cancelling:
            raise
        return status


def quoted(given: str) -> str:
    """An id of a provider's as a part of a path, whatever is in it."""
    return quote(given, safe="")


def count(value: Any) -> int:  # noqa: ANN401  # any JSON value
    """A number that is told; 0 for anything else."""
    return value if isinstance(value, int) and value > 0 else 0


async def _beginning(download: Download) -> bytes:
    found = b""
    async for chunk in download.chunks:
        found += chunk
        if len(found) >= _ERROR_BYTES:
            break
    return found[:_ERROR_BYTES]


async def split(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes | None]:
    """Lines of a stream without their ends, empty ones left out; None for one of more than `most` bytes.

    No more than that is held of a line.
    """
    begun, dropped = bytearray(), False
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            begun += part
            if dropped or len(begun) > most:
                yield None
            elif line := bytes(begun).strip():
                yield line
            begun, dropped = bytearray(), False
        begun += rest
        if len(begun) > most:
            begun, dropped = bytearray(), True
    if dropped or begun.strip():
        yield None if dropped else bytes(begun).strip()


UNREADABLE = LineResult("", None, "unreadable", "the line cannot be read")
