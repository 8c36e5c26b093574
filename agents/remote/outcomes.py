"""What becomes of a record that the remote was asked about, or could not be. Pure functions."""

from __future__ import annotations

import msgspec

from ...schemas.codec import EncodeResult, encode_result, fall_back, forward, publish, requested_ms
from ...schemas.errors import BudgetSpent, Reason, RecordError
from ...schemas.records import Outgoing, Result, Verdict
from .asking import Bill, Question, RemoteAnswer
from .retry import CircuitOpen


def answered(
    question: Question, answer: RemoteAnswer, bill: Bill, supervisor: str, *, cached: bool = False
) -> Outgoing:
    """On to whoever judges the answer by this score. `cached`: it was paid for another record."""
    verdict = Verdict(
        answer.prediction,
        answer.score,
        supervisor=supervisor,
        model=answer.model,
        latency_ms=0.0 if cached else answer.latency_ms,
        cost=bill.cost,
        calls=bill.calls,
        repeated=question.called_before and bill.calls > 0,
        cached=cached,
    )
    facts = msgspec.structs.replace(question.facts, remote=verdict, agent="remote", detail=answer.unscored or None)
    return forward(question.record, "answers", facts)


def unanswered(
    question: Question,
    error: RecordError,
    bill: Bill,
    accepts_local: frozenset[Reason],
    encode: EncodeResult = encode_result,
) -> Outgoing:
    """The fallback for this reason, or the local answer where one of `accepts_local` kept us from calling. `encode`
    makes the value of that result.
    """
    facts = question.facts
    if error.reason in accepts_local and isinstance(error, (CircuitOpen, BudgetSpent)):
        accepted = _accepted(question, bill, encode)
        if accepted is not None:
            return accepted
    if bill.calls:  # no answer, but its calls and their cost are not hidden
        paid = Verdict(None, None, cost=bill.cost, calls=bill.calls, repeated=question.called_before)
        facts = msgspec.structs.replace(facts, remote=paid)
    return fall_back(question.record, facts, error.reason, str(error), "remote")


def _accepted(question: Question, bill: Bill, encode: EncodeResult) -> Outgoing | None:
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
        requested_ms=requested_ms(question.record, facts),
        latency_ms=local.latency_ms,
        cost=bill.cost,
        repeated=question.called_before and bill.calls > 0,
    )
    return publish(question.record, result, encode)
