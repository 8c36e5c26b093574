"""Six doubtful records go to a real HTTP server, through the remote agent as a worker makes it. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bisupervised.agents.agents import RemoteAgent
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.codec import decode_facts, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Incoming, Outgoing, Source, Verdict
from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.worker.making import make_remote

from .far_end import KEY, Asked, answer, serve
from .records import Record, request
from .server_cases import Case

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "remote"
#: what the records ask; a server knows the second one by its last word
TEXTS = ("good 0", "good 1 odd", "good 2", "good 3", "good 4", "good 5")
ODD = 1
#: seconds until a server is mended that is not well before
MENDED_S = 60.0
#: seconds in which everything has an outcome then: longer than any distance between two calls
_AFTERWARDS_S = 4000.0
#: real seconds that a byte may take on its way through this process
PATIENCE_S = 0.01


class Server:
    """Says what the case says, and is well otherwise. Remembers when it was called."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.mended = False
        self.called_at: list[float] = []

    def handle(self, asked: Asked) -> Response:
        self.called_at.append(asyncio.get_running_loop().time())
        said = self._case.answer if self._is_ill(asked) else answer
        return said if isinstance(said, Response) else said(asked)

    def _is_ill(self, asked: Asked) -> bool:
        case = self._case
        if case.must in ("refuse one", "spoil one"):
            return b"odd" in asked.body
        if case.to is not None:
            return case.to(len(self.called_at))
        return not self.mended if case.first is None else len(self.called_at) <= case.first


class Held:
    """A batch, as the data plane would hand it out."""

    def __init__(self, records: Sequence[Incoming], outcomes: list[Outgoing]) -> None:
        self.records = records
        self.wanted = True
        self.ended = asyncio.Event()
        self._outcomes = outcomes

    def called_before(self, position: int) -> bool:
        return False

    def called(self, position: int) -> None:
        return

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        self._outcomes += outcomes
        self.ended.set()

    def release(self) -> None:
        self.ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()


@dataclass
class Walk:
    """What came of it."""

    url: str = ""
    outcomes: list[Outgoing] = field(default_factory=list)
    early: list[Outgoing] = field(default_factory=list)  #: those that were there before the server was mended
    called_at: list[float] = field(default_factory=list)
    stopped: bool = False  #: calls were, before the server was mended; a probe may have been out then

    @property
    def calls_before(self) -> list[float]:
        """When calls came before the server was mended, in seconds from the first record on."""
        return [at - 1000.0 for at in self.called_at if at < 1000.0 + MENDED_S]

    @property
    def facts(self) -> list[Facts]:
        """Of the outcomes, in the order of the records."""
        found = [decode_facts(Record(outcome.value, headers=outcome.headers)) for outcome in self.outcomes]
        return sorted(found, key=lambda facts: facts.source.offset)

    @property
    def reasons(self) -> dict[int, str]:
        """Why records fell back, by their number."""
        fallen = [outcome for outcome in self.outcomes if outcome.to == "fallback"]
        facts = [decode_facts(Record(outcome.value, headers=outcome.headers)) for outcome in fallen]
        told = [dict(outcome.headers)[REASON_HEADER] or b"" for outcome in fallen]
        return {each.source.offset: reason.decode() for each, reason in zip(facts, told, strict=True)}


def doubtful(number: int) -> Record:
    facts = Facts(Source("requests", 0, number), local=Verdict("positive", 0.4, 0.5, model="small"), agent="local")
    return request(TEXTS[number], number, headers=[(FACTS_HEADER, encode_facts(facts))])


async def walk(case: Case, more: Mapping[str, str] | None = None) -> Walk:
    """Play the case."""
    server, made = Server(case), Walk()
    async with serve(server.handle) as made.url:
        env = {
            "BISUPERVISED_REMOTE__URL": made.url,
            "BISUPERVISED_REMOTE__API_KEY": KEY,
            **case.settings,
            **(more or {}),
        }
        configuration = load_configuration(EXAMPLES / f"{case.protocol}.toml", env)
        loop = asyncio.get_running_loop()
        remote = make_remote(configuration.settings, configuration.terms, clock=loop.time)
        agent = RemoteAgent(remote)
        batches = _batches(configuration.settings.remote.batch_size, made.outcomes)
        running = asyncio.create_task(agent.run(_handed_out(batches)))
        try:
            await asyncio.sleep(MENDED_S)
            made.early, made.stopped = list(made.outcomes), remote.gate.breaker.stopped
            server.mended = True
            async with asyncio.timeout(_AFTERWARDS_S):
                for batch in batches:
                    await batch.ended.wait()
        except TimeoutError:
            pass  # whoever asks sees that outcomes are missing
        finally:
            running.cancel()
            await agent.close()
    made.called_at = server.called_at
    return made


def _batches(size: int, outcomes: list[Outgoing]) -> list[Held]:
    records = [doubtful(number) for number in range(len(TEXTS))]
    return [Held(records[start : start + size], outcomes) for start in range(0, len(records), size)]


async def _handed_out(batches: Sequence[Held]) -> AsyncIterator[Held]:
    for batch in batches:
        yield batch
