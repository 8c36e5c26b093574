"""A labelled file, a configuration of two models of sentiment, and a remote in a thread that keeps the bill by key."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from aiohttp import web
from bisupervised.agents.remote.transport import Response

from .far_end import Asked, answer
from .threaded import served

MODEL = """
import numpy as np

class Small:
    labels = ("negative", "positive")
    version = "1"

    def __call__(self, inputs):
        if any("poison" in text for text in inputs):
            raise ValueError("poison")
        glad = np.array([0.95 if "good" in text else 0.45 if "?" in text else 0.3 for text in inputs])
        return np.stack([1 - glad, glad], axis=1)
"""


def configuration(url: str, model: str, remote: str = "", local: str = "") -> str:
    """Without thresholds: a recording needs none."""
    return f"""
[local]
model = "{model}:Small"
output = "probabilities"
{local}
[remote]
url = "{url}"
model = "large"
datatype = "BYTES"
labels = ["negative", "positive"]
price_per_call = 0.01
backoff_first_s = 0.01
{remote}
[topics]
partitions = 1
"""


@dataclass
class Office:
    """What was set up for a recording."""

    folder: Path
    remote: str = ""  #: lines of [remote]
    model: str = "recorded_model"
    url: str = "http://127.0.0.1:1"
    local: str = ""  #: lines of [local]
    program: str = MODEL  #: of the local model

    @property
    def config(self) -> Path:
        """Written anew each time."""
        (self.folder / f"{self.model}.py").write_text(self.program)
        path = self.folder / "my.toml"
        path.write_text(configuration(self.url, self.model, self.remote, self.local))
        return path

    @property
    def out(self) -> Path:
        return self.folder / "pairs.jsonl"

    def labelled(self, *lines: str, name: str = "labelled.csv", header: str = "id,input,label") -> Path:
        path = self.folder / name
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    def rows(self) -> list[dict[str, object]]:
        return [orjson.loads(line) for line in self.out.read_bytes().splitlines()]


def sample(count: int) -> list[str]:
    """Lines of a labelled file."""
    return [f"{number},{'a good' if number % 3 else 'a bad'} one {number},{_label(number)}" for number in range(count)]


def _label(number: int) -> str:
    return "positive" if number % 3 and number % 7 else "negative"


@dataclass
class Ledger:
    """What a server has been asked."""

    keys: Counter[str] = field(default_factory=Counter)  #: calls by idempotency key
    texts: dict[str, list[str]] = field(default_factory=dict)  #: asked about, by key
    calls: int = 0

    def take(self, asked: Asked) -> None:
        key = asked.headers["idempotency-key"]
        self.calls += 1
        self.keys[key] += 1
        self.texts[key] = orjson.loads(asked.body)["inputs"][0]["data"]

    @property
    def repeated(self) -> int:
        """Calls that a server bills again where it does not honour keys."""
        return self.calls - len(self.keys)


@contextmanager
def serving(ledger: Ledger, handle: Callable[[Asked], Response] = answer, *, slowest_s: float = 0.0) -> Iterator[str]:
    """A server in a thread of its own; gives its URL. Each call takes up to `slowest_s`."""
    chance = random.Random(5)

    async def respond(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, headers, await request.read())
        ledger.take(asked)
        await asyncio.sleep(chance.uniform(0.0, slowest_s))
        response = handle(asked)
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    with served(app) as url:
        yield url
