"""The remote agent: asks the large model about what the small one doubts. Writes answers, judges none."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from ...schemas.codec import RequestFormat, decode_facts, decode_request, facts_of, fall_back, forward, publish
from ...schemas.errors import BudgetSpent, Reason, RecordError, Rejected, Timeout
from ...schemas.records import Facts, Incoming, Outgoing, Result, Source, Verdict
from ..clock import wall_ms
from ..tracing import Tracing
from .batching import BatchPolicy, Shaped, cut
from .client import Bill, RemoteAnswer, RemoteClient
from .endpoint import Endpoint
from .gate import Gate
from .meter import Meter
from .retry import CircuitOpen, OutOfTime, Refused
from .reusing.reuse import Flight, Reuse
from .sending import outbound

log = logging.getLogger(__name__)


class Calls(Protocol):
    """Who knows for which records calls were made: a `Batch` does."""

    def called_before(self, record: Incoming) -> bool: ...
    def called(self, record: Incoming) -> None: ...


@dataclass(frozen=True, slots=True)
class Question:
    """A record that is worth asking about."""

    record: Incoming
    facts: Facts
    input: Any  #: what leaves for the remote
    called_before: bool = False  #: it may have been asked before, and the answer lost
    digest: bytes | None = None  #: under which its answer may be known; None where that is not asked


class Remote:
    """Turns doubtful records into answers, and into fallbacks where there is none.

    Answers are written before they are judged: they are paid for, and can be judged again.
    """

    def __init__(
        self,
        client: RemoteClient,
        request_format: RequestFormat,
        *,
        supervisor: str = "max_softmax",
        send: tuple[str, ...] = (),
        batch: BatchPolicy | None = None,
        accepts_local: frozenset[Reason] = frozenset(),
        reuse: Reuse | None = None,
        tracing: Tracing | None = None,
        now_ms: Callable[[], float] = wall_ms,
    ) -> None:
        """`accepts_local`: where no call was made, for the remote is down (`remote_error`) or the budget is spent
        (`budget`), the local answer becomes a result that is not trusted. `reuse`: answers to equal inputs are not
        paid twice.
        """
        self._client = client
        self._shaped = client.protocol if isinstance(client.protocol, Shaped) else None  # asked once: it is slow
        self._batch = batch or BatchPolicy()
        self._accepts_local = accepts_local
        self._tracing = tracing or Tracing()
        self._format = request_format
        self._supervisor = supervisor
        self._send = send
        self._reuse = reuse
        self._now_ms = now_ms
        self.calls_repeated = 0  #: calls about an input that may have been asked before, and its answer lost

    async def answer(self, records: Sequence[Incoming], calls: Calls | None = None) -> list[Outgoing]:
        """One outcome per record, in order, asked in one call where the remote lets us.

        `calls` knows for which of them calls were made before, and hears of those that are made now.
        """
        parsed = [self._parse(record, calls) for record in records]
        questions = [item for item in parsed if isinstance(item, Question)]
        ask = self._ask_all if self._reuse is None else partial(self._ask_once, self._reuse)
        answered = await ask(questions, calls)
        return [item if isinstance(item, Outgoing) else answered[id(item)] for item in parsed]

    async def _ask_all(self, questions: Sequence[Question], calls: Calls | None) -> dict[int, Outgoing]:
        """The outcome of each question, by its identity."""
        answered: dict[int, Outgoing] = {}
        for group in cut(questions, _size_of, self._shape_of, self._batch):
            outcomes = await self._ask(group, Bill(), calls)
            answered.update(zip(map(id, group), outcomes, strict=True))
        return answered

    async def _ask_once(self, reuse: Reuse, questions: Sequence[Question], calls: Calls | None) -> dict[int, Outgoing]:
        """The same, but what is known is not asked, and what is being asked is waited for."""
        answered, waiting, leading = self._sorted(reuse, questions)
        led = [(question.digest, reuse.flight(question.digest)) for question in leading if question.digest is not None]
        try:
            answered |= await self._ask_all(leading, calls)
        finally:
            for digest, flight in led:
                reuse.land(digest, flight)
        for question, awaited in waiting:
            answered |= await self._await(reuse, question, awaited, calls)
        return answered

    def _sorted(
        self, reuse: Reuse, questions: Sequence[Question]
    ) -> tuple[dict[int, Outgoing], list[tuple[Question, Flight]], list[Question]]:
        """What is known already, what somebody else asks, and what is ours to ask. Between two awaits."""
        answered: dict[int, Outgoing] = {}
        waiting: list[tuple[Question, Flight]] = []
        leading: list[Question] = []
        for question in questions:
            if question.digest is None:
                leading.append(question)
            elif (answer := reuse.known(question.digest)) is not None:
                answered[id(question)] = self._answered(question, answer, Bill(), cached=True)
            elif (flight := reuse.flight(question.digest)) is not None:
                waiting.append((question, flight))
            else:
                reuse.lead(question.digest)
                leading.append(question)
        return answered, waiting, leading

    async def _await(
        self, reuse: Reuse, question: Question, flight: Flight, calls: Calls | None
    ) -> dict[int, Outgoing]:
        """The answer to an equal input. Where none comes it is asked anew; where the time is over, nobody is."""
        following: Flight | None = flight
        while following is not None and question.digest is not None:
            _, last_s = self._within_s([question])
            try:
                answer = await reuse.landed(following, last_s)
            except TimeoutError:
                return await self._ask_all([question], calls)
            if answer is not None:
                return {id(question): self._answered(question, answer, Bill(), cached=True)}
            following = reuse.flight(question.digest)  # another of those who waited asks now
        return await self._ask_once(reuse, [question], calls)

    def statistics(self) -> dict[str, Any]:
        """A snapshot."""
        told: dict[str, Any] = {"remote_calls_repeated": self.calls_repeated}
        return told if self._reuse is None else told | {"cache": self._reuse.statistics()}

    @property
    def gate(self) -> Gate:
        """What every call passes: the limits and the breaker."""
        return self._client.gate

    @property
    def meter(self) -> Meter:
        """What the calls took."""
        return self._client.meter

    @property
    def endpoint(self) -> Endpoint:
        """Who is asked."""
        return self._client.endpoint

    def _shape_of(self, question: Question) -> Hashable:
        return None if self._shaped is None else self._shaped.shape_of(question.input)

    async def close(self) -> None:
        await self._client.close()

    def _parse(self, record: Incoming, calls: Calls | None) -> Question | Outgoing:
        try:
            facts = decode_facts(record)
            request = decode_request(record, self._format)
            if facts.deadline_ms is not None and facts.deadline_ms <= self._now_ms():
                raise Timeout("the deadline passed before the remote was asked")
            sent = outbound(request, self._send)
        except RecordError as error:
            return fall_back(record, facts_of(record), error.reason, str(error), "remote")
        before = calls is not None and calls.called_before(record)
        return Question(record, facts, sent, before, None if self._reuse is None else self._reuse.digest(sent))

    async def _ask(self, questions: Sequence[Question], bill: Bill, calls: Calls | None) -> list[Outgoing]:
        inputs = [question.input for question in questions]
        key = idempotency_key([question.facts.source for question in questions])
        first_s, last_s = self._within_s(questions)
        trace = self._tracing.calls([question.record for question in questions])
        made = bill.calls
        try:
            answers = await self._client.ask(inputs, key, last_s, bill, begin_within_s=first_s, trace=trace)
        except RecordError as error:
            if isinstance(error, OutOfTime) and first_s is not None and first_s != last_s:
                return await self._ask_patient(questions, bill, error, key, calls)
            if len(questions) > 1 and _input_at_fault(error):
                return await self._ask_halves(questions, bill, error, calls)
            return self._give_up(questions, error, bill, key)
        finally:  # also where it is cancelled: whoever gets the records again is to know
            if bill.calls > made:
                self._called(questions, calls)
        if self._reuse is not None:
            for question, answer in zip(questions, answers, strict=True):
                if question.digest is not None:
                    self._reuse.answered(question.digest, answer)
        return [self._answered(*pair, bill) for pair in zip(questions, answers, strict=True)]

    def _called(self, questions: Sequence[Question], calls: Calls | None) -> None:
        self.calls_repeated += any(question.called_before for question in questions)
        if calls is not None:
            for question in questions:
                calls.called(question.record)

    async def _ask_halves(
        self, questions: Sequence[Question], bill: Bill, error: RecordError, calls: Calls | None
    ) -> list[Outgoing]:
        """Ask again in two halves, and so on down to the one input that spoils it for its neighbours."""
        facts = {"action": "remote_split", "reason": error.reason, "inputs": len(questions)}
        log.info("asking in halves: %s", error, extra=facts)
        middle = len(questions) // 2
        first = await self._ask(questions[:middle], replace(bill), calls)
        return first + await self._ask(questions[middle:], replace(bill), calls)

    async def _ask_patient(
        self, questions: Sequence[Question], bill: Bill, error: OutOfTime, key: str, calls: Calls | None
    ) -> list[Outgoing]:
        """Give up those for whom the next try would come too late, and ask the others again without them."""
        first_ms = min(map(_deadline_ms, questions))
        by_ms = max(first_ms, self._now_ms() + error.wait_s * 1000.0)
        late = [question for question in questions if _deadline_ms(question) <= by_ms]
        rest = [question for question in questions if _deadline_ms(question) > by_ms]
        if not rest:
            return self._give_up(questions, error, bill, key)
        given_up = iter(self._give_up(late, error, bill, key))
        await self._client.pause(error.wait_s)
        answered = iter(await self._ask(rest, replace(bill), calls))
        return [next(given_up) if _deadline_ms(question) <= by_ms else next(answered) for question in questions]

    def _within_s(self, questions: Sequence[Question]) -> tuple[float | None, float | None]:
        """Seconds until the first and the last of the deadlines; None where there is none.

        The last bounds a call, so that an impatient input does not end what its neighbours need; what arrives late
        is paid for and goes on. The first bounds when a try may begin.
        """
        deadlines = [_deadline_ms(question) for question in questions]
        first, last = ((deadline - self._now_ms()) / 1000.0 for deadline in (min(deadlines), max(deadlines)))
        return (None if math.isinf(first) else first), (None if math.isinf(last) else last)

    def _answered(self, question: Question, answer: RemoteAnswer, bill: Bill, *, cached: bool = False) -> Outgoing:
        verdict = Verdict(
            answer.prediction,
            answer.score,
            supervisor=self._supervisor,
            model=answer.model,
            latency_ms=0.0 if cached else answer.latency_ms,
            cost=bill.cost,
            calls=bill.calls,
            repeated=question.called_before and bill.calls > 0,
            cached=cached,
        )
        facts = msgspec.structs.replace(question.facts, remote=verdict, agent="remote")
        return forward(question.record, "answers", facts)

    def _give_up(self, questions: Sequence[Question], error: RecordError, bill: Bill, key: str) -> list[Outgoing]:
        facts = {"action": "remote_gave_up", "reason": error.reason, "inputs": len(questions), "key": key}
        log.warning("no remote answer after %d calls: %s", bill.calls, error, extra=facts | {"calls": bill.calls})
        return [self._unanswered(question, error, bill) for question in questions]

    def _unanswered(self, question: Question, error: RecordError, bill: Bill) -> Outgoing:
        facts = question.facts
        if error.reason in self._accepts_local and isinstance(error, (CircuitOpen, BudgetSpent)):
            accepted = _accepted(question, bill)
            if accepted is not None:
                return accepted
        if bill.calls:  # no answer, but its calls and their cost are not hidden
            facts = msgspec.structs.replace(facts, remote=_paid(question, bill))
        return fall_back(question.record, facts, error.reason, str(error), "remote")


def _paid(question: Question, bill: Bill) -> Verdict:
    return Verdict(None, None, cost=bill.cost, calls=bill.calls, repeated=question.called_before)


def _size_of(question: Question) -> int:
    return len(question.record.value or b"")


def _deadline_ms(question: Question) -> float:
    deadline_ms = question.facts.deadline_ms
    return math.inf if deadline_ms is None else deadline_ms


def _accepted(question: Question, bill: Bill) -> Outgoing | None:
    """The local answer as a result that nobody trusts; None where it has no score to show."""
    facts, local = question.facts, question.facts.local
    if local is None or local.score is None or local.threshold is None:
        return None
    result = Result(
        facts.source,
        local.prediction,
        "local",
        local.score,
        local.threshold,
        trusted=False,
        id=facts.id,
        supervisor=local.supervisor,
        model=local.model,
        thresholds=facts.thresholds,
        requested_ms=question.record.timestamp,
        latency_ms=local.latency_ms,
        cost=bill.cost,
        repeated=question.called_before and bill.calls > 0,
    )
    return publish(question.record, result)


def _input_at_fault(error: RecordError) -> bool:
    return isinstance(error, Rejected) or (isinstance(error, Refused) and error.input_at_fault)


def idempotency_key(sources: Sequence[Source]) -> str:
    """The key under which a server may recognise a repeated call.

    One input: its source. Several: the first, how many more, and a digest of all of them. The digest, because
    after a crash the batch may be formed anew: the same first input with other neighbours is another call,
    and a server that remembers would answer it with the old neighbours' answers.
    """
    if len(sources) == 1:
        return str(sources[0])
    digest = blake2b(" ".join(map(str, sources)).encode(), digest_size=8).hexdigest()
    return f"{sources[0]}+{len(sources) - 1}-{digest}"
