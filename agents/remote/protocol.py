"""How a remote is spoken to: inputs to bytes, bytes to answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

import orjson

from ...schemas.errors import InvalidAnswer, RateLimited, RemoteError, Timeout
from ..answers import Answer
from .retry import Refused, Terminal, retry_after_s
from .transport import Response

#: longest piece of a remote's own words carried in an error, characters
SAID_CHARS = 200
#: bytes of text that make a token, in `estimate`: about 4 in English, fewer in most other languages
BYTES_PER_TOKEN = 4
_INPUT_AT_FAULT = (400, 413, 422)
_CALLER_AT_FAULT = (401, 402, 403)
#: the last is LiteLLM's, with status 400, for a key that it does not know and has no database to look up in
_CALLER_AT_FAULT_CODES = ("insufficient_quota", "billing_hard_limit_reached", "invalid_api_key", "no_db_connection")

#: which inputs one call may hold: one, those whose arrays have the same shape, or any
Batching = Literal["one", "equal_shape", "any"]


class Call(NamedTuple):
    """One call, ready to send."""

    path: str  #: below the remote's URL
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"
    samples: int = 1  #: times it is made for one answer; more than once, and their agreement is the score


class Usage(NamedTuple):
    """Tokens of one call, as the remote counts them. None is what it does not say."""

    prompt: int | None = None  #: read, cached ones included
    completion: int | None = None  #: written, reasoning included
    cached: int | None = None  #: of those read
    reasoning: int | None = None  #: of those written

    @property
    def total(self) -> int | None:
        """What counts against a limit of tokens."""
        known = [tokens for tokens in (self.prompt, self.completion) if tokens is not None]
        return sum(known) if known else None


class Reply(NamedTuple):
    """What one call brought."""

    answers: list[Answer]  #: as many as inputs, in their order
    model: str  #: "name@version" of the model that answered, as far as it says so
    usage: Usage = Usage()


class RemoteProtocol(Protocol):
    """One way to ask a remote. Knows neither time nor network.

    An input is what `[remote] send` lets out: the model's input of a request, or, where fields are named, an
    object with these fields.
    """

    @property
    def batching(self) -> Batching: ...

    def build(self, inputs: Sequence[Any]) -> Call:
        """Raises `InvalidRequest` where these inputs cannot be asked in one call."""
        ...

    def estimate(self, inputs: Sequence[Any]) -> int:
        """Tokens that the call will take, roughly: reserved before it, settled with `Reply.usage` after."""
        ...

    def raise_for(self, response: Response) -> None:
        """Raises the error that a response without success stands for, with the server's wish to wait.

        `RemoteFailure` may be tried again, but for `Refused`, where the same call would be refused again, and
        `Terminal`, where every call would be.
        """
        ...

    def read(self, response: Response, asked: int) -> Reply:
        """Raises `InvalidAnswer` for anything but `asked` usable answers."""
        ...


class Complaint(NamedTuple):
    """A remote's own account of a failure."""

    text: str = ""
    code: str = ""  #: stable name of the failure, such as insufficient_quota


def complaint_in(body: bytes) -> Complaint:
    """Read what servers write: `{"error": {"message", "code", "type"}}`, `{"error": text, "error_type"}`,
    `{"message"}`, `{"detail"}`; of anything else the start.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Complaint(body[:SAID_CHARS].decode("utf-8", "replace"))
    if not isinstance(document, dict):
        return Complaint()
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    text = error if isinstance(error, str) else inner.get("message") or inner.get("detail")
    codes = [inner.get(name) for name in ("code", "type", "error_type")]
    known = [code for code in codes if code in _CALLER_AT_FAULT_CODES]
    named = [code for code in codes if isinstance(code, str)]
    return Complaint("" if text is None else str(text)[:SAID_CHARS], (known or named or [""])[0])


def raise_for_status(response: Response, said: str, code: str = "") -> None:
    """Raise what the status stands for, unless it is a success. `said` and `code` are the remote's own account.

    `x-should-retry` overrides what the status alone would mean, but for a caller at fault.
    """
    if response.succeeded:
        return
    status = response.status
    text = f"the remote answered {status}: {said[:SAID_CHARS]}" if said else f"the remote answered {status}"
    if status in _CALLER_AT_FAULT or code in _CALLER_AT_FAULT_CODES:
        raise Terminal(text)
    may_pass = status in (408, 409, 429) or status >= 500
    told = {"true": True, "false": False}.get(response.headers.get("x-should-retry", "").lower())
    if may_pass if told is None else told:
        _raise_passing(status, text, retry_after_s(response.headers))
    raise Refused(text, input_at_fault=status in _INPUT_AT_FAULT)


def _raise_passing(status: int, text: str, wish: float | None) -> NoReturn:
    if status == 429:
        raise RateLimited(text, retry_after_s=wish)
    if status == 408:
        raise Timeout(text, retry_after_s=wish)
    raise RemoteError(text, retry_after_s=wish)


def one_of(prediction: Any, labels: Sequence[str]) -> Any:  # noqa: ANN401  # any JSON value
    """The prediction, text without the white space around it. Raises `InvalidAnswer` where it is none of the labels."""
    stripped = prediction.strip() if isinstance(prediction, str) else prediction
    if labels and stripped not in labels:
        raise InvalidAnswer(f"the answer {str(stripped)[:60]!r} is none of the {len(labels)} labels")
    return stripped


def tokens_in(size: int) -> int:
    """Roughly the tokens of `size` bytes of text."""
    return -(-size // BYTES_PER_TOKEN)
