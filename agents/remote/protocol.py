"""How a remote is spoken to: inputs to bytes, bytes to answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import Repr
from typing import Any, NamedTuple, Protocol, runtime_checkable

import orjson

from ...schemas.errors import BiSupervisedError
from ..answers import Answer
from .retry import TERMINAL_CODES, CallRefused, failure
from .transport import Response

#: longest piece of a remote's own words carried in an error, characters
SAID_CHARS = 200
#: largest body in which a failure's account is looked for, bytes: what takes longer to parse is none
_ACCOUNT_BYTES = 64 * 1024
#: bytes of text that make a token, in `estimate`: about 4 in English, fewer in most other languages
BYTES_PER_TOKEN = 4
#: writes what may be deep or long; it goes no deeper and no longer than a reader would
_short = Repr()
_short.maxstring = _short.maxother = SAID_CHARS


class Call(NamedTuple):
    """One call, ready to send."""

    path: str  #: below the remote's URL
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"
    samples: int = 1  #: times it is made for one answer; more than once, and their agreement is the score


class Usage(NamedTuple):
    """Tokens of one call, as the remote counts them. Protocols hand on what it says; `usage.py` bounds it."""

    prompt_tokens: int  #: read, cached ones included
    completion_tokens: int = 0  #: written, reasoning included
    cached_tokens: int = 0  #: of those read
    reasoning_tokens: int = 0  #: of those written


class Reply(NamedTuple):
    """What one call brought."""

    answers: list[Answer]  #: as many as inputs, in their order
    model: str  #: "name@version" of the model that answered, as far as it says so
    usage: Usage | None = None  #: None where the remote does not tell


class RemoteProtocol(Protocol):
    """One way to ask a remote. Knows neither time nor network.

    An input is what `[remote] send` lets out: the model's input of a request, or, where fields are named, an
    object with these fields.
    """

    def build(self, inputs: Sequence[Any]) -> Call:
        """Raises `InvalidRequest` where these inputs cannot be asked in one call."""
        ...

    def estimate(self, inputs: Sequence[Any]) -> int:
        """Tokens that the call will take, roughly: reserved before it, settled with `Reply.usage` after."""
        ...

    def raise_for(self, response: Response) -> None:
        """Raises the error that a response without success stands for, with the server's wish to wait.

        `RemoteFailure` may be tried again, but for `CallRefused`, where the same call would be refused again, and
        `Terminal`, where every call would be.
        """
        ...

    def read(self, response: Response, asked: int) -> Reply:
        """Raises `InvalidAnswer` for anything but `asked` usable answers."""
        ...


@runtime_checkable
class Optional(Protocol):
    """A protocol with an option that some servers refuse."""

    @property
    def simpler(self) -> RemoteProtocol | None:
        """The same without it; None where there is none to leave out."""
        ...


class OptionRefused(BiSupervisedError):
    """A call was refused, maybe for its option. It says nothing about the remote's health, nor about the input."""

    def __init__(self, refusal: CallRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Negotiation:
    """The form of the protocol in which calls are made: learned from what the server refuses and answers.

    A refusal may be the input's own fault as well. So the same input is asked again without the option, and only an
    answer decides: from then on all calls are made so, and nothing changes any more.
    """

    def __init__(self, protocol: RemoteProtocol) -> None:
        self.form = protocol  #: in which the next call is made
        self._settled = _without_option(protocol) is None

    def after(self, refused: RemoteProtocol) -> RemoteProtocol | None:
        """The form to try after the refusal of this one; None where it was not the form."""
        if self._settled:  # others may have learned it meanwhile
            return None if refused is self.form else self.form
        return _without_option(refused)

    def taken(self, form: RemoteProtocol) -> bool:
        """A call in this form was answered, whatever the answer is worth. True where that tells of another form."""
        learned = not self._settled and form is not self.form
        if not self._settled:
            self.form, self._settled = form, True
        return learned


def _without_option(protocol: RemoteProtocol) -> RemoteProtocol | None:
    return protocol.simpler if isinstance(protocol, Optional) else None


class Complaint(NamedTuple):
    """A remote's own account of a failure."""

    text: str = ""
    code: str = ""  #: stable name of the failure, such as insufficient_quota


def complaint_in(body: bytes) -> Complaint:
    """Read what servers write: `{"error": {"message", "code", "type"}}`, `{"error": text, "error_type"}`,
    `{"message"}`, `{"detail"}`; of anything else, and of what is too large to be one, the start.
    """
    try:
        document = orjson.loads(body if len(body) <= _ACCOUNT_BYTES else b"")
    except orjson.JSONDecodeError:
        return Complaint(body[:SAID_CHARS].decode("utf-8", "replace"))
    return complaint_of(document)


def complaint_of(document: Any) -> Complaint:  # noqa: ANN401  # any JSON value
    """The same of a body that is parsed."""
    if not isinstance(document, dict):
        return Complaint()
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    text = error if isinstance(error, str) else inner.get("message") or inner.get("detail")
    codes = [inner.get(name) for name in ("code", "type", "error_type")]
    known = [code for code in codes if code in TERMINAL_CODES]
    named = [code for code in codes if isinstance(code, str)]
    return Complaint("" if text is None else brief(text), (known or named or [""])[0])


def brief(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """A piece of a response for an error or a record, however long or deep it is: `SAID_CHARS` at most."""
    return (value if isinstance(value, str) else _short.repr(value))[:SAID_CHARS]


def raise_for_status(response: Response, said: str, code: str | None = None) -> None:
    """Raise what the status stands for, unless it is a success.

    `said` is the remote's own account, `code` that of the error in the body, where the protocol has one.
    """
    if response.succeeded:
        return
    status = response.status
    text = f"the remote answered {status}: {said[:SAID_CHARS]}" if said else f"the remote answered {status}"
    raise failure(status, response.headers, text, code)


def tokens_in(size: int) -> int:
    """Roughly the tokens of `size` bytes of text."""
    return -(-size // BYTES_PER_TOKEN)
