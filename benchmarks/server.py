"""A server of the Open Inference Protocol that enforces a limit, in a process of its own.

`python -m benchmarks.server KIND` prints its port. `GET /log` returns when each call came and how it ended.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import orjson
from aiohttp import web


@lru_cache
def answer(inputs: int) -> bytes:
    """The response to a call about so many inputs: all get the same answer."""
    output = {"name": "probabilities", "shape": [inputs, 2], "data": [0.25, 0.75] * inputs}
    return orjson.dumps({"model_name": "big", "outputs": [output]})


class LimitAnswer(NamedTuple):
    """The limit's answer to one call."""

    accepted: bool
    remaining: float  #: calls that are left
    reset_s: float  #: seconds until the limit is full again
    retry_after_s: float  #: seconds until a call would be accepted


class Limit(Protocol):
    """Decides whether a call at `now`, in seconds, is accepted."""

    def asks(self, now: float) -> LimitAnswer: ...


class TokenBucket:
    """A token bucket: it refills steadily and holds little."""

    def __init__(self, per_second: float, capacity: float) -> None:
        self._rate, self._capacity, self._level, self._at = per_second, capacity, capacity, 0.0

    def asks(self, now: float) -> LimitAnswer:
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        accepted = self._level >= 1.0
        self._level -= accepted
        return LimitAnswer(
            accepted,
            int(self._level),
            (self._capacity - self._level) / self._rate,
            max(0.0, (1.0 - self._level) / self._rate),
        )


class FixedWindow:
    """A fixed window: accepts so many calls in each window."""

    def __init__(self, calls: int, window_s: float) -> None:
        self._calls, self._window_s, self._window, self._count = calls, window_s, -1, 0

    def asks(self, now: float) -> LimitAnswer:
        window = int(now // self._window_s)
        if window != self._window:
            self._window, self._count = window, 0
        accepted = self._count < self._calls
        self._count += accepted
        rest_s = (window + 1) * self._window_s - now
        return LimitAnswer(accepted, self._calls - self._count, rest_s, rest_s)


class Free:
    """No limit."""

    def asks(self, now: float) -> LimitAnswer:
        return LimitAnswer(True, 0, 0, 0)


class Server:
    """Answers after a latency, and logs the calls."""

    def __init__(self, limit: Limit, per_minute: float, latency_s: float, spread: float) -> None:
        self._limit, self._per_minute, self._latency_s, self._spread = limit, per_minute, latency_s, spread
        self._began = time.monotonic()
        self._random = random.Random(0)
        self.calls: list[tuple[float, float]] = []  # when each came, and how long the answer took; -1: refused

    async def infer(self, request: web.Request) -> web.Response:
        now = time.monotonic() - self._began
        told = self._limit.asks(now)
        headers = self._headers(told)
        inputs = orjson.loads(await request.read())["inputs"][0]["shape"][0]
        if not told.accepted:
            self.calls.append((now, -1.0))
            headers["retry-after-ms"] = str(int(told.retry_after_s * 1000) + 1)
            return web.Response(status=429, headers=headers, body=b'{"error": "too many requests"}')
        latency_s = self._latency_s * (1.0 + self._spread * self._random.uniform(-1.0, 1.0))
        self.calls.append((now, latency_s))
        await asyncio.sleep(self._began + now + latency_s - time.monotonic())
        return web.Response(body=answer(inputs), content_type="application/json", headers=headers)

    def _headers(self, told: LimitAnswer) -> dict[str, str]:
        if not self._per_minute:
            return {}
        return {
            "x-ratelimit-limit-requests": f"{self._per_minute:g}",
            "x-ratelimit-remaining-requests": f"{told.remaining:g}",
            "x-ratelimit-reset-requests": f"{told.reset_s * 1000:.0f}ms",
        }

    async def log(self, request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.calls), content_type="application/json")


def limit_of(kind: str, per_minute: float, window_s: float, capacity: float) -> Limit:
    """The limit of this name."""
    if kind == "token_bucket":
        return TokenBucket(per_minute / 60, capacity)
    if kind == "fixed_window":
        return FixedWindow(round(per_minute * window_s / 60), window_s)
    return Free()


async def serve(server: Server, port: int) -> None:
    """Serve until the process is ended. 0 takes a free port."""
    app = web.Application()
    app.router.add_post("/v2/models/big/infer", server.infer)
    app.router.add_get("/log", server.log)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("token_bucket", "fixed_window", "free"))
    for name in ("per-minute", "window-s", "capacity", "latency-s", "spread"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    asked: Any = parser.parse_args()
    limit = limit_of(asked.kind, asked.per_minute, asked.window_s, asked.capacity)
    asyncio.run(serve(Server(limit, asked.per_minute, asked.latency_s, asked.spread), asked.port))


if __name__ == "__main__":
    main()
