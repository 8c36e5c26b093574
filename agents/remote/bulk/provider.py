"""What a provider of batches can do, whichever it is. Only its implementations speak HTTP.

A provider is asked to create a batch once, and may be asked afterwards whether it did: a connection can be lost when
the batch exists already, and a batch that nobody knows of is paid all the same.

    RemoteFailure           as of direct calls; trying again may help, and `create` has created nothing
    ├── Unsure              nobody knows whether the batch was created: `find` tells
    ├── TooLate             our own: so much time has passed that it must not be created any more, and it was not
    └── CallRefused         the same would be refused again, and nothing was created
        └── Terminal        nothing can succeed until a person acts
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from ....schemas.errors import RemoteError
from ..transport import Response

#: failed: nothing was asked and nothing is paid; `code` and `error` of the status say why
BulkState = Literal["running", "ended", "failed"]
#: the code of a batch that failed, and of a refused one, because too many tokens wait at the provider already
TOKEN_LIMIT = "token_limit_exceeded"  # noqa: S105  # tokens of text, no secret


class Unsure(RemoteError):
    """The batch may have been created all the same."""


class TooLate(RemoteError):
    """The batch must not be created any more: somebody else may be about to. Nothing was created."""


class Line(NamedTuple):
    """One request of a batch."""

    custom_id: str  #: 1 to 64 of A-Z, a-z, 0-9, _ and -; its result carries it
    body: bytes  #: JSON, as a direct call has it


#: gives the lines of a batch from the first on, each time it is called the same ones
Lines = Callable[[], AsyncIterator[Line]]


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """A batch that is to be created, or may have been."""

    name: str  #: our own name of it: unique, at most 512 characters
    lines: int  #: requests in it
    size: int  #: bytes: the sum of `line_size` over the lines
    begun_ms: int  #: when it was first tried to create it, milliseconds since the epoch, by our clock
    path: str  #: where each request goes: the path of the protocol's call


@dataclass(frozen=True, slots=True)
class BulkStatus:
    """What a provider says of a batch."""

    id: str  #: the provider's own
    state: BulkState
    created_ms: int  #: milliseconds since the epoch, by the provider's clock
    expires_ms: int | None = None  #: when what is not answered expires; None where the provider does not say
    completed: int = 0  #: requests answered
    failed: int = 0  #: requests without an answer: failed, expired, cancelled
    total: int = 0  #: requests in it, as far as the provider has counted them
    handle: Mapping[str, str] = field(default_factory=dict)  #: what `results` and `forget` need
    name: str = ""  #: our own, where the provider keeps it
    cancelling: bool = False  #: somebody has asked to cancel it, or has cancelled it
    code: str = ""  #: of a batch that failed: the provider's name of why, such as `TOKEN_LIMIT`
    error: str = ""  #: the same in words


class LineResult(NamedTuple):
    """What became of one request."""

    custom_id: str  #: '' where the line cannot be read
    response: Response | None  #: as to a direct call, an error's too; None where no model was asked
    code: str = ""  #: why there is none: expired, cancelled, failed, unreadable
    error: str = ""  #: the same in words


class BulkProvider(Protocol):
    """A batch interface. Each method but `create` may be called again at any time, and all raise `RemoteFailure`."""

    @property
    def most_lines(self) -> int:
        """Requests that a batch may hold."""
        ...

    @property
    def most_bytes(self) -> int:
        """Sum of `line_size` that a batch may have."""
        ...

    @property
    def window_s(self) -> float:
        """Seconds after which what is not answered expires."""
        ...

    @property
    def kept_s(self) -> float:
        """Seconds from its creation on that the provider keeps the results of a batch, at least."""
        ...

    @property
    def names_batches(self) -> bool:
        """Whether `find` knows a batch by its name. Where it does not, what it finds are candidates."""
        ...

    @property
    def create_within_s(self) -> float:
        """Seconds after which a `create` is surely over, whatever became of it, in a process that runs."""
        ...

    def line_size(self, line: Line) -> int:
        """Bytes that this line takes in a batch."""
        ...

    async def create(self, order: BulkOrder, lines: Lines, guard: Callable[[], None]) -> BulkStatus:
        """Create the batch. It may be paid for from now on.

        `guard` is called before anything leaves that can create it, and between its parts; it raises `TooLate` where
        it is. Raises `Unsure` where the batch may have been created all the same, and another `RemoteFailure` where it
        surely was not. What `lines` raises comes out, and nothing was created.
        """
        ...

    async def find(self, order: BulkOrder, known: Collection[str]) -> list[BulkStatus]:
        """Batches that may be this order, the surest first; [] where it was not created.

        `known`: provider's ids of our other batches, which it is not. Where `names_batches`, what is found is it. Where
        not, each has the size and the time of it, and the `custom_id`s of its results tell once it has ended.
        """
        ...

    async def any_running(self, since_ms: int) -> bool:
        """Whether a batch has not ended, ours or somebody else's, of those that were created since then, milliseconds
        since the epoch.
        """
        ...

    async def poll(self, bulk_id: str) -> BulkStatus: ...

    def results(self, status: BulkStatus) -> AsyncIterator[LineResult]:
        """What became of the requests of a batch that has ended, in any order, as they come: some may be missing, be
        there twice, or be none of ours.

        Raises `RemoteFailure` where the rest cannot be had now. From then on, it has to be read from the first again.
        """
        ...

    async def cancel(self, bulk_id: str) -> BulkStatus:
        """Ask for no more of it. What is answered already is paid, and stays among the results."""
        ...

    async def forget(self, status: BulkStatus) -> None:
        """Have the provider delete what it keeps of a batch: the questions, and the answers too. For when all of them
        are in safety.
        """
        ...

    async def close(self) -> None: ...
