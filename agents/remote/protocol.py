"""How a remote is spoken to: inputs to bytes, bytes to answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ...schemas.errors import RateLimited, RemoteError, Timeout
from ..answers import Answer
from .retry import Refused, retry_after_s
from .transport import Response

#: longest piece of a remote's own words carried in an error, characters
SAID_CHARS = 200
_INPUT_AT_FAULT = (400, 413, 422)


class Call(NamedTuple):
    """One call, ready to send."""

    path: str  #: below the remote's URL
    body: bytes
    headers: Mapping[str, str]


class Reply(NamedTuple):
    """What one call brought."""

    answers: list[Answer]  #: as many as inputs, in their order
    model: str  #: "name@version" of the model that answered, as far as it says so


class RemoteProtocol(Protocol):
    """One way to ask a remote. Knows neither time nor network."""

    def build(self, inputs: Sequence[Any]) -> Call:
        """Raises `InvalidRequest` where these inputs cannot be asked in one call."""
        ...

    def raise_for(self, response: Response) -> None:
        """Raises the error that a response without success stands for, with the server's wish to wait."""
        ...

    def read(self, response: Response, asked: int) -> Reply:
        """Raises `InvalidAnswer` for anything but `asked` usable answers."""
        ...


def raise_for_status(response: Response, said: str) -> None:
    """Raise what the status stands for, unless it is a success. `said` is the remote's own account."""
    if response.succeeded:
        return
    status = response.status
    text = f"the remote answered {status}: {said[:SAID_CHARS]}" if said else f"the remote answered {status}"
    wish = retry_after_s(response.headers)
    if status == 429:
        raise RateLimited(text, retry_after_s=wish)
    if status == 408:
        raise Timeout(text, retry_after_s=wish)
    if status == 409 or status >= 500:
        raise RemoteError(text, retry_after_s=wish)
    raise Refused(text, input_at_fault=status in _INPUT_AT_FAULT)
