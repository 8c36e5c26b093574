"""The batches of one partition without a broker: log and records are in memory, the provider is as it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from bisupervised.agents.remote.bulk.fold import BulkLedger
from bisupervised.agents.remote.bulk.gate import BulkGate
from bisupervised.agents.remote.bulk.identity import batch_id, place_in
from bisupervised.agents.remote.bulk.inputs import BulkInputs, BulkInputsPolicy, Prepared
from bisupervised.agents.remote.bulk.pace import PacePolicy
from bisupervised.agents.remote.bulk.provider import TOKEN_LIMIT, BulkOrder, BulkStatus, Line, LineResult, Lines
from bisupervised.agents.remote.bulk.queue import TokenQueue
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.bulk import BatchTold, BulkEntry
from bisupervised.schemas.codec import RequestFormat, decode_facts, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, Facts, Outgoing, Source, Verdict
from bisupervised.streams.bulk.owner import Owner
from bisupervised.streams.bulk.policy import BulkPolicy, Means
from bisupervised.streams.bulk.standing import BulkStanding
from bisupervised.streams.bulk.writer import Leaving
from bisupervised.streams.kafka.sender import OutboxPolicy
from bisupervised.streams.plane.sending.routing import Router

from .records import Record, request
from .remotes import chat_completion, choice

PACE = PacePolicy(10.0, 300.0)
DOUBT = Verdict(3, 0.4, 0.5, model="small@1")


def batched(offset: int, text: str = "how much?", deadline_ms: int | None = None) -> Record:
    """A record of `batched`."""
    facts = Facts(Source("requests", 0, offset), deadline_ms=deadline_ms, local=DOUBT, topic_id="t")
    made = request(text, offset, headers=[(FACTS_HEADER, encode_facts(facts))])
    return Record(made.value, offset, "batched", 0, headers=made.headers)


async def at_once(work: Callable[..., Any], *args: Any) -> Any:
    """In place of `asyncio.to_thread`: virtual time does not pass while a thread works."""
    return work(*args)


def answer(line: Line) -> LineResult:
    """A line that is answered."""
    return LineResult(line.custom_id, Response(200, {}, orjson.dumps(chat_completion(choice("5", [-0.1])))))


def refusal(line: Line, status: int = 400) -> LineResult:
    """A line that is refused for an option."""
    body = orjson.dumps({"error": {"message": "Unknown parameter: 'tempo'", "code": "unknown_parameter"}})
    return LineResult(line.custom_id, Response(status, {}, body))


@dataclass
class ToldProvider:
    """Creates every batch at once and answers it at the first look, unless it is told otherwise."""

    line: Callable[[Line], LineResult] = answer
    create_error: Callable[[list[Line]], Exception | None] = lambda _: None
    fails: Callable[[list[Line]], str] = lambda _: ""  #: the code of why nothing of a batch is asked; '' where it is
    busy: bool = False  #: others have batches here
    created: list[list[Line]] = field(default_factory=list)
    tried_at: list[float] = field(default_factory=list)  #: times of the loop
    answered: Counter[str] = field(default_factory=Counter)  #: by the input's offset, how often it was
    most_lines = most_bytes = 10**9
    window_s = kept_s = 86_400.0
    names_batches = True
    create_within_s = 60.0

    def line_size(self, line: Line) -> int:
        return len(line.body)

    async def create(self, order: BulkOrder, lines: Lines, guard: Callable[[], None]) -> BulkStatus:
        guard()
        found = [line async for line in lines()]
        self.tried_at.append(asyncio.get_running_loop().time())
        if (error := self.create_error(found)) is not None:
            raise error
        self.created.append(found)
        return BulkStatus(str(len(self.created) - 1), "running", 1)

    async def find(self, order: BulkOrder, known: Collection[str]) -> list[BulkStatus]:
        return []

    async def any_running(self, since_ms: int) -> bool:
        return self.busy

    async def poll(self, bulk_id: str) -> BulkStatus:
        code = self.fails(self.created[int(bulk_id)])
        return BulkStatus(bulk_id, "failed" if code else "ended", 1, code=code, error=code)

    async def results(self, status: BulkStatus) -> AsyncIterator[LineResult]:
        for line in self.created[int(status.id)]:
            result = self.line(line)
            place = place_in(line.custom_id)
            assert place is not None
            self.answered[str(place.offset)] += result.response is not None and result.response.succeeded
            yield result

    async def cancel(self, bulk_id: str) -> BulkStatus:
        return await self.poll(bulk_id)

    async def forget(self, status: BulkStatus) -> None: ...
    async def close(self) -> None: ...


def at_most(tokens: int, inputs: BulkInputs) -> Callable[[list[Line]], str]:
    """A provider's queue: the code of a batch with more tokens than these."""

    def fails(lines: list[Line]) -> str:
        texts = [orjson.loads(line.body)["messages"][-1]["content"] for line in lines]
        return TOKEN_LIMIT if sum(tokens_of(inputs, text) for text in texts) > tokens else ""

    return fails


def tokens_of(inputs: BulkInputs, text: str) -> int:
    """That an input takes."""
    prepared = inputs.prepare(batched(0, text), "t")
    assert isinstance(prepared, Prepared)
    return prepared.tokens


class _Log:
    """The log of a partition, and what leaves."""

    def __init__(self) -> None:
        self.entries: list[BulkEntry] = []
        self.left: list[tuple[int, Outgoing]] = []

    async def commit(self, leaving: Sequence[Leaving], entry: BulkEntry) -> None:
        await asyncio.sleep(0)
        self.entries.append(entry)
        self.left += [(one.about.offset, one.outgoing) for one in leaving]

    async def close(self) -> None: ...


class _Reader:
    def __init__(self, records: Sequence[Record], begins: int) -> None:
        self._records = records
        self._begins = begins

    async def start(self) -> None: ...
    async def close(self) -> None: ...

    async def bounds(self, _doubted: object = None) -> tuple[int, int]:
        return self._begins, len(self._records)

    async def between(self, first: int, end: int) -> AsyncIterator[list[Record]]:
        yield [record for record in self._records if first <= record.offset < end]


class Partition:
    """An owner whose batches live until `over` is true."""

    def __init__(
        self,
        records: Sequence[Record],
        provider: ToldProvider,
        gate: BulkGate | None = None,
        *,
        begin_anew: bool = False,
    ) -> None:
        loop, nowhere = asyncio.get_running_loop(), cast("Any", None)
        self.records = records
        self.begins = 0  #: offset of the first record that the topic still has
        self.gate = gate or BulkGate()
        self.queue = TokenQueue()
        self.log = _Log()
        chat = OpenAIChat("large", score="token_mean")
        self.inputs = BulkInputs(
            chat, RequestFormat(), BulkInputsPolicy("shop", supervisor="token_mean"), now_ms=self._now_ms
        )
        outbox = OutboxPolicy(nowhere, "shop-bulk", 10.0, 10.0, 60.0)
        policy = BulkPolicy(
            nowhere,
            outbox,
            "shop",
            "batched",
            "batches",
            1_000_000,
            "openai_batch",
            "us",
            pace=PACE,
            in_flight=100,
            begin_anew=begin_anew,
        )
        means = Means(
            provider, self.inputs, self.queue, self.gate, BulkStanding(), clock=loop.time, now_ms=self._now_ms
        )
        self.owner = Owner(policy, means, 0, Router({}, "batched"))
        self.owner._writer = cast("Any", self.log)
        self.owner._ledger = BulkLedger("")
        self.owner.reader = lambda: cast("Any", _Reader(records, self.begins))  # type: ignore[method-assign]

    @staticmethod
    def _now_ms() -> float:
        return asyncio.get_running_loop().time() * 1000.0

    def batch(self, first: int, end: int) -> BatchTold:
        """One with these offsets that was closed just now."""
        prepared = [self.inputs.prepare(record, "", late=True) for record in self.records[first:end]]
        lines = [one for one in prepared if isinstance(one, Prepared)]
        return BatchTold(
            batch_id("shop", "", 0, first, end),
            first,
            end,
            "closed",
            "openai_batch",
            records=len(lines),
            tokens=sum(line.tokens for line in lines),
            deadline_ms=min((line.deadline_ms for line in lines if line.deadline_ms is not None), default=None),
            closed_ms=round(self._now_ms()),
        )

    async def close(self, *ranges: tuple[int, int]) -> None:
        """Batches with these offsets are closed, and live."""
        for first, end in ranges:
            batch = self.batch(first, end)
            await self.owner.tell(batch, filled_to=end)
            self.owner._live(batch, None)

    async def until(self, over: Callable[[], object], hours: float = 48.0) -> None:
        """Live on until then. What fails is raised here."""
        async with asyncio.timeout(hours * 3600.0):
            while not over():
                await asyncio.sleep(1.0)
                for task in self.owner._living:
                    if task.done():
                        task.result()

    async def stop(self) -> None:
        """As when the partition is another worker's."""
        for task in self.owner._living:
            task.cancel()
        await asyncio.wait(self.owner._living)

    @property
    def over(self) -> bool:
        return not self.owner._ledger.open

    def outcomes(self) -> dict[int, list[str]]:
        """Where the outcomes of each offset went, with the reason of those that fell back."""
        found: dict[int, list[str]] = {}
        for offset, outgoing in self.log.left:
            facts = decode_facts(Record(outgoing.value, headers=outgoing.headers))
            found.setdefault(offset, []).append(facts.reason or outgoing.to)
        return found

    def kinds(self) -> Counter[str]:
        """How many inputs have which outcome."""
        return Counter(kind for kinds in self.outcomes().values() for kind in kinds)

    def check_no_window(self) -> None:
        """After each entry of the log, every input is in one batch: a crash there loses none, and asks none twice."""
        told: dict[str, BatchTold] = {}
        for entry in self.log.entries:
            told |= {batch.id: batch for batch in entry.batches}
            holders = Counter(
                offset for batch in told.values() if not batch.split for offset in range(batch.first, batch.end)
            )
            assert set(holders.values()) == {1}
            assert holders.keys() == set(range(entry.next))
