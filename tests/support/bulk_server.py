"""A provider of batches that misbehaves, in the exact shape of both interfaces.

What goes wrong is chosen beforehand, so a test knows what to expect; what is left to chance has a seed. `paid` counts
how often each request was answered: a provider bills for that.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from aiohttp import web
from bisupervised.streams.sandbox.bulk_server import Answer, BulkServer, Fate, ServedBatch

from .remotes import chat_completion, choice

#: what may be asked, as faults name it
Door = Literal["upload", "create", "list", "get", "cancel", "content"]


@dataclass
class Faults:
    """What is to go wrong. Shares are of requests, counts are used up."""

    errored: float = 0.0  #: share that is answered with an error of their own
    expired: float = 0.0
    missing: float = 0.0  #: share that no result tells of
    duplicated: float = 0.0  #: share of the lines of results that come twice
    foreign: int = 0  #: lines of results that are nobody's
    unreadable: int = 0  #: lines of results that are no JSON
    shuffled: bool = False  #: results come in any order
    padding: int = 0  #: bytes that each answer is made longer by
    lose_before: Counter[Door] = field(default_factory=Counter)  #: connections lost before anything was done
    lose_after: Counter[Door] = field(default_factory=Counter)  #: connections lost when it had been done
    refuse: dict[Door, list[web.Response]] = field(default_factory=dict)  #: answers in place of what is done
    delay_s: dict[Door, float] = field(default_factory=dict)  #: before anything is done
    cut_results: int = 0  #: times that the results are cut off in their middle
    most_tokens: int = 0  #: that may wait in batches; 0 for no such limit


def chat_answer(body: dict[str, Any]) -> tuple[int, Any]:
    """A chat completion whose answer is the question, and whose probability is the same each time."""
    text = str(body["messages"][-1]["content"])
    logprob = -random.Random(text).random() / 2
    return 200, chat_completion(choice(text, [logprob]))


def message_answer(body: dict[str, Any]) -> tuple[int, Any]:
    """A message of Anthropic's that says the question, through the tool where there is one."""
    text = str(body["messages"][-1]["content"])
    called = {"type": "tool_use", "id": "t", "name": "answer", "input": {"label": text, "confidence": 0.9}}
    content = called if body.get("tools") else {"type": "text", "text": text}
    return 200, {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": [content],
        "stop_reason": "tool_use" if body.get("tools") else "end_turn",
        "usage": {"input_tokens": 9, "output_tokens": 2},
    }


def any_answer(body: dict[str, Any]) -> tuple[int, Any]:
    """Whichever interface asks: only Anthropic's requests must say `max_tokens` and name no other."""
    return message_answer(body) if "max_tokens" in body and "logprobs" not in body else chat_answer(body)


_OWN_ERROR = {
    "error": {"message": "This model's maximum context length is exceeded", "code": "context_length_exceeded"}
}
_OWN_ERROR_MESSAGE = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long"}}


class LyingBulkServer(BulkServer):
    """The server with its faults."""

    def __init__(self, answer: Answer = any_answer, *, faults: Faults | None = None, takes_s: float = 0.0) -> None:
        super().__init__(self._answered, takes_s=takes_s)
        self.faults = faults or Faults()
        self.asked: Counter[Door] = Counter()
        self.headers: list[dict[str, str]] = []  #: of each request, names in lower case
        self._inner = answer
        self._chance = random.Random(7)

    def _answered(self, body: dict[str, Any]) -> tuple[int, Any]:
        status, document = self._inner(body)
        if self.faults.padding and isinstance(document, dict):
            document = document | {"padding": "x" * self.faults.padding}
        if self._chance.random() < self.faults.errored:
            return 400, _OWN_ERROR_MESSAGE if document.get("type") == "message" else _OWN_ERROR
        return status, document

    def fate(self, batch: ServedBatch, position: int) -> Fate:
        if batch.cancelled:
            return "cancelled"
        drawn = self._chance.random()
        if drawn < self.faults.expired:
            return "expired"
        return "missing" if drawn < self.faults.expired + self.faults.missing else "answered"

    def refusal(self, batch: ServedBatch) -> str:
        waiting = [each for each in self.batches.values() if not each.ended and not each.failed]
        tokens = sum(_tokens(each) for each in [*waiting, batch])
        return "token_limit_exceeded" if 0 < self.faults.most_tokens < tokens else ""

    async def before(self, request: web.Request) -> web.Response | None:
        door = _door(request)
        self.asked[door] += 1
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if delay_s := self.faults.delay_s.get(door):
            await asyncio.sleep(delay_s)
        if self.faults.lose_before[door] > 0:
            self.faults.lose_before[door] -= 1
            _lose(request)
        instead = self.faults.refuse.get(door)
        return instead.pop(0) if instead else None

    async def after(self, request: web.Request) -> None:
        door = _door(request)
        if self.faults.lose_after[door] > 0:
            self.faults.lose_after[door] -= 1
            _lose(request)

    def lines_out(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        faults = self.faults
        if faults.shuffled:
            found = list(lines)
            self._chance.shuffle(found)
            lines = iter(found)
        strange = [_foreign(number) for number in range(faults.foreign)] + [b'{"custom_id": '] * faults.unreadable
        cut = faults.cut_results > 0
        faults.cut_results -= cut
        for number, line in enumerate(lines):
            if strange:
                yield strange.pop()
            if cut and number > 2:
                yield line[: len(line) // 2]
                raise ConnectionResetError
            yield line
            if self._chance.random() < faults.duplicated:
                yield line
        yield from strange

    @property
    def paid_twice(self) -> list[str]:
        """Requests that were answered more than once."""
        return [custom_id for custom_id, times in self.paid.items() if times > 1]


def _lose(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


def _tokens(batch: ServedBatch) -> int:
    """About as many as the bodies have."""
    return sum(len(orjson.dumps(body)) // 4 for _, body in batch.requests)


def _foreign(number: int) -> bytes:
    response = {"status_code": 200, "request_id": "r", "body": chat_completion(choice("no"))}
    return orjson.dumps(
        {
            "custom_id": f"somebody-{number}",
            "response": response,
            "error": None,
            "result": {"type": "succeeded", "message": {}},
        }
    )


def _door(request: web.Request) -> Door:
    path, post = request.path, request.method == "POST"
    if path.endswith(("/content", "/results")):
        return "content"
    if path.endswith("/cancel"):
        return "cancel"
    if path.endswith("/files"):
        return "upload"
    if path.endswith("/batches"):
        return "create" if post else "list"
    return "get"


@asynccontextmanager
async def serving(server: BulkServer, *, port: int = 0) -> AsyncIterator[str]:
    """Serve it on 127.0.0.1; gives the URL. Beside the batches, chat completions and messages are answered at once."""
    app = web.Application()
    server.add_routes(app)

    async def direct(request: web.Request) -> web.Response:
        status, document = server.answer(orjson.loads(await request.read()))
        return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")

    app.router.add_post("/v1/chat/completions", direct)
    app.router.add_post("/v1/messages", direct)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
