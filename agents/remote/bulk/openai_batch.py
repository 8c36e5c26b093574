"""The batch interface of OpenAI, which Azure, Groq and others have too: files of lines, and batches over them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

import msgspec

from ....schemas.errors import RemoteFailure, Timeout
from ..protocol import brief
from ..retry import CallRefused
from ..transport import Response, StreamingTransport, Upload
from .exchange import (
    CHUNK_BYTES,
    PAGE,
    SKEW_S,
    UNREADABLE,
    BulkPolicy,
    Exchange,
    Page,
    any_running,
    cancelled,
    count,
    creating,
    newest,
    quoted,
)
from .provider import BulkOrder, BulkState, BulkStatus, Line, LineResult, Lines, Unsure

#: the name of a batch among its metadata
_NAME = "bisupervised"
#: how long a batch may take, and the only value that there is
_WINDOW = "24h"
#: states in which nothing more happens
_ENDED = ("completed", "expired", "cancelled", "failed")
#: what the codes of a line's error mean here
_CODES = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
#: where the files of a batch stand in it, the answers before the errors
_FILES = ("output_file_id", "error_file_id")
#: states of a file that cannot be used yet, and seconds between the looks at it
_UNPROCESSED = ("pending", "running", "notRunning")
_FILE_WAITS_S = (1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
#: seconds after its end in which a batch that has answers may not name their file yet
_FILE_DELAY_S = 900.0
_DEPLOYMENT = re.compile(r"(?P<root>.*)/deployments/[^/]+(?P<endpoint>/.+)")
_VERSIONED = re.compile(r"(?P<root>.*/v\d+[a-z0-9]*)(?P<rest>/.+)")
#: the hosts on which the endpoint of a batch has no version before it
_AZURE = (".azure.com", ".azure.us", ".azure.cn")


class Places(NamedTuple):
    """Where a batch interface is, for the path of a direct call."""

    root: str  #: before /files and /batches
    endpoint: str  #: as a batch and its lines name it
    query: str = ""  #: of every call


def places_of(url: str, path: str) -> Places:
    """Where the batches of calls of this path are made, on the server with this URL.

    OpenAI and most others have the version in the path; Azure may have a deployment there, and takes no version in an
    endpoint.
    """
    plain, _, query = path.partition("?")
    address = urlsplit(url)
    base = address.path.rstrip("/")
    if found := _DEPLOYMENT.fullmatch(plain):
        return Places(found["root"], found["endpoint"], query)
    whole = _VERSIONED.fullmatch(base + plain)
    if whole is None:
        return Places(plain.rpartition("/chat/")[0], plain, query)
    version = whole["root"].rpartition("/")[2]
    azure = (address.hostname or "").endswith(_AZURE)
    return Places(whole["root"].removeprefix(base), whole["rest"] if azure else f"/{version}{whole['rest']}", query)


class _Batch(msgspec.Struct):
    """What is read of a batch; what has no type here may have any shape."""

    id: str
    status: str
    created_at: Any = 0
    expires_at: Any = None
    completed_at: Any = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: Any = None
    request_counts: Any = None
    metadata: Any = None


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False


class _File(msgspec.Struct):
    id: str
    status: Any = None
    status_details: Any = None


class _LineResponse(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")
    request_id: Any = None


class _LineError(msgspec.Struct):
    code: Any = None
    message: Any = None


class _Result(msgspec.Struct):
    custom_id: str
    response: _LineResponse | None = None
    error: _LineError | None = None


_batch = msgspec.json.Decoder(_Batch)
_page = msgspec.json.Decoder(_Page)
_file = msgspec.json.Decoder(_File)
_anything = msgspec.json.Decoder(Any)
_result = msgspec.json.Decoder(_Result)


class OpenAIBatch:
    """Batches of up to 50,000 lines and 200 MB, each known by its name in the metadata."""

    most_lines = 50_000
    most_bytes = 190_000_000  #: of 200 MB, by whichever unit they are counted, the form around them included
    window_s = 24 * 3600.0
    kept_s = 30 * 24 * 3600.0  #: files are kept until they are deleted; some servers delete after a month
    names_batches = True

    def __init__(
        self,
        transport: StreamingTransport,
        policy: BulkPolicy,
        path: str,
        *,
        endpoint: str = "",
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`path`: of a direct call. `endpoint`: as batches name it, where it is not what the path makes likely."""
        self._exchange = Exchange(transport, policy)
        self._places = places_of(policy.url, path)
        if endpoint:
            self._places = self._places._replace(endpoint=endpoint)
        self._line = _encoder(self._places.endpoint)
        self._now = now
        self._sleep = sleep

    @property
    def create_within_s(self) -> float:
        return self._exchange.policy.within_s + self._exchange.policy.timeout_s

    def line_size(self, line: Line) -> int:
        return len(self._line(line))

    async def create(self, order: BulkOrder, lines: Lines, guard: Callable[[], None]) -> BulkStatus:
        within_s = self._exchange.policy.within_s
        try:
            async with asyncio.timeout(within_s):
                file = await self._processed(await self._uploaded(order, lines))
        except TimeoutError as error:
            raise Timeout(f"the file of the batch was not sent and processed within {within_s:.3g} s") from error
        try:
            return await self._created(order, file, guard)
        except Unsure:
            raise
        except RemoteFailure:
            with suppress(RemoteFailure):
                await self._delete(file)
            raise

    async def _created(self, order: BulkOrder, file: str, guard: Callable[[], None]) -> BulkStatus:
        document = {
            "input_file_id": file,
            "endpoint": self._places.endpoint,
            "completion_window": _WINDOW,
            "metadata": {_NAME: order.name},
        }
        guard()
        with creating():
            key = sha256(order.name.encode()).hexdigest()
            created = await self._exchange.tell(self._at("/batches"), document, _batch, {"idempotency-key": key})
        return self._status(created)

    async def _uploaded(self, order: BulkOrder, lines: Lines) -> _File:
        """A file with these lines."""
        boundary = uuid4().hex
        head = _form(boundary, "purpose", b"batch") + _form(boundary, "file", b"", filename="batch.jsonl")
        tail = f"\r\n--{boundary}--\r\n".encode()

        async def chunks() -> AsyncIterator[bytes]:
            begun = bytearray(head)
            async for line in lines():
                begun += self._line(line)
                if len(begun) >= CHUNK_BYTES:
                    yield bytes(begun)
                    begun.clear()
            yield bytes(begun) + tail

        upload = Upload(len(head) + order.size + len(tail), chunks)
        form = {"content-type": f"multipart/form-data; boundary={boundary}"}
        return await self._exchange.send(self._at("/files"), upload, _file, form)

    async def _processed(self, file: _File) -> str:
        """The id of the file, as soon as a batch can be made of it: Azure looks through it first."""
        for wait_s in _FILE_WAITS_S:
            if file.status not in _UNPROCESSED:
                break
            await self._sleep(wait_s)
            file = await self._exchange.ask(self._at(f"/files/{quoted(file.id)}"), _file)
        if file.status in ("error", "failed"):
            raise CallRefused(
                f"the file of the batch cannot be processed: {brief(file.status_details or '')}", may_be_input=True
            )
        return file.id

    async def _delete(self, file: str) -> None:
        await self._exchange.ask(self._at(f"/files/{quoted(file)}"), _anything, method="DELETE")

    async def find(self, order: BulkOrder, known: Collection[str]) -> list[BulkStatus]:
        since_ms = order.begun_ms - int(SKEW_S * 1000)
        async for status in newest(self._page, since_ms):
            if status.name == order.name and status.id not in known:
                return [status]
        return []

    async def _page(self, after: str) -> Page:
        page = await self._exchange.ask(self._at("/batches", limit=str(PAGE), after=after), _page)
        return [self._status(each) for each in page.data], page.has_more

    async def any_running(self, since_ms: int) -> bool:
        return await any_running(self._page, since_ms)

    async def poll(self, bulk_id: str) -> BulkStatus:
        return self._status(await self._exchange.ask(self._at(f"/batches/{quoted(bulk_id)}"), _batch))

    async def cancel(self, bulk_id: str) -> BulkStatus:
        return await cancelled(self._cancel(bulk_id), lambda: self.poll(bulk_id))

    async def _cancel(self, bulk_id: str) -> BulkStatus:
        return self._status(await self._exchange.tell(self._at(f"/batches/{quoted(bulk_id)}/cancel"), {}, _batch, {}))

    async def results(self, status: BulkStatus) -> AsyncIterator[LineResult]:
        for name in _FILES:
            if file := status.handle.get(name):
                async for line in self._exchange.lines(self._at(f"/files/{quoted(file)}/content")):
                    yield UNREADABLE if line is None else _result_of(line)

    async def forget(self, status: BulkStatus) -> None:
        failed: list[RemoteFailure] = []
        for file in status.handle.values():
            try:
                await self._delete(file)
            except RemoteFailure as error:
                failed.append(error)
        if failed:
            raise failed[0]

    async def close(self) -> None:
        await self._exchange.close()

    def _at(self, path: str, **query: str) -> str:
        asked = [f"{name}={quote(value)}" for name, value in query.items() if value]
        joined = "&".join([part for part in (self._places.query, *asked) if part])
        return f"{self._places.root}{path}{joined and '?' + joined}"

    def _status(self, batch: _Batch) -> BulkStatus:
        files = {name: getattr(batch, name) for name in ("input_file_id", *_FILES)}
        counts = batch.request_counts if isinstance(batch.request_counts, dict) else {}
        total, completed, failed = (count(counts.get(name)) for name in ("total", "completed", "failed"))
        code, error = _first_error(batch.errors)
        return BulkStatus(
            id=batch.id,
            state=self._state(batch, completed),
            created_ms=count(batch.created_at) * 1000,
            expires_ms=batch.expires_at * 1000 if isinstance(batch.expires_at, int) else None,
            completed=completed,
            failed=failed,
            total=total,
            handle={name: file for name, file in files.items() if file},
            name=_name_of(batch),
            cancelling=batch.status.lower() in ("cancelling", "cancelled"),
            code=code,
            error=error,
        )

    def _state(self, batch: _Batch, completed: int) -> BulkState:
        status = batch.status.lower()
        if status not in _ENDED:
            return "running"
        if batch.output_file_id or batch.error_file_id:
            return "ended"
        if status == "failed" and not completed:
            return "failed"
        ended = batch.completed_at if isinstance(batch.completed_at, int) else 0
        late = self._now() - ended > _FILE_DELAY_S
        return "ended" if late or not completed else "running"


def _encoder(endpoint: str) -> Callable[[Line], bytes]:
    """From a line to what stands in the file."""
    place = msgspec.json.encode(endpoint)

    def encoded(line: Line) -> bytes:
        return b'{"custom_id":"%b","method":"POST","url":%b,"body":%b}\n' % (line.custom_id.encode(), place, line.body)

    return encoded


def _form(boundary: str, name: str, value: bytes, filename: str = "") -> bytes:
    """A field of a form; of a file, its beginning."""
    named = f'; filename="{filename}"\r\ncontent-type: application/jsonl' if filename else ""
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + (b"" if filename else b"\r\n")


def _name_of(batch: _Batch) -> str:
    name = batch.metadata.get(_NAME) if isinstance(batch.metadata, dict) else None
    return name if isinstance(name, str) else ""


def _first_error(errors: Any) -> tuple[str, str]:  # noqa: ANN401  # any JSON value
    """The code and the words of the first fault of a batch."""
    told = errors.get("data") if isinstance(errors, dict) else errors
    first = told[0] if isinstance(told, list) and told else told
    if not isinstance(first, dict):
        return "", "" if first is None else brief(first)
    where = f" (line {first['line']})" if isinstance(first.get("line"), int) else ""
    return brief(first.get("code") or ""), brief(first.get("message") or "") + where


def _result_of(line: bytes) -> LineResult:
    try:
        result = _result.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNREADABLE
    answer = result.response
    if answer is not None and 100 <= answer.status_code < 600:
        headers = {"x-request-id": answer.request_id} if isinstance(answer.request_id, str) else {}
        return LineResult(result.custom_id, Response(answer.status_code, headers, bytes(answer.body)))
    error = result.error or _LineError()
    code = error.code if isinstance(error.code, str) else ""
    return LineResult(
        result.custom_id, None, _CODES.get(code, "failed"), brief(error.message or code or "no reason given")
    )
