"""Both models are asked about every input that is left, by the worker's own parts: its local model, its remote agent.

    inputs ─▶ the local model, in batches as it likes them ─▶ units, each of one remote call ─▶ the remote agent ─▶ rows

A unit stands in for a batch of Kafka's records: it is on lease until the agent has said what becomes of its records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from types import TracebackType
from typing import Self

from ...agents.agents import RemoteAgent
from ...agents.answers import Answer, Details
from ...agents.local.agent import Hung, Local
from ...agents.remote.agent import Remote
from ...agents.remote.asking import RemoteAnswer
from ...agents.tasks import begin, end
from ...schemas.codec import encode_facts
from ...schemas.errors import BiSupervisedError
from ...schemas.records import FACTS_HEADER, Facts, Incoming, Outgoing, Source
from ..tools.rows import Candidate
from .labelled import Labelled, LabelledRecord, LabelledRow
from .pairs import Pairs
from .rows import LocalSaid, RemoteSaid, ScoreNames, row_of

#: seconds between two looks at whether the remote refuses every call
_LOOK_EVERY_S = 0.2


class RecordingStopped(BiSupervisedError):
    """It cannot go on. What is answered is kept; the same command goes on from there."""


@dataclass(eq=False)
class Unit:
    """The records of one call, on lease to the remote agent."""

    number: int
    records: Sequence[Incoming]
    inputs: Sequence[LabelledRecord]
    local: Sequence[LocalSaid]
    ended: asyncio.Queue[Unit | None] = field(repr=False)
    outcomes: Sequence[Outgoing] = ()
    failure: BaseException | None = None
    wanted: bool = True

    def called_before(self, position: int) -> bool:
        """Nobody remembers: a repeated call has the same idempotency key."""
        return False

    def called(self, position: int) -> None:
        return

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        self._end(outcomes)

    def release(self) -> None:
        self._end(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.failure = self.failure or error
        self._end(())

    def _end(self, outcomes: Sequence[Outgoing]) -> None:
        if self.wanted:
            self.wanted, self.outcomes = False, outcomes
            self.ended.put_nowait(self)


@dataclass(frozen=True, slots=True)
class AskingPolicy:
    """How both models are asked."""

    unit: int  #: inputs of one remote call, at most
    names: ScoreNames
    drain_s: float  #: seconds that calls under way get when it is interrupted


class Asking:
    """One run over the inputs that have no row yet. `watch` is called whenever rows were written."""

    def __init__(
        self, labelled: Labelled, pairs: Pairs, local: Local, policy: AskingPolicy, watch: Callable[[], object]
    ) -> None:
        self._labelled = labelled
        self._pairs = pairs
        self._local = local
        self._policy = policy
        self._watch = watch
        self._ended: asyncio.Queue[Unit | None] = asyncio.Queue()
        self._begun = 0
        self._units_before = 0
        self._heard: dict[int, Details | None] = {}
        self._known_models = frozenset(pairs.tally.models)
        self.unpaid = 0  #: inputs that the allowance did not suffice for

    def hear(self, record: Incoming, answer: RemoteAnswer) -> None:
        """What the remote's answers say besides, by the record."""
        self._heard[record.offset] = answer.details

    def left(self) -> Iterator[LabelledRecord]:
        """The inputs that have no row yet."""
        return (each for each in self._labelled.records() if self._unit_of(each.row) not in self._pairs.units)

    def _unit_of(self, row: LabelledRow) -> int:
        return (row.number - 1) // self._policy.unit

    async def ask_local(self) -> None:
        """Ask the local model alone. Raises `RecordingStopped`."""
        async for unit in self._units():
            self._write(unit, [None] * len(unit.inputs))

    async def ask_both(self, remote: Remote) -> None:
        """Ask until every input has its row, or nothing more can be paid.

        Cancelled, it lets calls under way end for a while: they are paid. Raises `RecordingStopped`.
        """
        agent = RemoteAgent(remote)
        try:
            await self._pass(remote, agent)
            while self.unpaid and len(self._pairs.units) > self._units_before:  # what calls did not cost is there again
                await self._pass(remote, agent)
        finally:
            await agent.close()

    async def _pass(self, remote: Remote, agent: RemoteAgent) -> None:
        """Ask about every input that is left, once."""
        self._begun, self.unpaid, self._units_before = 0, 0, len(self._pairs.units)
        # where it fails, `_collect` is woken, and raises that once what has begun has ended
        submitting = begin(agent.run(self._units()), "submitting", lambda _: self._ended.put_nowait(None))
        try:
            await self._collect(remote, submitting)
        except asyncio.CancelledError:
            submitting.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.drain_s):
                    await self._collect(remote, submitting)
            raise
        finally:
            await end([submitting])

    async def _collect(self, remote: Remote, submitting: asyncio.Task[None]) -> None:
        """Write the units down as they end, until all that have begun have."""
        while self._begun or not submitting.done():
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    unit = await self._ended.get()
            except TimeoutError:
                if remote.gate.breaker.state == "stopped":
                    raise RecordingStopped(self._refused()) from None
                continue
            if unit is not None:
                self._begun -= 1
                self._take(unit)
        if not submitting.cancelled():
            submitting.result()

    def _refused(self) -> str:
        text = "the remote refuses all calls; mend that, and the same command goes on from here"
        if not self._pairs.tally.pairs:
            return text
        without = f"`bisupervised fit --recording {self._pairs.path}` does without them"
        return f"{text}; where it refuses these inputs only, {without}"

    def _take(self, unit: Unit) -> None:
        if unit.failure is not None:
            raise RecordingStopped(f"the remote could not be asked: {unit.failure!r}") from unit.failure
        said = [RemoteSaid.of(outcome, self._heard.pop(record.offset, None)) for record, outcome in _zipped(unit)]
        if any(each.error == "budget" for each in said):
            self.unpaid += len(unit.inputs)
        elif said:
            self._check_models(said)
            self._write(unit, said)

    def _check_models(self, said: Iterable[RemoteSaid]) -> None:
        """A recording that goes on holds the answers of one remote."""
        others = {each.model for each in said if each.model} - self._pairs.tally.models
        if self._known_models and others:
            was, now = (", ".join(sorted(names)) for names in (self._known_models, others))
            text = f"the remote was {was} when {self._pairs.path} was begun, and is {now}: take another --out"
            raise RecordingStopped(text)

    def _write(self, unit: Unit, said: Sequence[RemoteSaid | None]) -> None:
        names = self._policy.names
        rows = [row_of(*each, names) for each in zip(unit.inputs, unit.local, said, strict=True)]
        self._pairs.write(unit.number, rows)
        self._watch()

    # what is asked

    async def _units(self) -> AsyncIterator[Unit]:
        for chunk in _chunks(self.left(), self._most_at_once):
            answered = await self._answered(chunk)
            parts = groupby(zip(chunk, answered, strict=True), key=lambda pair: self._unit_of(pair[0].row))
            for number, pairs in parts:
                inputs, local = zip(*pairs, strict=True)
                self._begun += 1
                yield Unit(number, [_record(one) for one in inputs], inputs, local, self._ended)

    def _most_at_once(self) -> int:
        """Whole units, about as many inputs as the model likes at once."""
        unit = self._policy.unit
        return max(1, self._local.appetite.inputs // unit) * unit

    async def _answered(self, chunk: Sequence[LabelledRecord]) -> list[LocalSaid]:
        began = time.perf_counter()
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._local.answers([each.input for each in chunk])
        except Hung as error:
            raise RecordingStopped(f"{error}; what is recorded is kept") from error
        except Exception as error:  # noqa: BLE001  # whatever the user's model raises
            answers = [error] * len(chunk)  # it fails on each of them
        took_s = time.perf_counter() - began
        self._local.appetite.took(len(chunk), took_s)
        return [LocalSaid(answer, self._local.model_name, took_s / len(chunk)) for answer in answers]


def _zipped(unit: Unit) -> Iterator[tuple[Incoming, Outgoing]]:
    return zip(unit.records, unit.outcomes, strict=True) if unit.outcomes else iter(())


def _chunks(inputs: Iterator[LabelledRecord], size: Callable[[], int]) -> Iterator[list[LabelledRecord]]:
    while chunk := list(islice(inputs, size())):
        yield chunk


def _record(one: LabelledRecord) -> Incoming:
    """The record as the local agent would have handed it on. Its identity, and with it the key, is that of the row."""
    candidate, row = one.candidate, one.row
    source = Source(candidate.topic, candidate.partition, candidate.offset)
    facts = Facts(source, id=row.id, topic_id=row.digest.hex(), agent="local")
    headers = [(FACTS_HEADER, encode_facts(facts))]
    return Candidate(candidate.value, candidate.topic, candidate.partition, candidate.offset, headers=headers)
