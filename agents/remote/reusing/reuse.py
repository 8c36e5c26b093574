"""One call for equal inputs: what is known is taken from the cache, what is being asked is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..asking import Question, RemoteAnswer
from ..protocol import RemoteProtocol
from .cache import AnswerCache, digest_of

#: what becomes of a call that others wait for: its answer, or None where none came
Flight = asyncio.Future[RemoteAnswer | None]


class Sorted(NamedTuple):
    """Questions by where their answers come from."""

    known: list[tuple[Question, RemoteAnswer]]  #: the answer is there
    under_way: list[tuple[Question, Flight]]  #: somebody asks for an equal input
    unknown: list[Question]  #: ours to ask


class Reuse:
    """The cache, and the calls under way by the digest of what they ask.

    Each record keeps an outcome of its own; only answers are shared. Whoever leads a flight must `land` it, whatever
    comes of the call: without an answer those who waited lead one of their own, one after the other.
    """

    def __init__(
        self, cache: AnswerCache, protocol: RemoteProtocol, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cache = cache
        self._protocol = protocol
        self._clock = clock
        self._flights: dict[bytes, Flight] = {}
        self.shared = 0  #: answers taken from a call that was under way for another record

    def __repr__(self) -> str:
        return f"<Reuse {self.cache!r} under_way={len(self._flights)} shared={self.shared}>"

    def digest(self, model_input: Any) -> bytes | None:  # noqa: ANN401  # any JSON value
        """Under which its answer is kept; None where it cannot be asked."""
        return digest_of(self._protocol, model_input)

    def sort(self, questions: Iterable[Question]) -> Sorted:
        """Where the answers come from. For what is unknown a flight begins in the same breath; see `leading`."""
        found = Sorted([], [], [])
        for question in questions:
            if question.digest is None:
                found.unknown.append(question)
            elif (answer := self.cache.get(question.digest, self._clock())) is not None:
                found.known.append((question, answer))
            elif (flight := self.flight(question.digest)) is not None:
                found.under_way.append((question, flight))
            else:
                self.lead(question.digest)
                found.unknown.append(question)
        return found

    def flight(self, digest: bytes) -> Flight | None:
        """The call that is under way for an equal input."""
        return self._flights.get(digest)

    def flight_for(self, question: Question) -> Flight | None:
        """The same, of a question."""
        return None if question.digest is None else self.flight(question.digest)

    def lead(self, digest: bytes) -> None:
        """A call begins, and others may wait for it."""
        self._flights[digest] = asyncio.get_running_loop().create_future()

    @contextmanager
    def leading(self, questions: Sequence[Question]) -> Iterator[None]:
        """Around the calls for what `sort` found unknown: however they end, their flights land."""
        led = [(question.digest, self.flight(question.digest)) for question in questions if question.digest is not None]
        try:
            yield
        finally:
            for digest, flight in led:
                self.land(digest, flight)

    def keep(self, answered: Iterable[tuple[Question, RemoteAnswer]]) -> None:
        """Valid answers have come: those who wait have them, and they are known from now on."""
        for question, answer in answered:
            if question.digest is not None:
                self.cache.put(question.digest, answer, self._clock())
                self._end(question.digest, answer)

    def land(self, digest: bytes, flight: Flight | None) -> None:
        """The call is over. Where it brought no answer, those who wait hear that; a later call goes on."""
        if self._flights.get(digest) is flight:
            self._end(digest, None)

    def _end(self, digest: bytes, answer: RemoteAnswer | None) -> None:
        flight = self._flights.pop(digest, None)
        if flight is not None and not flight.done():
            flight.set_result(answer)

    async def landed(self, flight: Flight, within_s: float | None) -> RemoteAnswer | None:
        """What a flight brings; None where it brings nothing, and TimeoutError where that takes too long."""
        async with asyncio.timeout(within_s):
            answer = await asyncio.shield(flight)
        self.shared += answer is not None
        return answer

    def statistics(self) -> dict[str, Any]:
        """A snapshot, in the words of `__repr__`."""
        return {**self.cache.statistics(), "under_way": len(self._flights), "shared": self.shared}
