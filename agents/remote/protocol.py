"""How a remote is spoken to: inputs to bytes, bytes to answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import dropwhile
from reprlib import Repr
from typing import Any, NamedTuple, Protocol, runtime_checkable

import orjson

from ...schemas.errors import BiSupervisedError, InvalidAnswer, RecordError, RemoteError
from ..answers import Answer
from .protocols.event_streams import events_before_a_break, is_stream
from .protocols.lenient_json import document_in
from .retry import (
    REFUSAL_CODES,
    BrokenOff,
    CallRefused,
    NotAnAnswer,
    failure,
    failure_by_code,
    is_limit,
    is_terminal,
)
from .transport import Response

#: longest piece of a remote's own words carried in an error, characters
SAID_CHARS = 200
#: largest body in which a failure's account is looked for, bytes: what takes longer to parse is none
_ACCOUNT_BYTES = 64 * 1024
#: how Python's account of a failure begins, and each place in it; what failed stands at the end
_TRACEBACK, _FRAME = "Traceback (most recent call last):", 'File "'
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
    cache_write_tokens: int = 0  #: of those read, and not among the cached ones: kept for calls to come


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
        """Raises `InvalidAnswer` for anything but `asked` usable answers.

        Of these, `NotAnAnswer` is what is not of the protocol's form at all: where all calls end so, somebody else
        answers, and the calls stop. An empty body and a failure in it need no care here: whoever calls this reads them.
        """
        ...


@runtime_checkable
class Optional(Protocol):
    """A protocol with an option that some servers refuse."""

    @property
    def simpler(self) -> RemoteProtocol | None:
        """The same without it; None where there is none to leave out."""
        ...


@runtime_checkable
class Detailed(Protocol):
    """A protocol that can read more off an answer than one score."""

    def in_detail(self) -> RemoteProtocol:
        """The same, but every answer comes with its `Details`."""
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

    def hear(self, response: Response, form: RemoteProtocol) -> bool:
        """A call in this form has this response. True where calls are made in another form from now on.

        Raises `OptionRefused` where another form may fare better, and what a response without success stands for.
        """
        try:
            form.raise_for(response)
        except CallRefused as refusal:
            if refusal.may_be_input and self.after(form) is not None:
                raise OptionRefused(refusal) from refusal
            raise
        return self._taken(form)

    def _taken(self, form: RemoteProtocol) -> bool:
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
    `{"message"}`, `{"detail"}`, or a list of these; of anything else, and of what is too large to be one, the start.
    """
    try:
        found = complaint_of(_loaded(body))
    except orjson.JSONDecodeError:
        found = Complaint()
    if found.text:
        return found
    part = body[: _ACCOUNT_BYTES if body.startswith(_TRACEBACK.encode()) else SAID_CHARS]
    return found._replace(text=brief(_without_frames(part.decode("utf-8", "replace").strip())))


def _without_frames(text: str) -> str:
    """What failed, where the text is a traceback of Python; else the text."""
    if not text.startswith(_TRACEBACK):
        return text
    lines = text.splitlines()
    last = max((index for index, line in enumerate(lines) if line.lstrip().startswith(_FRAME)), default=0)
    told = dropwhile(lambda line: line.startswith("    "), lines[last + 1 :])  # the line of code, and marks below it
    return " ".join(line.strip() for line in told) or text


def complaint_of(document: Any) -> Complaint:  # noqa: ANN401  # any JSON value
    """The same of a body that is parsed."""
    document = _first(document)
    if not isinstance(document, dict):
        return Complaint()
    error = _first(document.get("error"))
    inner = error if isinstance(error, dict) else document
    text = error if isinstance(error, str) else next((inner[name] for name in _WORDS if inner.get(name)), None)
    if isinstance(error, str) and isinstance(told := document.get("error_description"), str):
        text = f"{error}: {told}"  # as OAuth has it: the first is a code
    named = [inner[name] for name in (*_CODES, "__type") if isinstance(inner.get(name), str)]
    known = [code for code in named if is_terminal(code) or code in REFUSAL_CODES or is_limit(code)]
    said = _without_frames(text) if isinstance(text, str) else text
    return Complaint("" if said is None else brief(said), (known or named or [""])[0])


def failure_in(response: Response, error: InvalidAnswer) -> RecordError:
    """What a success stands for that is no answer, because of `error`: a failure inside, by its own code; one that is
    empty, which may pass; else `error`, with the server's words where it is not of the protocol's form.
    """
    body = _account(response.body)
    document = _document(body)
    said = complaint_in(body).text
    failed = _failure(document)
    if failed is not None:
        codes = [str(failed[name]) for name in _CODES if _is_code(failed.get(name))]
        return failure_by_code(codes, response.headers, f"the remote answered {response.status} with a failure: {said}")
    if _is_empty(document, body):
        return RemoteError(f"the answer is empty: {said}" if said else "the answer is empty")
    if isinstance(error, BrokenOff):
        return RemoteError(str(error))
    if isinstance(error, NotAnAnswer) and said not in str(error):
        return NotAnAnswer(f"{error}: {said}")
    return error


def _account(body: bytes) -> bytes:
    """Where a failure is looked for: of a stream, the event that tells of one; nothing where no event says a word."""
    events = events_before_a_break(_ends_of(body)) if is_stream(body) else None
    if events is None:
        return body
    failed = next((event for event in events if _failure(event) is not None), None)
    if failed is not None:
        return orjson.dumps(failed)
    return b"" if all(_is_empty(event, b"{}") for event in events) else body


def _ends_of(stream: bytes) -> bytes:
    """A stream's beginning and its end, where a failure stands that came late; all of it where it is short."""
    if len(stream) <= _ACCOUNT_BYTES:
        return stream
    half = _ACCOUNT_BYTES // 2
    first, last = stream[:half].rpartition(b"\n")[0], stream[-half:].partition(b"\n")[2]
    return first + b"\n\n" + last


def _is_empty(document: Any, body: bytes) -> bool:  # noqa: ANN401  # any JSON value
    """Nothing, or a document whose place for answers holds nothing."""
    if isinstance(document, dict):
        return not document or any(name in document and not document[name] for name in _PLACES)
    return body.strip() in (b"", b"null", b"[]")


#: where a failure says what it is, the most telling first
_CODES = ("code", "type", "error_type", "status")
#: where it says so in words, likewise
_WORDS = ("message", "detail", "msg", "error_description", "title")
#: where servers put their answers
_PLACES = ("choices", "outputs")


def _is_code(value: Any) -> bool:  # noqa: ANN401  # any JSON value
    return isinstance(value, int | str) and not isinstance(value, bool)


def _document(body: bytes) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return _loaded(body)
    except orjson.JSONDecodeError:
        return None


def _loaded(body: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """The document of a body, also as Python writes a mapping: some servers put theirs into text."""
    return document_in(body.decode("utf-8", "replace") if len(body) <= _ACCOUNT_BYTES else "")


def _first(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    return value[0] if isinstance(value, list) and value else value


def _failure(document: Any) -> dict[str, Any] | None:  # noqa: ANN401  # any JSON value
    """The part of a document that tells of a failure; None where it tells of none."""
    document = _first(document)
    if not isinstance(document, dict):
        return None
    for holder in (document, _first(document.get("choices"))):
        error = _first(holder.get("error") or holder.get("errors")) if isinstance(holder, dict) else None
        if error:
            return error if isinstance(error, dict) else {**document, "type": document.get("error_type")}
    told = document.get("object") == "error" or document.get("type") == "error"
    coded = document.get("code") and (document.get("message") or document.get("msg"))
    return document if told or coded else None


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
    if 300 <= status < 400 and response.headers.get("location"):
        text += f"; it leads to {response.headers['location'][:SAID_CHARS]}"
    raise failure(status, response.headers, text, code)


def tokens_in(size: int) -> int:
    """Roughly the tokens of `size` bytes of text."""
    return -(-size // BYTES_PER_TOKEN)
