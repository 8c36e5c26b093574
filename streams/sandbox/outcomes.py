"""What came out of a run: each outcome as a downstream service reads it, and whether every event has exactly one."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from ...schemas.codec import decode_facts, decode_result


@dataclass(frozen=True, slots=True)
class Outcome:
    """One record of `results` or `fallback`."""

    id: str  #: the key of the event
    answered_by: Literal["local", "remote"] | None  #: the model whose answer is trusted; None on fallback
    prediction: Any = None  #: the answer; on fallback the rejected answer, None where there is none
    score: float | None = None  #: of that answer
    reason: str | None = None  #: why it fell back; None on results
    cost: float = 0.0  #: what the record says its remote call cost


def from_result(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """The outcome in a record of `results`."""
    result = decode_result(record.value)
    return Outcome(record.key.decode(), result.answered_by, result.prediction, result.score, cost=result.cost)


def from_fallback(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """The outcome in a record of `fallback`, with the answer that was rejected."""
    facts = decode_facts(record)
    judged = facts.remote
    if judged is None:
        return Outcome(record.key.decode(), None, reason=facts.reason)
    return Outcome(record.key.decode(), None, judged.prediction, judged.score, facts.reason, judged.cost)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How outcomes and events match."""

    first: dict[str, Outcome]  #: by event id; the others of the same event are duplicates
    lost: int  #: events without an outcome
    duplicated: int  #: outcomes beyond the first of their event
    unknown: int  #: outcomes of no event that was produced

    @property
    def exactly_once(self) -> bool:
        """Every event has one outcome, and there are no others."""
        return not (self.lost or self.duplicated or self.unknown)


def match(ids: Set[str], outcomes: Sequence[Outcome]) -> Delivery:
    """Match the outcomes with the ids of the events that were produced."""
    first: dict[str, Outcome] = {}
    for outcome in outcomes:
        if outcome.id in ids:
            first.setdefault(outcome.id, outcome)
    known = sum(outcome.id in ids for outcome in outcomes)
    return Delivery(first, len(ids) - len(first), known - len(first), len(outcomes) - known)


@dataclass(frozen=True, slots=True)
class MeterReading:
    """What the model server's own meter says."""

    calls: int  #: calls answered, which are paid
    refused: int  #: calls answered 429, which are free
    cost: float  #: what the calls and the batches cost
    batches: int = 0  #: batches that have ended
    batched: int = 0  #: inputs answered in them, which are paid

    def since(self, earlier: MeterReading) -> MeterReading:
        """What came after an earlier reading: a server may have answered others before."""
        return MeterReading(
            self.calls - earlier.calls,
            self.refused - earlier.refused,
            self.cost - earlier.cost,
            self.batches - earlier.batches,
            self.batched - earlier.batched,
        )


@dataclass(frozen=True, slots=True)
class EndToEndRun:
    """Everything that was measured of one run from events to outcomes."""

    outcomes: list[Outcome]  #: in the order they were read
    seconds: float  #: from the first event produced to the last outcome read
    meter: MeterReading
