"""What is asked of the remote, what it has cost so far, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

from ...schemas.records import Facts, Incoming, Source
from ..batches import Calls


@dataclass(slots=True)
class Bill:
    """What an input has cost so far. Counted before a call can fail, so that nothing paid is hidden."""

    calls: int = 0  #: calls made, failed ones included
    cost: float = 0.0  #: of the calls that were answered, in the currency of the settings
    ends: float = math.inf  #: on the client's clock: when the tries must be over, from the first call on


class RemoteAnswer(NamedTuple):
    """An answer and what it took."""

    prediction: Any  #: any JSON value
    score: float | None  #: higher is more trustworthy; None when there is none
    model: str  #: "name@version" as far as the remote says so
    latency_ms: float  #: milliseconds, retries and waits included


@dataclass(frozen=True, slots=True)
class Question:
    """A record that is worth asking about."""

    position: int  #: of the record in its batch
    record: Incoming
    facts: Facts
    input: Any  #: what leaves for the remote
    called_before: bool = False  #: it may have been asked before, and the answer lost
    digest: bytes | None = None  #: under which its answer may be known; None where that is not asked

    @property
    def size(self) -> int:
        """Bytes of the request."""
        return len(self.record.value or b"")

    @property
    def deadline_ms(self) -> float:
        """When its answer is of no use any more, milliseconds since epoch; infinite where it always is."""
        deadline_ms = self.facts.deadline_ms
        return math.inf if deadline_ms is None else deadline_ms


@dataclass(frozen=True, slots=True)
class Asking:
    """Questions on their way to the remote, and the bill that each of them bears.

    It is asked in one call, or falls into parts. A part goes its own way from there: what it adds to the bill is not
    the others'.
    """

    questions: Sequence[Question]
    calls: Calls | None = None  #: hears for which records calls are made
    bill: Bill = field(default_factory=Bill)

    @property
    def inputs(self) -> list[Any]:
        """What leaves for the remote."""
        return [question.input for question in self.questions]

    @property
    def records(self) -> dict[int, Incoming]:
        """The records by their position in the batch."""
        return {question.position: question.record for question in self.questions}

    @property
    def key(self) -> str:
        """The idempotency key."""
        return idempotency_key([question.facts.source for question in self.questions])

    @property
    def called_before(self) -> bool:
        """One of them may have been asked before, and the answer lost."""
        return any(question.called_before for question in self.questions)

    @property
    def deadlines_ms(self) -> tuple[float, float]:
        """The first and the last of their deadlines, milliseconds since epoch; infinite where there is none."""
        deadlines = [question.deadline_ms for question in self.questions]
        return min(deadlines), max(deadlines)

    def within_s(self, now_ms: float) -> tuple[float | None, float | None]:
        """Seconds until the first and the last of the deadlines; None where there is none.

        The last bounds a call, so that an impatient input does not end what its neighbours need; what arrives late
        is paid for and goes on. The first bounds when a try may begin.
        """
        first, last = ((deadline - now_ms) / 1000.0 for deadline in self.deadlines_ms)
        return (None if math.isinf(first) else first), (None if math.isinf(last) else last)

    def part(self, questions: Sequence[Question]) -> Asking:
        """Some of them, with the bill as it stands."""
        return replace(self, questions=questions, bill=replace(self.bill))

    def halves(self) -> tuple[Asking, Asking]:
        """The first half of them, and the rest."""
        middle = len(self.questions) // 2
        return self.part(self.questions[:middle]), self.part(self.questions[middle:])

    def tell(self) -> None:
        """A call was made: whoever gets the records again is to know."""
        if self.calls is not None:
            for question in self.questions:
                self.calls.called(question.position)


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
