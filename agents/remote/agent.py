"""The remote agent: asks the large model about what the small one doubts. Writes answers, judges none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from ...schemas.budget import Amount
from ...schemas.codec import (
    EncodeResult,
    RequestFormat,
    decode_facts,
    decode_request,
    encode_result,
    facts_of,
    fall_back,
    forward,
)
from ...schemas.errors import Reason, RecordError, Rejected, Timeout
from ...schemas.records import Incoming, Outgoing
from ..batches import Calls
from ..clock import wall_ms
from ..tracing import Tracing
from .asking import Asking, Bill, Question, RemoteAnswer
from .batching import BatchPolicy, Deferral, Shaped, cut
from .client import RemoteClient
from .endpoint import Endpoint
from .gate import Gate
from .gating.lane import Lane
from .meter import Meter
from .outcomes import answered, unanswered
from .retry import OutOfTime, is_refusal
from .reusing.reuse import Flight, Reuse
from .sending import outbound

log = logging.getLogger(__name__)

#: what becomes of the records of a batch, by their positions in it
Outcomes = dict[int, Outgoing]


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
        hear: Callable[[Incoming, RemoteAnswer], object] | None = None,
        now_ms: Callable[[], float] = wall_ms,
        encode: EncodeResult = encode_result,
        batches: Deferral | None = None,
    ) -> None:
        """`accepts_local`: where no call was made, for the remote is down (`remote_error`) or the budget is spent
        (`budget`), the local answer becomes a result that is not trusted. `reuse`: answers to equal inputs are not
        paid twice. `hear` is told of every answer, with the details that no record carries. `encode` makes the value of
        a result. `batches`: which inputs are not asked as they come.
        """
        self._client = client
        self._batches = batches
        self._shaped = client.protocol if isinstance(client.protocol, Shaped) else None  # asked once: it is slow
        self._batch = batch or BatchPolicy()
        self._accepts_local = accepts_local
        self._encode = encode
        self._tracing = tracing or Tracing()
        self._format = request_format
        self._supervisor = supervisor
        self._send = send
        self._reuse = reuse
        self._hear = hear
        self._now_ms = now_ms
        self.calls_repeated = 0  #: calls about an input that may have been asked before, and its answer lost

    def beside(self, lane: Lane) -> Remote:
        """The same remote, asked by calls that nobody waits for, and about every input: nobody waits for a flight of
        theirs.
        """
        return Remote(
            self._client.beside(lane),
            self._format,
            supervisor=self._supervisor,
            send=self._send,
            batch=self._batch,
            now_ms=self._now_ms,
        )

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

    def statistics(self) -> dict[str, Any]:
        """A snapshot."""
        told: dict[str, Any] = {"remote_calls_repeated": self.calls_repeated}
        return told if self._reuse is None else told | {"cache": self._reuse.statistics()}

    def most(self, record: Incoming) -> Amount:
        """What asking about this record alone can cost, tried once. Raises `InvalidRequest` where that cannot be."""
        return self._client.most([outbound(decode_request(record, self._format), self._send)])

    async def renew(self) -> None:
        """Read the key to the remote again."""
        await self._client.renew()

    async def close(self) -> None:
        await self._client.close()

    async def answer(self, records: Sequence[Incoming], calls: Calls | None = None) -> list[Outgoing]:
        """One outcome per record, in order, asked in one call where the remote lets us.

        `calls` knows for which of them calls were made before, and hears of those that are made now.
        """
        if self._format.reader is not None:
            await self._format.ready(records)
        outcomes: Outcomes = {}
        questions: list[Question] = []
        for position, record in enumerate(records):
            parsed = self._parse(position, record, calls)
            if isinstance(parsed, Question):
                questions.append(parsed)
            else:
                outcomes[position] = parsed
        asking = Asking(questions, calls)
        outcomes |= await (self._ask_all(asking) if self._reuse is None else self._ask_once(self._reuse, asking))
        return [outcomes[position] for position in range(len(records))]

    def _parse(self, position: int, record: Incoming, calls: Calls | None) -> Question | Outgoing:
        try:
            facts = decode_facts(record)
            request = decode_request(record, self._format)
            if facts.deadline_ms is not None and facts.deadline_ms <= self._now_ms():
                raise Timeout("the deadline passed before the remote was asked")
            if self._batches is not None and self._batches.defers(facts.deadline_ms, self._now_ms()):
                return forward(record, "batched", msgspec.structs.replace(facts, agent="remote"))
            sent = outbound(request, self._send)
        except RecordError as error:
            return fall_back(record, facts_of(record), error.reason, str(error), "remote")
        before = calls is not None and calls.called_before(position)
        digest = None if self._reuse is None else self._reuse.digest(sent)
        return Question(position, record, facts, sent, before, digest)

    async def _ask_all(self, asking: Asking) -> Outcomes:
        """Each is asked, in as few calls as the remote lets us."""
        if len(asking.questions) == 1:  # as nearly all: what it has in common with others is nobody's business
            return await self._ask(asking)
        outcomes: Outcomes = {}
        for group in cut(asking.questions, _size_of, self._shape_of, self._batch):
            outcomes |= await self._ask(asking.part(group))
        return outcomes

    def _shape_of(self, question: Question) -> Hashable:
        return None if self._shaped is None else self._shaped.shape_of(question.input)

    async def _ask_once(self, reuse: Reuse, asking: Asking) -> Outcomes:
        """The same, but what is known is not asked, and what is being asked is waited for."""
        found = reuse.sort(asking.questions)
        outcomes = {question.position: self._reused(question, answer) for question, answer in found.known}
        with reuse.leading(found.unknown):
            outcomes |= await self._ask_all(asking.part(found.unknown))
        for question, flight in found.under_way:
            outcomes |= await self._await(reuse, asking.part([question]), flight)
        return outcomes

    async def _await(self, reuse: Reuse, asking: Asking, flight: Flight) -> Outcomes:
        """The answer to an equal input. Where none comes it is asked anew; where the time is over, nobody is."""
        [question] = asking.questions
        following: Flight | None = flight
        while following is not None:
            _, last_s = asking.within_s(self._now_ms())
            try:
                answer = await reuse.landed(following, last_s)
            except TimeoutError:
                return await self._ask_all(asking)
            if answer is not None:
                return {question.position: self._reused(question, answer)}
            following = reuse.flight_for(question)  # another of those who waited asks now
        return await self._ask_once(reuse, asking)

    def _reused(self, question: Question, answer: RemoteAnswer) -> Outgoing:
        return self._answered(question, answer, Bill(), cached=True)

    def _answered(self, question: Question, answer: RemoteAnswer, bill: Bill, *, cached: bool = False) -> Outgoing:
        if self._hear is not None:
            self._hear(question.record, answer)
        return answered(question, answer, bill, self._supervisor, cached=cached)

    async def _ask(self, asking: Asking) -> Outcomes:
        """One call about all of them. What fails because of some is asked again in parts."""
        try:
            answers = await self._call(asking)
        except RecordError as error:
            _forget_origin(error)
            if isinstance(error, OutOfTime) and _some_have_longer(asking):
                return await self._ask_patient(asking, error)
            if len(asking.questions) > 1 and _input_at_fault(error):
                return await self._ask_halves(asking, error)
            return self._give_up(asking, asking.questions, error)
        pairs = list(zip(asking.questions, answers, strict=True))
        if self._reuse is not None:
            self._reuse.keep(pairs)
        return {q.position: self._answered(q, answer, asking.bill) for q, answer in pairs}

    async def _call(self, asking: Asking) -> list[RemoteAnswer]:
        first_s, last_s = asking.within_s(self._now_ms())
        trace = self._tracing.calls(asking.records)
        bill = asking.bill
        made = bill.calls
        try:
            return await self._client.ask(
                asking.inputs,
                asking.key,
                last_s,
                bill,
                begin_within_s=first_s,
                records=[str(question.facts.source) for question in asking.questions],
                trace=trace,
            )
        finally:  # also where it is cancelled: whoever gets the records again is to know
            if bill.calls > made:
                self.calls_repeated += asking.called_before
                asking.tell()

    async def _ask_halves(self, asking: Asking, error: RecordError) -> Outcomes:
        """Ask again in two halves, and so on down to the one input that spoils it for its neighbours."""
        facts = {"action": "remote_split", "reason": error.reason, "inputs": len(asking.questions)}
        log.info("asking in halves: %s", error, extra=facts)
        async with asyncio.TaskGroup() as group:  # beside each other: one may wait until it is known who is to blame
            halves = [group.create_task(self._ask(half)) for half in asking.halves()]
        first, second = (half.result() for half in halves)
        return first | second

    async def _ask_patient(self, asking: Asking, error: OutOfTime) -> Outcomes:
        """Give up those for whom the next try would come too late, and ask the others again without them."""
        first_ms, _ = asking.deadlines_ms
        by_ms = max(first_ms, self._now_ms() + error.wait_s * 1000.0)
        late = [question for question in asking.questions if question.deadline_ms <= by_ms]
        rest = [question for question in asking.questions if question.deadline_ms > by_ms]
        given_up = self._give_up(asking, late, error)
        if not rest:
            return given_up
        await self._client.pause(error.wait_s)
        return given_up | await self._ask(asking.part(rest))

    def _give_up(self, asking: Asking, late: Sequence[Question], error: RecordError) -> Outcomes:
        """The outcomes of these, after a call about all of them."""
        calls = asking.bill.calls
        facts = {"action": "remote_gave_up", "reason": error.reason, "inputs": len(late), "key": asking.key}
        log.warning("no remote answer after %d calls: %s", calls, error, extra=facts | {"calls": calls})
        return {q.position: unanswered(q, error, asking.bill, self._accepts_local, self._encode) for q in late}


def _forget_origin(error: RecordError) -> None:
    """From here on its words are enough. The frames that it came through hold it in turn, and the inputs, so all that
    would stay until the next search for garbage.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _size_of(question: Question) -> int:
    return question.size


def _some_have_longer(asking: Asking) -> bool:
    """Whether the last deadline is later than the first."""
    first_ms, last_ms = asking.deadlines_ms
    return first_ms != last_ms


def _input_at_fault(error: RecordError) -> bool:
    """Fewer inputs may fare better."""
    return isinstance(error, Rejected) or is_refusal(error)
