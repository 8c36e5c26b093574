"""The batch interfaces of OpenAI and Anthropic, served from memory: files, batches, and their results.

What answers a request is a function. A batch takes a while, is paid when it ends, and is told in the exact shape of its
interface. Parts of it can be made to go wrong by whoever inherits: `fate`, `counted`, `lines_out`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from aiohttp import BodyPartReader, web

#: what answers the body of a request: a status, and a document
Answer = Callable[[dict[str, Any]], tuple[int, Any]]
#: what a request of HTTP is answered with
Told = dict[str, Any]
#: what becomes of a request; a refused one has an answer that is an error
Fate = Literal["answered", "expired", "cancelled", "missing"]
_WINDOW_S = 24 * 3600
MOST_UPLOAD_BYTES = 512 * 1024 * 1024
#: bytes of results that are written at once
_CHUNK_BYTES = 64 * 1024


@dataclass(slots=True)
class ServedBatch:
    """A batch as the server knows it."""

    id: str
    requests: list[tuple[str, dict[str, Any]]]  #: custom ids and bodies
    created: float  #: seconds since the epoch
    ends: float  #: by the monotonic clock: then it has ended
    file: str = ""  #: of its lines; of OpenAI's
    endpoint: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    failed: str = ""  #: the code of why nothing of it was asked
    cancelled: bool = False
    fates: dict[int, Fate] | None = None  #: by position; None while it runs
    answers: dict[int, tuple[int, Any]] = field(default_factory=dict)  #: of those that are answered

    @property
    def ended(self) -> bool:
        return self.fates is not None

    def count(self, *fates: Fate) -> int:
        return sum(fate in fates for fate in (self.fates or {}).values())

    @property
    def succeeded(self) -> int:
        return sum(status < 400 for status, _ in self.answers.values())


class BulkServer:
    """Both interfaces over one set of batches. `add_routes` puts them into an application."""

    def __init__(self, answer: Answer, *, takes_s: float = 0.0, prefix: str = "") -> None:
        """`prefix`: before the paths of OpenAI's interface."""
        self.answer = answer
        self.takes_s = takes_s
        self.batches: dict[str, ServedBatch] = {}
        self.files: dict[str, list[bytes]] = {}
        self.paid: Counter[str] = Counter()  #: how often each custom id was answered, and so paid
        self.created = 0  #: batches, the failed included
        self.unprocessed = 0  #: above 0, files are still looked through
        self._prefix = prefix
        self._ids = 0

    # what can be made to go wrong

    def fate(self, batch: ServedBatch, position: int) -> Fate:
        """What becomes of this request, when the batch has ended."""
        return "cancelled" if batch.cancelled else "answered"

    def refusal(self, batch: ServedBatch) -> str:
        """The code of why nothing of a new batch is asked; '' where it is."""
        return ""

    async def before(self, request: web.Request) -> web.Response | None:
        """A request has come, and nothing is done yet. What is returned is told in place of it."""

    async def after(self, request: web.Request) -> None:
        """What a request asks for has been done, and it is not told yet."""

    def ended(self, batch: ServedBatch) -> None:
        """A batch has ended, and is paid."""

    def lines_out(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """The lines of results as they are sent."""
        return lines

    # what it does

    def add_routes(self, app: web.Application) -> None:
        app._client_max_size = MOST_UPLOAD_BYTES  # noqa: SLF001  # whoever makes the application knows nothing of files
        files, batches, messages = f"{self._prefix}/v1/files", f"{self._prefix}/v1/batches", "/v1/messages/batches"
        doors: list[tuple[str, str, Callable[[web.Request], Any]]] = [
            ("POST", files, self._upload),
            ("GET", files + "/{id}", self._file),
            ("DELETE", files + "/{id}", self._delete_file),
            ("POST", batches, self._create),
            ("GET", batches, self._list),
            ("GET", batches + "/{id}", self._get),
            ("POST", batches + "/{id}/cancel", self._cancel),
            ("POST", messages, self._create_messages),
            ("GET", messages, self._list_messages),
            ("GET", messages + "/{id}", self._get_messages),
            ("POST", messages + "/{id}/cancel", self._cancel_messages),
            ("DELETE", messages + "/{id}", self._delete_messages),
        ]
        for method, path, door in doors:
            app.router.add_route(method, path, self._watched(door))
        app.router.add_get(files + "/{id}/content", self._content)
        app.router.add_get(messages + "/{id}/results", self._results)

    def _watched(self, door: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if (instead := await self.before(request)) is not None:
                return instead
            try:
                told, status = await door(request), 200
            except _Refused as refused:
                told, status = refused.document, refused.status
            await self.after(request)
            return _json(told, status)

        return handle

    def _next(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}{self._ids:08d}"

    def begin(
        self,
        requests: list[tuple[str, dict[str, Any]]],
        kind: str,
        file: str = "",
        endpoint: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> ServedBatch:
        """A new batch."""
        ends = time.monotonic() + self.takes_s
        batch = ServedBatch(self._next(kind), requests, time.time(), ends, file, endpoint, metadata or {})
        self.created += 1
        batch.failed = self.refusal(batch)
        self.batches[batch.id] = batch
        return batch

    def _batch(self, request: web.Request) -> ServedBatch:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            raise _Refused(404, _openai_error("No such batch", "not_found"))
        self.end_if_due(batch)
        return batch

    def end_if_due(self, batch: ServedBatch) -> None:
        """Answer all of it, where its time has come."""
        if batch.ended or batch.failed or time.monotonic() < batch.ends:
            return
        batch.fates = {position: self.fate(batch, position) for position in range(len(batch.requests))}
        for position, fate in batch.fates.items():
            if fate == "answered":
                custom_id, body = batch.requests[position]
                batch.answers[position] = self.answer(body)
                self.paid[custom_id] += 1
        self.ended(batch)

    def _cancelled(self, request: web.Request) -> ServedBatch:
        batch = self._batch(request)
        if batch.ended or batch.failed:
            raise _Refused(409, _openai_error("The batch has ended", "batch_ended"))
        batch.cancelled, batch.ends = True, -math.inf
        return batch

    def _newest(self, after: str, limit: int) -> tuple[list[ServedBatch], bool]:
        """A page of batches, and whether there are more."""
        batches = list(reversed(self.batches.values()))
        for batch in batches:
            self.end_if_due(batch)
        if after:
            batches = batches[[batch.id for batch in batches].index(after) + 1 :]
        return batches[:limit], len(batches) > limit

    # OpenAI's

    async def _upload(self, request: web.Request) -> Told:
        fields: dict[str, bytes] = {}
        async for part in await request.multipart():  # not `request.post`: that writes files
            if isinstance(part, BodyPartReader) and part.name:
                fields[part.name] = bytes(await part.read())
        if fields.get("purpose") != b"batch" or "file" not in fields:
            raise _Refused(400, _openai_error("purpose must be batch", "invalid_request"))
        file = self._next("file-")
        self.files[file] = fields["file"].splitlines()
        return self._told_file(file)

    def _told_file(self, file: str) -> dict[str, Any]:
        if file not in self.files:
            raise _Refused(404, _openai_error("No such File object", "not_found"))
        return {
            "id": file,
            "object": "file",
            "bytes": sum(map(len, self.files[file])),
            "created_at": int(time.time()),
            "filename": "batch.jsonl",
            "purpose": "batch",
            "status": "pending" if self.unprocessed > 0 else "processed",
        }

    async def _file(self, request: web.Request) -> Told:
        return self._told_file(request.match_info["id"])

    async def _delete_file(self, request: web.Request) -> Told:
        file = request.match_info["id"]
        if self.files.pop(file, None) is None and not self._lines_of(file):
            raise _Refused(404, _openai_error("No such File object", "not_found"))
        return {"id": file, "object": "file", "deleted": True}

    async def _create(self, request: web.Request) -> Told:
        told = orjson.loads(await request.read())
        lines = self.files.get(told["input_file_id"])
        if self.unprocessed > 0 or lines is None or told["completion_window"] != "24h":
            raise _Refused(400, _openai_error("Invalid input_file_id or completion_window", "invalid_request"))
        documents = [orjson.loads(line) for line in lines]
        requests = [(each["custom_id"], each["body"]) for each in documents]
        batch = self.begin(requests, "batch_", told["input_file_id"], told["endpoint"], told.get("metadata"))
        if faulty := _faulty(documents, told["endpoint"]):
            batch.failed = faulty
        return self._told(batch)

    async def _list(self, request: web.Request) -> Told:
        page, more = self._newest(request.query.get("after", ""), int(request.query.get("limit", 20)))
        ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": [self._told(batch) for batch in page], **ends, "has_more": more}

    async def _get(self, request: web.Request) -> Told:
        return self._told(self._batch(request))

    async def _cancel(self, request: web.Request) -> Told:
        return self._told(self._cancelled(request))

    def _told(self, batch: ServedBatch) -> dict[str, Any]:
        created, ended = int(batch.created), int(time.time()) if batch.ended or batch.failed else None
        status = self._status(batch)
        error = {"code": batch.failed, "message": f"The batch failed: {batch.failed}", "param": None, "line": None}
        output = batch.succeeded > 0
        errors = batch.ended and len(batch.answers) - batch.succeeded + batch.count("expired", "cancelled") > 0
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "errors": {"object": "list", "data": [error]} if batch.failed else None,
            "input_file_id": batch.file,
            "completion_window": "24h",
            "status": status,
            "output_file_id": f"{batch.id}-output" if output else None,
            "error_file_id": f"{batch.id}-errors" if errors else None,
            "created_at": created,
            "in_progress_at": None if batch.failed else created,
            "expires_at": created + _WINDOW_S,
            "finalizing_at": None,
            "completed_at": ended if status == "completed" else None,
            "failed_at": ended if status == "failed" else None,
            "expired_at": ended if status == "expired" else None,
            "cancelling_at": None,
            "cancelled_at": ended if status == "cancelled" else None,
            "request_counts": {
                "total": 0 if batch.failed else len(batch.requests),
                "completed": batch.succeeded,
                "failed": len(batch.answers) - batch.succeeded + batch.count("expired", "cancelled"),
            },
            "metadata": batch.metadata,
        }

    def _status(self, batch: ServedBatch) -> str:
        if batch.failed:
            return "failed"
        if not batch.ended:
            return "cancelling" if batch.cancelled else "in_progress"
        if batch.cancelled:
            return "cancelled"
        return "expired" if batch.count("expired") else "completed"

    async def _content(self, request: web.Request) -> web.StreamResponse:
        if (instead := await self.before(request)) is not None:
            return instead
        lines = self._lines_of(request.match_info["id"])
        if lines is None:
            return _json(_openai_error("No such File object", "not_found"), 404)
        return await self._streamed(request, lines)

    def _lines_of(self, file: str) -> Iterator[bytes] | None:
        """The lines of a file of results; None where there is none."""
        name, _, kind = file.rpartition("-")
        batch = self.batches.get(name)
        if batch is None or not batch.ended or kind not in ("output", "errors"):
            return None
        return self._outputs(batch) if kind == "output" else self._errors(batch)

    def _outputs(self, batch: ServedBatch) -> Iterator[bytes]:
        for position, (status, body) in batch.answers.items():
            if status < 400:
                yield self._line(batch, position, {"response": _response(status, body), "error": None})

    def _errors(self, batch: ServedBatch) -> Iterator[bytes]:
        for position, (status, body) in batch.answers.items():
            if status >= 400:
                yield self._line(batch, position, {"response": _response(status, body), "error": None})
        for position, fate in (batch.fates or {}).items():
            if fate in ("expired", "cancelled"):
                error = {
                    "code": f"batch_{fate}",
                    "message": "This request could not be executed before the batch ended.",
                }
                yield self._line(batch, position, {"response": None, "error": error})

    def _line(self, batch: ServedBatch, position: int, rest: dict[str, Any]) -> bytes:
        return orjson.dumps({"id": f"batch_req_{position}", "custom_id": batch.requests[position][0]} | rest)

    # Anthropic's

    async def _create_messages(self, request: web.Request) -> Told:
        if not request.headers.get("anthropic-version"):
            raise _Refused(400, _anthropic_error("invalid_request_error", "anthropic-version: header is required"))
        requests = orjson.loads(await request.read())["requests"]
        pairs = [(each["custom_id"], each["params"]) for each in requests]
        if len({custom_id for custom_id, _ in pairs}) < len(pairs) or not pairs:
            raise _Refused(400, _anthropic_error("invalid_request_error", "custom_id must be unique"))
        batch = self.begin(pairs, "msgbatch_")
        if batch.failed:
            del self.batches[batch.id]
            raise _Refused(429, _anthropic_error("rate_limit_error", f"too many requests wait: {batch.failed}"))
        return self._told_messages(batch, request)

    async def _list_messages(self, request: web.Request) -> Told:
        page, more = self._newest(request.query.get("after_id", ""), int(request.query.get("limit", 20)))
        ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else {"first_id": None, "last_id": None}
        return {"data": [self._told_messages(batch, request) for batch in page], **ends, "has_more": more}

    async def _get_messages(self, request: web.Request) -> Told:
        return self._told_messages(self._batch(request), request)

    async def _cancel_messages(self, request: web.Request) -> Told:
        return self._told_messages(self._cancelled(request), request)

    async def _delete_messages(self, request: web.Request) -> Told:
        batch = self._batch(request)
        if not batch.ended:
            raise _Refused(400, _anthropic_error("invalid_request_error", "the batch is still processing"))
        del self.batches[batch.id]
        return {"id": batch.id, "type": "message_batch_deleted"}

    def _told_messages(self, batch: ServedBatch, request: web.Request) -> dict[str, Any]:
        ended = datetime.now(UTC).isoformat() if batch.ended else None
        refused = len(batch.answers) - batch.succeeded
        running = "canceling" if batch.cancelled else "in_progress"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if batch.ended else running,
            "request_counts": {
                "processing": 0 if batch.ended else len(batch.requests),
                "succeeded": batch.succeeded,
                "errored": refused,
                "canceled": batch.count("cancelled"),
                "expired": batch.count("expired", "missing"),
            },
            "ended_at": ended,
            "created_at": datetime.fromtimestamp(batch.created, UTC).isoformat(),
            "expires_at": datetime.fromtimestamp(batch.created + _WINDOW_S, UTC).isoformat(),
            "archived_at": None,
            "cancel_initiated_at": datetime.fromtimestamp(batch.created, UTC).isoformat() if batch.cancelled else None,
            "results_url": f"{request.url.origin()}/v1/messages/batches/{batch.id}/results" if batch.ended else None,
        }

    async def _results(self, request: web.Request) -> web.StreamResponse:
        if (instead := await self.before(request)) is not None:
            return instead
        batch = self.batches.get(request.match_info["id"])
        if batch is None or not batch.ended:
            return _json(_anthropic_error("not_found_error", "no results"), 404)
        return await self._streamed(request, self._message_results(batch))

    def _message_results(self, batch: ServedBatch) -> Iterator[bytes]:
        for position, fate in (batch.fates or {}).items():
            custom_id = batch.requests[position][0]
            if fate == "answered":
                status, body = batch.answers[position]
                told = {"type": "succeeded", "message": body} if status < 400 else {"type": "errored", "error": body}
                yield orjson.dumps({"custom_id": custom_id, "result": told})
            elif fate != "missing":
                kind = "canceled" if fate == "cancelled" else fate
                yield orjson.dumps({"custom_id": custom_id, "result": {"type": kind}})

    async def _streamed(self, request: web.Request, lines: Iterator[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/x-jsonl"})
        await response.prepare(request)
        async for chunk in _chunks(self.lines_out(lines)):
            await response.write(chunk)
        await response.write_eof()
        return response


class _Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, document: Any) -> None:  # noqa: ANN401  # any JSON value
        super().__init__(f"status {status}")
        self.status = status
        self.document = document


async def _chunks(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    begun = bytearray()
    for line in lines:
        begun += line + b"\n"
        if len(begun) >= _CHUNK_BYTES:
            yield bytes(begun)
            begun.clear()
            await asyncio.sleep(0)
    yield bytes(begun)


def _faulty(documents: list[dict[str, Any]], endpoint: str) -> str:
    """The code of what is wrong with the lines of a file; '' for nothing."""
    if not documents:
        return "empty_file"
    if len({each["custom_id"] for each in documents}) < len(documents):
        return "duplicate_custom_id"
    if any(each["url"] != endpoint or each["method"] != "POST" for each in documents):
        return "mismatched_endpoint"
    return "" if len({each["body"].get("model") for each in documents}) == 1 else "model_mismatch"


def _response(status: int, body: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON value
    return {"status_code": status, "request_id": "req-0", "body": body}


def _openai_error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _json(document: Any, status: int) -> web.Response:  # noqa: ANN401  # any JSON value
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")
