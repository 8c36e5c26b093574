"""`python -m benchmarks.bulk`: what a batch costs the worker, in CPU time of an input, step by step.

A batch is filled from records of `batched`, its lines go into the body of an upload, its results are read off a stream
and kept on disk, and each input gets its outcome. All by the parts of a worker; there is no broker, and nothing goes
over a network.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import orjson
from bisupervised.agents.heap import without_collecting
from bisupervised.agents.remote.bulk.closing import ClosePolicy, Gathered
from bisupervised.agents.remote.bulk.exchange import BulkPolicy as ExchangePolicy
from bisupervised.agents.remote.bulk.gate import BulkGate, Tally
from bisupervised.agents.remote.bulk.inputs import BulkInputs, BulkInputsPolicy
from bisupervised.agents.remote.bulk.openai_batch import OpenAIBatch
from bisupervised.agents.remote.bulk.provider import BulkOrder, BulkStatus
from bisupervised.agents.remote.bulk.queue import TokenQueue
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.transport import Download, Response, Upload
from bisupervised.schemas.codec import RequestFormat, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, Facts, Headers, Source, Verdict
from bisupervised.streams.bulk.filling import Filler
from bisupervised.streams.bulk.policy import BulkPolicy, Means
from bisupervised.streams.bulk.spool import Results, Spool
from bisupervised.streams.bulk.standing import BulkStanding
from rich.console import Console
from rich.table import Table

from .command import command_without_broker
from .spread import Spread, spread

TOPIC_ID, PIPELINE = "Xn2d0pPQTqyqZ5lO9p8b2w", "bench"
#: records that a broker gives at once, and inputs whose outcomes leave together
FETCHED, CHUNK = 500, 500
#: bytes that come over the network at once
_RECEIVED = 64 * 1024
_TEXT = "The parcel has not come, and the shop does not answer. What am I to do about it now? " * 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    inputs: int = 10_000
    runs: int = 7


SMOKE = Sizes(500, 1)


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/bulk.json`: CPU time of an input, in µs."""

    fill_us: Spread  #: read, decoded, estimated, and onto disk as a line
    upload_us: Spread  #: read from disk, and into the body of an upload
    results_us: Spread  #: cut out of a stream, parsed, weighed, and onto disk
    outcomes_us: Spread  #: read from disk, and made into what leaves
    whole_us: Spread


@dataclass(frozen=True)
class Event:
    """A consumed record."""

    value: bytes
    offset: int
    headers: Headers
    topic: str = "batched"
    partition: int = 0
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"key"


class _Reader:
    """Records as a broker gives them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._next = 0

    def seek(self, offset: int) -> None:
        self._next = offset

    async def news(self) -> list[Event]:
        found = list(self._events[self._next : self._next + FETCHED])
        self._next += len(found)
        return found


async def _passed(_offset: int) -> None:
    """Nobody keeps it."""


class _Network:
    """Takes what is uploaded, and gives what is answered."""

    def __init__(self) -> None:
        self.uploaded = bytearray()
        self.answers = b""

    async def post(self, *_: object, **__: object) -> Response:
        return Response(200, {}, b'{"id":"batch_1","status":"completed","output_file_id":"f"}')

    async def upload(self, _url: str, body: Upload, *_: object) -> Response:
        async for chunk in body.chunks():
            self.uploaded += chunk
        return Response(200, {}, b'{"id":"file-1","status":"processed"}')

    @asynccontextmanager
    async def download(self, *_: object) -> AsyncIterator[Download]:
        yield Download(200, {}, self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.answers), _RECEIVED):
            yield self.answers[at : at + _RECEIVED]

    async def close(self) -> None: ...


def events(count: int) -> list[Event]:
    """Doubtful inputs that can wait."""
    doubt = Verdict(3, 0.4, 0.5, supervisor="max_softmax", model="small@1")
    made = []
    for offset in range(count):
        facts = Facts(Source("requests", 0, offset), local=doubt, topic_id=TOPIC_ID)
        value = orjson.dumps({"id": offset, "input": f"{offset} {_TEXT}"})
        made.append(Event(value, offset, ((FACTS_HEADER, encode_facts(facts)),)))
    return made


def answered(uploaded: bytes) -> bytes:
    """The file of answers to a file of lines."""
    lines = [line for line in uploaded.splitlines() if line.startswith(b'{"custom_id"')]
    token = {"token": "yes", "logprob": -0.1, "bytes": [121, 101, 115], "top_logprobs": []}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "yes", "refusal": None},
        "logprobs": {"content": [token], "refusal": None},
        "finish_reason": "stop",
    }
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "large",
        "choices": [choice],
        "usage": {"prompt_tokens": 90, "completion_tokens": 1, "total_tokens": 91},
    }
    response = {"status_code": 200, "request_id": "req-0", "body": body}
    return b"\n".join(
        orjson.dumps({"id": "r", "custom_id": orjson.loads(line)["custom_id"], "response": response, "error": None})
        for line in lines
    )


class Bench:
    """One batch, from its records to its outcomes."""

    def __init__(self, given: Sequence[Event]) -> None:
        self._given = given
        self._network = _Network()
        chat = OpenAIChat("large", score="token_mean")
        policy = BulkInputsPolicy(PIPELINE, Price(per_input=1.0), supervisor="token_mean")
        self._inputs = BulkInputs(chat, RequestFormat(), policy)
        exchange = ExchangePolicy("http://127.0.0.1:1")
        self._provider = OpenAIBatch(cast("Any", self._network), exchange, "/v1/chat/completions")
        nowhere = cast("Any", None)
        close = ClosePolicy(len(given), 2**40, age_s=3600.0)
        self._policy = BulkPolicy(
            nowhere, nowhere, PIPELINE, "batched", "batches", 2**20, "openai_batch", "us", close=close
        )
        self._means = Means(self._provider, self._inputs, TokenQueue(), BulkGate(), BulkStanding())

    async def run(self) -> dict[str, float]:
        """Seconds of CPU time of each step, of the whole process."""
        spent: dict[str, float] = {}
        began = time.process_time()
        gathered, _, spool = await self._fill()
        spent["fill"] = time.process_time() - began
        began = time.process_time()
        order = BulkOrder("b", gathered.records, gathered.bytes, 0, self._inputs.path)
        status = await self._provider.create(order, spool, lambda: None)
        spent["upload"] = time.process_time() - began
        spool.close()
        self._network.answers = answered(bytes(self._network.uploaded))
        results = Results(0, gathered.first, gathered.end)
        began = time.process_time()
        await self._take(results, status)
        spent["results"] = time.process_time() - began
        began = time.process_time()
        left = await self._settle(results)
        spent["outcomes"] = time.process_time() - began
        results.close()
        if left != len(self._given):
            raise RuntimeError(f"{left} of {len(self._given)} inputs were answered")
        return spent

    async def _fill(self) -> tuple[Gathered, object, Spool]:
        reader = cast("Any", _Reader(self._given))
        return await Filler(self._policy, self._means, TOPIC_ID, reader, 0, _passed).fill()

    async def _take(self, results: Results, status: BulkStatus) -> None:
        tally = Tally(self._inputs.raise_for, self._means.gate.policy.failures)
        await results.take(tally.through(self._provider.results(status)))

    async def _settle(self, results: Results) -> int:
        left = 0
        for first in range(0, len(self._given), CHUNK):
            chunk = self._given[first : first + CHUNK]
            found = await results.of([event.offset for event in chunk])
            for event in chunk:
                result = found.get(event.offset)
                if result is not None and result.custom_id == self._inputs.name_of(event, TOPIC_ID):
                    left += self._inputs.settle(event, result, 1.0).counts.answered
        return left


def measure(sizes: Sizes, say: Console) -> Report:
    """Measure one batch after the other."""
    say.print(f"a batch of {sizes.inputs:,} inputs, {sizes.runs} times …")
    given = events(sizes.inputs)
    asyncio.run(Bench(given[:200]).run())  # what is made once is made
    with without_collecting():  # as a worker has it
        runs: list[Mapping[str, float]] = [asyncio.run(Bench(given).run()) for _ in range(sizes.runs)]
    us = [{name: seconds / sizes.inputs * 1e6 for name, seconds in run.items()} for run in runs]
    steps = {name: spread([run[name] for run in us]) for name in us[0]}
    whole = spread([sum(run.values()) for run in us])
    return Report(steps["fill"], steps["upload"], steps["results"], steps["outcomes"], whole)


def as_table(report: Report) -> Table:
    """The report as a table."""
    table = Table("step", "µs an input", title="A batch of the provider, CPU time of an input")
    table.add_row("records become lines on disk", str(report.fill_us))
    table.add_row("lines become an upload", str(report.upload_us))
    table.add_row("results are read and kept", str(report.results_us))
    table.add_row("results become outcomes", str(report.outcomes_us))
    table.add_row("all", str(report.whole_us))
    return table


def main() -> int:
    """Returns 0: there is no target."""
    return command_without_broker("bulk", __doc__, (Sizes(), SMOKE), measure, as_table, lambda _: [])


if __name__ == "__main__":
    sys.exit(main())
