"""The message batches of Anthropic: all requests in one call, and results of any order at an address.

A batch has no name there. One that may have been created without our hearing of it is found by its time and its size,
and known for sure by the `custom_id`s of its results.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import msgspec

from ..protocol import brief, complaint_in
from ..transport import Response, StreamingTransport, Upload
from .exchange import (
    CHUNK_BYTES,
    JSON,
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
from .provider import BulkOrder, BulkStatus, Line, LineResult, Lines

_PATH = "/v1/messages/batches"
#: the interface's version where the settings name none
_VERSION = {"anthropic-version": "2023-06-01"}
_HEAD, _TAIL = b'{"requests":[', b"]}"
#: what counts the requests of a batch that are not answered any more
_UNANSWERED = ("errored", "canceled", "expired")
#: the status that a direct call would have for the type of an error
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class _Batch(msgspec.Struct):
    """What is read of a batch; what has no type here may have any shape."""

    id: str
    processing_status: str
    created_at: str = ""
    expires_at: Any = None
    cancel_initiated_at: Any = None
    request_counts: Any = None


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False


class _Outcome(msgspec.Struct):
    type: Literal["succeeded", "errored", "canceled", "expired"]
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Result(msgspec.Struct):
    custom_id: str
    result: _Outcome


_batch = msgspec.json.Decoder(_Batch)
_page = msgspec.json.Decoder(_Page)
_anything = msgspec.json.Decoder(Any)
_result = msgspec.json.Decoder(_Result)


class AnthropicBatch:
    """Batches of up to 100,000 requests and 256 MB, without names."""

    most_lines = 100_000
    most_bytes = 250_000_000  #: of 256 MB, by whichever unit they are counted
    window_s = 24 * 3600.0
    kept_s = 29 * 24 * 3600.0
    names_batches = False

    def __init__(self, transport: StreamingTransport, policy: BulkPolicy) -> None:
        named = {name.lower(): value for name, value in policy.headers.items()}
        self._exchange = Exchange(transport, replace(policy, headers=_VERSION | named))

    @property
    def create_within_s(self) -> float:
        return self._exchange.policy.within_s + self._exchange.policy.timeout_s

    def line_size(self, line: Line) -> int:
        return len(_encoded(line)) + 1  # a comma

    async def create(self, order: BulkOrder, lines: Lines, guard: Callable[[], None]) -> BulkStatus:
        async def chunks() -> AsyncIterator[bytes]:
            begun, comma = bytearray(_HEAD), b""
            async for line in lines():
                begun += comma + _encoded(line)
                comma = b","
                if len(begun) >= CHUNK_BYTES:
                    guard()
                    yield bytes(begun)
                    begun.clear()
            guard()
            yield bytes(begun) + _TAIL

        upload = Upload(len(_HEAD) + order.size - 1 + len(_TAIL), chunks)
        headers = {**JSON, "idempotency-key": sha256(order.name.encode()).hexdigest()}
        with creating():
            return _status(await self._exchange.send(_PATH, upload, _batch, headers))

    async def find(self, order: BulkOrder, known: Collection[str]) -> list[BulkStatus]:
        """Of the right size and time, the nearest in time first."""
        oldest_ms = order.begun_ms - int(SKEW_S * 1000)
        youngest_ms = order.begun_ms + int((self.create_within_s + SKEW_S) * 1000)
        candidates = [
            status
            async for status in newest(self._page, oldest_ms)
            if status.id not in known and status.total == order.lines and oldest_ms <= status.created_ms <= youngest_ms
        ]
        return sorted(candidates, key=lambda status: abs(status.created_ms - order.begun_ms))

    async def _page(self, after: str) -> Page:
        query = f"?limit={PAGE}" + (f"&after_id={quoted(after)}" if after else "")
        page = await self._exchange.ask(_PATH + query, _page)
        return [_status(each) for each in page.data], page.has_more

    async def any_running(self, since_ms: int) -> bool:
        return await any_running(self._page, since_ms)

    async def poll(self, bulk_id: str) -> BulkStatus:
        return _status(await self._exchange.ask(_at(bulk_id), _batch))

    async def cancel(self, bulk_id: str) -> BulkStatus:
        return await cancelled(self._cancel(bulk_id), lambda: self.poll(bulk_id))

    async def _cancel(self, bulk_id: str) -> BulkStatus:
        return _status(await self._exchange.tell(f"{_at(bulk_id)}/cancel", {}, _batch, {}))

    async def results(self, status: BulkStatus) -> AsyncIterator[LineResult]:
        # not at the address that the batch names: it could lead the key elsewhere
        async for line in self._exchange.lines(f"{_at(status.id)}/results"):
            yield UNREADABLE if line is None else _result_of(line)

    async def forget(self, status: BulkStatus) -> None:
        await self._exchange.ask(_at(status.id), _anything, method="DELETE")

    async def close(self) -> None:
        await self._exchange.close()


def _at(bulk_id: str) -> str:
    return f"{_PATH}/{quoted(bulk_id)}"


def _encoded(line: Line) -> bytes:
    return b'{"custom_id":"%b","params":%b}' % (line.custom_id.encode(), line.body)


def _status(batch: _Batch) -> BulkStatus:
    counts: Mapping[str, Any] = batch.request_counts if isinstance(batch.request_counts, dict) else {}
    completed = count(counts.get("succeeded"))
    failed = sum(count(counts.get(name)) for name in _UNANSWERED)
    return BulkStatus(
        id=batch.id,
        state="ended" if batch.processing_status == "ended" else "running",
        created_ms=_ms(batch.created_at) or 0,
        expires_ms=_ms(batch.expires_at),
        completed=completed,
        failed=failed,
        total=completed + failed + count(counts.get("processing")),
        cancelling=batch.processing_status == "canceling" or batch.cancel_initiated_at is not None,
    )


def _ms(written: Any) -> int | None:  # noqa: ANN401  # any JSON value
    """A time of RFC 3339 in milliseconds since the epoch; None where it is none."""
    try:
        return int(datetime.fromisoformat(written).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return None


def _result_of(line: bytes) -> LineResult:
    try:
        custom_id, result = (decoded := _result.decode(line)).custom_id, decoded.result
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNREADABLE
    if result.type == "succeeded":
        return LineResult(custom_id, Response(200, {}, bytes(result.message)))
    if result.type == "errored":
        return _failed(custom_id, bytes(result.error))
    code = "cancelled" if result.type == "canceled" else result.type
    return LineResult(custom_id, None, code, f"the provider says {result.type}")


def _failed(custom_id: str, error: bytes) -> LineResult:
    """As a direct call would have failed; without a response where nobody knows how."""
    said = complaint_in(error)
    status = _STATUSES.get(said.code)
    if status is None:
        return LineResult(custom_id, None, "failed", brief(said.text or "no reason given"))
    return LineResult(custom_id, Response(status, {}, error))
