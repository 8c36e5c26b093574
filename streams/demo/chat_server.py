"""A scripted model behind chat completions: it knows nearly every answer, costs money and has a limit.

    python -m bisupervised.streams.demo.chat_server --limit 150 --price 0.002

It listens on 127.0.0.1 only. The first line it prints is JSON with its port and URL. `GET /meter` returns the bill.
It always gives the same answer to the same question, so its accuracy can be computed beforehand.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from cyclopts import App

from ..sandbox.bulk_server import BulkServer, ServedBatch
from ..sandbox.model_server import CallMeter, Latency, Limit, TokenBucket, print_line, until_stopped
from .questions import words

MODEL = "scripted"
#: share of the questions that it answers wrongly
WRONG = 0.04
#: range of the probability of each word
_SURE_WHEN_WRONG, _SURE_WHEN_RIGHT = (0.45, 0.9), (0.8, 1.0)
_NUMBER = re.compile(r"\d{1,4}")


def completion(text: str) -> list[tuple[str, float]]:
    """The answer to a question: its words, each with its probability."""
    chance = random.Random(text)
    asked = _NUMBER.search(text)
    if asked is None:
        return [("sorry", 0.3)]
    number, wrong = int(asked[0]), chance.random() < WRONG
    if wrong:
        number = (number + chance.choice((1, 10, 100))) % 10_000
    bounds = _SURE_WHEN_WRONG if wrong else _SURE_WHEN_RIGHT
    return [(word, chance.uniform(*bounds)) for word in words(number).split()]


def likelihood(tokens: list[tuple[str, float]]) -> tuple[str, float]:
    """The answer, and the geometric mean of its words' probabilities, which is its score `token_mean`."""
    logprobs = [math.log(probability) for _, probability in tokens]
    return " ".join(word for word, _ in tokens), math.exp(sum(logprobs) / len(logprobs))


@dataclass(slots=True)
class ChatService:
    """The model, and the limit, latency and meter of the calls to it."""

    limit: Limit = field(default_factory=Limit)
    latency: Latency = field(default_factory=Latency)
    meter: CallMeter = field(default_factory=CallMeter)
    chance: random.Random = field(default_factory=random.Random)
    bucket: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = TokenBucket(self.limit, time.monotonic())

    async def complete(self, request: web.Request) -> web.Response:
        """Check the limit, then wait, then answer. A refused call is quick and free."""
        wait_s = self.bucket.take(time.monotonic())
        if wait_s:
            self.meter.refused += 1
            headers = {"retry-after-ms": f"{wait_s * 1000:.0f}", "x-ratelimit-remaining-requests": "0"}
            return _error(429, "Rate limit reached for requests", "rate_limit_exceeded", headers)
        try:
            answer = answered(orjson.loads(await request.read()))
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            self.meter.invalid += 1
            return _error(400, "The body is no chat", None, {})
        await asyncio.sleep(self.latency.draw_s(self.chance))
        self.meter.calls += 1
        self.meter.inputs += 1
        return _json(answer)

    async def bill(self, _: web.Request) -> web.Response:
        return _json(self.meter.snapshot())


def answered(document: dict[str, Any]) -> dict[str, Any]:
    """The completion of a chat. Raises `LookupError`, `TypeError` or `AttributeError` where it is none."""
    text, wants = str(document["messages"][-1]["content"]), document.get("logprobs") is True
    return _document(completion(text), text, logprobs=wants)


class ChatBatches(BulkServer):
    """The same model behind a batch interface: slower, and cheaper."""

    def __init__(self, service: ChatService, takes_s: float) -> None:
        super().__init__(lambda body: (200, answered(body)), takes_s=takes_s)
        self._meter = service.meter

    def ended(self, batch: ServedBatch) -> None:
        self._meter.batches += 1
        self._meter.batched += len(batch.answers)


def _document(tokens: list[tuple[str, float]], text: str, *, logprobs: bool) -> dict[str, Any]:
    content = [{"token": word, "logprob": math.log(chance), "top_logprobs": []} for word, chance in tokens]
    message = {"role": "assistant", "content": likelihood(tokens)[0], "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    choice |= {"logprobs": {"content": content, "refusal": None} if logprobs else None}
    asked = len(text.split())
    usage = {"prompt_tokens": asked, "completion_tokens": len(tokens), "total_tokens": asked + len(tokens)}
    return {"id": "chatcmpl-0", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage}


def _error(status: int, message: str, code: str | None, headers: dict[str, str]) -> web.Response:
    error: dict[str, str | None] = {
        "message": message,
        "type": "requests" if status == 429 else "invalid_request_error",
    }
    return _json({"error": error | {"code": code}}, status=status, headers=headers)


def _json(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, headers=headers, content_type="application/json")


def make_chat_app(service: ChatService, batch_s: float = 0.0) -> web.Application:
    """The web application: chat completions, batches of them that take `batch_s` seconds, and the bill."""
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", service.complete), web.get("/meter", service.bill)])
    ChatBatches(service, batch_s).add_routes(app)
    return app


command = App(help="Serve a scripted model by chat completions, on 127.0.0.1.", version_flags=[])


@command.default
def run_server(
    *,
    port: int = 0,
    latency_ms: float = 0.0,
    latency_spread: float = 0.4,
    limit: float = math.inf,
    burst: int = 10,
    price: float = 0.0,
    seed: int | None = None,
    batch_s: float = 0.0,
) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    service = ChatService(
        Limit(limit, burst), Latency(latency_ms / 1000, latency_spread), CallMeter(price), random.Random(seed)
    )
    asyncio.run(until_stopped(make_chat_app(service, batch_s), port, print_line))
    return 0


if __name__ == "__main__":
    sys.exit(command(result_action="return_value"))
