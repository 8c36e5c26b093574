"""How a remote is spoken to: inputs to bytes, bytes to answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..answers import Answer
from .retry import failure
from .transport import Response

#: longest piece of a remote's own words carried in an error, characters
SAID_CHARS = 200


class Call(NamedTuple):
    """One call, ready to send."""

    path: str  #: below the remote's URL
    body: bytes
    headers: Mapping[str, str]


class Usage(NamedTuple):
    """Tokens that one call was billed for."""

    prompt_tokens: int
    completion_tokens: int


class Reply(NamedTuple):
    """What one call brought."""

    answers: list[Answer]  #: as many as inputs, in their order
    model: str  #: "name@version" of the model that answered, as far as it says so
    usage: Usage | None = None  #: None where the remote does not tell


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


def raise_for_status(response: Response, said: str, code: str | None = None) -> None:
    """Raise what the status stands for, unless it is a success.

    `said` is the remote's own account, `code` that of the error in the body, where the protocol has one.
    """
    if response.succeeded:
        return
    status = response.status
    text = f"the remote answered {status}: {said[:SAID_CHARS]}" if said else f"the remote answered {status}"
    raise failure(status, response.headers, text, code)
