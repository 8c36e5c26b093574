"""Following a request: its trace context goes on to the remote. This is all there is without OpenTelemetry's SDK;
`spans.py` has the spans, with the same interface.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, Self

from ..schemas.records import Incoming, Outgoing
from ..schemas.trace import trace_of

P = ParamSpec("P")
Answering = Callable[Concatenate[Sequence[Incoming], P], Awaitable[list[Outgoing]]]


class CallSpan(Protocol):
    """One call to the remote."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with it."""
        ...

    def answered(self, model: str, input_tokens: int | None, output_tokens: int | None) -> None:
        """It brought an answer; tokens are None where the remote does not tell them."""
        ...


class CallTrace(Protocol):
    """Makes the calls about some records followable."""

    def call(self) -> AbstractContextManager[CallSpan]:
        """A context around one call, each try by itself."""
        ...


class PassedOn:
    """A call that carries the trace context as it came. A trace of all its calls, too, for they are alike."""

    __slots__ = ("headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def call(self) -> Self:
        return self

    def answered(self, model: str, input_tokens: int | None, output_tokens: int | None) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


UNTRACED = PassedOn({})


class Tracing:
    """Without spans."""

    def step(self, name: str, answer: Answering[P]) -> Answering[P]:
        """The same, followable: what an agent does with its records."""
        return answer

    def calls(self, records: Mapping[int, Incoming]) -> CallTrace:
        """For the calls that ask about these records of a batch, by their positions in it. Several records of different
        traces have no trace in common.
        """
        contexts = {trace_of(record.headers) for record in records.values()}
        context = contexts.pop() if len(contexts) == 1 else None
        return UNTRACED if context is None else PassedOn(context.headers)
