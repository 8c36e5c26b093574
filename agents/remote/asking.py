"""What is asked of the remote, what it has cost so far, and what came of it."""

from __future__ import annotations

import math
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from ...schemas.records import Facts, Incoming
from ..answers import Details
from ..batches import Calls
from .protocol import Call


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
    unscored: str = ""  #: why there is no score, where that is known
    details: Details | None = None  #: what else it says, where somebody records it


class Question(msgspec.Struct, frozen=True):
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


class Asking(msgspec.Struct, frozen=True):
    """Questions on their way to the remote, and the bill that each of them bears.

    It is asked in one call, or falls into parts. A part goes its own way from there: what it adds to the bill is not
    the others'.
    """

    questions: Sequence[Question]
    calls: Calls | None = None  #: hears for which records calls are made
    bill: Bill = msgspec.field(default_factory=Bill)

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
        """What the idempotency key says of the inputs."""
        return inputs_key([question.facts for question in self.questions])

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
        first_ms, last_ms = self.deadlines_ms
        return _left_s(first_ms, now_ms), _left_s(last_ms, now_ms)

    def part(self, questions: Sequence[Question]) -> Asking:
        """Some of them, with the bill as it stands."""
        return Asking(questions, self.calls, replace(self.bill))

    def halves(self) -> tuple[Asking, Asking]:
        """The first half of them, and the rest."""
        middle = len(self.questions) // 2
        return self.part(self.questions[:middle]), self.part(self.questions[middle:])

    def tell(self) -> None:
        """A call was made: whoever gets the records again is to know."""
        if self.calls is not None:
            for question in self.questions:
                self.calls.called(question.position)


def _left_s(deadline_ms: float, now_ms: float) -> float | None:
    return None if deadline_ms == math.inf else (deadline_ms - now_ms) / 1000.0


def inputs_key(inputs: Sequence[Facts]) -> str:
    """These inputs and no others: partition and offset of the first and how many more, for people, and a digest of all.

    The digest has the ids of their topics, for a topic that is made anew, or is another cluster's, counts from 0 again.
    It has all inputs, because after a crash the batch may be formed anew: the same first input with other neighbours is
    another call, and a server that remembers would answer it with the old neighbours' answers.
    """
    first = inputs[0].source
    places = [[facts.topic_id, facts.source.topic, facts.source.partition, facts.source.offset] for facts in inputs]
    more = f"+{len(inputs) - 1}" if len(inputs) > 1 else ""
    return f"{first.partition}-{first.offset}{more}-{_digest(msgspec.json.encode(places), 8)}"


def idempotency_key(inputs: str, pipeline: str, url: str, call: Call) -> str:
    """The key under which a server may recognise a repeated call: whose it is, about which inputs, and what is asked.

    `inputs`: an `inputs_key`. What is asked is all that leaves but the headers of the settings, which hold secrets:
    with another address, model, option or prompt it is another call. No longer than 59 characters, and 64 for
    several inputs.
    """
    asked = [pipeline, url, call.method, call.path, sorted(call.headers.items()), call.samples]
    return f"{inputs}-{_digest(msgspec.json.encode(asked) + call.body, 12)}"


def _digest(document: bytes, size: int) -> str:
    return urlsafe_b64encode(blake2b(document, digest_size=size).digest()).decode().rstrip("=")
