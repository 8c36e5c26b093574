"""From records to the lines of a batch, and from their results to outcomes. No I/O.

A line holds what a direct call would, and its result is read as a direct call's response is: the same input has the
same answer, score and reason either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ....schemas.budget import NANO
from ....schemas.bulk import BatchCounts
from ....schemas.codec import (
    EncodeResult,
    RequestFormat,
    decode_facts,
    decode_request,
    encode_result,
    facts_of,
    fall_back,
    forward,
)
from ....schemas.errors import BudgetSpent, InvalidAnswer, Reason, RecordError, Refused, RemoteError, Timeout
from ....schemas.records import Facts, Incoming, Outgoing, Verdict
from ...clock import wall_ms
from ..asking import Bill, Question, RemoteAnswer
from ..outcomes import answered, unanswered
from ..protocol import Call, RemoteProtocol, Reply, failure_in
from ..retry import CircuitOpen, deserves_retrial, may_pass, own_of
from ..sending import outbound
from ..spending.price import Bounded, Price
from ..transport import Response
from ..usage import Bounds, believed
from .identity import Place, custom_id
from .provider import Line, LineResult

#: what a provider says of an input that it has not answered in its window, and of one that a person took back
_EXPIRED, _CANCELLED = "expired", "cancelled"


@dataclass(frozen=True, slots=True)
class BulkInputsPolicy:
    """How inputs are asked in batches, and what becomes of those that have no answer."""

    pipeline: str
    price: Price = field(default_factory=Price)
    price_share: float = 0.5  #: what a batch costs, as a share of the direct calls
    most_answer_tokens: int = 0  #: that one answer can have, where the protocol does not know
    supervisor: str = "max_softmax"
    send: tuple[str, ...] = ()
    tries: int = 3  #: batches that an input goes into, at most
    expired_again: bool = True  #: what the provider did not get to goes into another batch
    accepts_local: frozenset[Reason] = frozenset()


class Prepared(NamedTuple):
    """An input that can be asked."""

    line: Line
    tokens: int  #: that it will take, roughly
    most: int  #: billionths of the currency's unit that it can cost
    deadline_ms: int | None = None  #: after which nobody waits for its answer


class Settled(NamedTuple):
    """What becomes of an input."""

    outgoing: Outgoing
    counts: BatchCounts  #: of this one


class _Asked(NamedTuple):
    """What was asked about an input: the same now as when its line was made."""

    question: Question
    call: Call
    most: int


class BulkInputs:
    """Makes lines, and reads results."""

    def __init__(
        self,
        protocol: RemoteProtocol,
        request_format: RequestFormat,
        policy: BulkInputsPolicy,
        *,
        encode: EncodeResult = encode_result,
        now_ms: Callable[[], float] = wall_ms,
    ) -> None:
        """`encode` makes the value of a result."""
        self._protocol = protocol
        self._bounded = protocol if isinstance(protocol, Bounded) else None  # asked once: it is slow
        self._format = request_format
        self.policy = policy
        self._encode = encode
        self._now_ms = now_ms
        self.path = ""  #: of the protocol's call; '' before any line was made

    async def ready(self, records: list[Incoming]) -> None:
        """These can be read, or are known to be unreadable."""
        if self._format.reader is not None:
            await self._format.ready(records)

    def prepare(self, record: Incoming, topic_id: str, *, late: bool = False) -> Prepared | Outgoing:
        """The line of a record of `batched`, or its outcome where it cannot be asked, or not any more. `late`: its
        deadline may have passed.
        """
        try:
            facts = decode_facts(record)
            if not late and facts.deadline_ms is not None and facts.deadline_ms <= self._now_ms():
                raise Timeout("the deadline passed before the remote was asked")
            asked = self._asked(record, facts)
        except RecordError as error:
            return fall_back(record, facts_of(record), error.reason, str(error), "remote")
        name = custom_id(self.policy.pipeline, topic_id, Place(record.partition, record.offset), facts)
        tokens = self._protocol.estimate([asked.question.input])
        self.path = asked.call.path
        return Prepared(Line(name, asked.call.body), tokens, self._cheaper(asked.most), facts.deadline_ms)

    def _asked(self, record: Incoming, facts: Facts) -> _Asked:
        request = decode_request(record, self._format)
        given = outbound(request, self.policy.send)
        call = self._protocol.build([given])
        most = self.policy.price.most(1, len(call.body), self._most_answer_tokens)
        return _Asked(Question(0, record, facts, given), call, most)

    def name_of(self, record: Incoming, topic_id: str) -> str:
        """The `custom_id` that a record's line has."""
        place = Place(record.partition, record.offset)
        return custom_id(self.policy.pipeline, topic_id, place, facts_of(record))

    def raise_for(self, response: Response) -> None:
        """Raise what the response of a line stands for, unless it is a success."""
        self._protocol.raise_for(response)

    def settle(
        self, record: Incoming, result: LineResult | None, waited_ms: float, *, doubted: bool = False
    ) -> Settled:
        """What becomes of a record whose batch has ended. `result`: of its line; None where there is none.

        `waited_ms`: since its batch was closed. `doubted`: of its batch no line was answered, so a refusal may be no
        fault of the input's.
        """
        settled = self._settled(record, result, waited_ms, doubted=doubted)
        calls = int(result is not None and result.response is not None)
        return settled._replace(counts=msgspec.structs.replace(settled.counts, calls=calls))

    def _settled(self, record: Incoming, result: LineResult | None, waited_ms: float, *, doubted: bool) -> Settled:
        try:
            facts = decode_facts(record)
            asked = self._asked(record, facts)
        except RecordError as error:  # it could be asked when its line was made: the settings have changed
            return _fallen(fall_back(record, facts_of(record), error.reason, str(error), "remote"), 0, 0)
        bill = _bill_of(facts, further=1)
        try:
            reply, direct = self._read(asked, result)
        except _Paid as paid:
            return self._failed(asked.question, paid.error, bill, paid.direct, again=may_pass(paid.error))
        except RecordError as error:
            again = self._may_help(error, result) or (doubted and deserves_retrial(error))
            return self._failed(asked.question, error, bill, 0, again=again)
        if asked.question.deadline_ms <= self._now_ms():
            late = Timeout("the deadline passed before its batch was answered")
            return self._failed(asked.question, late, bill, direct)
        return self._answered(asked.question, reply, bill, direct, waited_ms)

    def give_up(self, record: Incoming, reason: str, why: str) -> Settled:
        """What becomes of a record that no provider is asked about any more."""
        facts = facts_of(record)
        kinds: tuple[type[RecordError], ...] = (BudgetSpent, Refused)
        error = next((kind for kind in kinds if kind.reason == reason), CircuitOpen)(why)
        return self._failed(Question(0, record, facts, None), error, _bill_of(facts), 0)

    def time_out(self, record: Incoming, *, asked: bool) -> Settled:
        """What becomes of a record whose deadline has passed. `asked`: it is in a batch that the provider has."""
        facts = facts_of(record)
        error = Timeout("the deadline passed before its batch was answered")
        return self._failed(Question(0, record, facts, None), error, _bill_of(facts, further=int(asked)), 0)

    # reading

    def _read(self, asked: _Asked, result: LineResult | None) -> tuple[Reply, int]:
        """The reply, and what it would have cost as a direct call. Raises `RecordError`, or `_Paid` with it."""
        if result is None:
            raise RemoteError("its batch has ended without a word about it")
        response = result.response
        if response is None:
            said = f"{result.code or 'no answer'}{result.error and ': '}{result.error}"
            raise Timeout(f"not answered in time: {said}") if result.code == _EXPIRED else RemoteError(said)
        self._protocol.raise_for(response)
        direct = asked.most  # of an answer that cannot be read, nobody knows what it has cost
        try:
            reply = self._protocol.read(response, 1)
            written = self._most_answer_tokens or (0 if self._bounded else len(response.body))
            usage, _ = believed(reply.usage, Bounds(len(asked.call.body), written))
            direct = self.policy.price.of(1, usage, asked.most)
        except InvalidAnswer as error:
            raise _Paid(failure_in(response, error), direct) from error
        return reply._replace(usage=usage), direct

    def _answered(self, question: Question, reply: Reply, bill: Bill, direct: int, waited_ms: float) -> Settled:
        [answer] = reply.answers
        cost = self._cheaper(direct)
        bill.cost += cost / NANO
        told = RemoteAnswer(answer.prediction, answer.score, reply.model, waited_ms, answer.unscored, answer.details)
        usage = reply.usage
        counts = BatchCounts(
            answered=1,
            cost=cost,
            direct_cost=direct,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
        )
        return Settled(answered(question, told, bill, self.policy.supervisor), counts)

    def _failed(
        self, question: Question, error: RecordError, bill: Bill, direct: int, *, again: bool = False
    ) -> Settled:
        """It goes to fallback, or `again` into another batch, where there is time for one."""
        cost = self._cheaper(direct)
        bill.cost += cost / NANO
        if again and bill.calls < self.policy.tries:
            if question.deadline_ms > self._now_ms():
                return _again(question, bill, BatchCounts(again=1, cost=cost, direct_cost=direct))
            error = Timeout(f"the deadline passed: {error}")
        outgoing = unanswered(question, own_of(error), bill, self.policy.accepts_local, self._encode)
        return _fallen(outgoing, cost, direct)

    def _may_help(self, error: RecordError, result: LineResult | None) -> bool:
        """Another batch may answer it."""
        code = "" if result is None or result.response is not None else result.code
        if code == _EXPIRED:
            return self.policy.expired_again
        return code != _CANCELLED and may_pass(error)

    @property
    def _most_answer_tokens(self) -> int:
        return self._bounded.most_answer_tokens(1) if self._bounded else self.policy.most_answer_tokens

    def _cheaper(self, direct: int) -> int:
        return math.ceil(direct * self.policy.price_share)


class _Paid(Exception):
    """A line was answered, and the answer is none."""

    def __init__(self, error: RecordError, direct: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.direct = direct


def _fallen(outgoing: Outgoing, cost: int, direct: int) -> Settled:
    return Settled(outgoing, BatchCounts(fallen=1, cost=cost, direct_cost=direct))


def _again(question: Question, bill: Bill, counts: BatchCounts) -> Settled:
    """Into another batch. It bears what it has cost, and how many batches it was in, as calls without an answer."""
    verdict = Verdict(None, None, cost=bill.cost, calls=bill.calls)
    facts = msgspec.structs.replace(question.facts, remote=verdict, agent="remote")
    return Settled(forward(question.record, "batched", facts), counts)


def _bill_of(facts: Facts, further: int = 0) -> Bill:
    """What it has cost before, and the batches that it was in, `further` ones included."""
    before = facts.remote
    return Bill(further) if before is None else Bill(before.calls + further, before.cost)
