"""Chat completions that come as a stream of events, although nobody asked for one: read as if they had come whole.

data: {"choices": [{"index": 0, "delta": {"content": "posi"}}]}
data: {"choices": [{"index": 0, "delta": {"content": "tive"}, "finish_reason": "stop"}]}
data: [DONE]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from ....schemas.encodings import BYTE_ORDER_MARK, without_mark
from ....schemas.errors import InvalidAnswer
from ..retry import NotAnAnswer
from .lenient_json import LARGEST, decoded

#: how a stream of events begins; JSON begins with none of these
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")
#: a failure as some servers write it into a stream
_ERROR = re.compile(rb"error:\s*[{\[]")
_DONE = b"[DONE]"
_BLANK = b" \t\r\n" + BYTE_ORDER_MARK


class _Event(NamedTuple):
    """One event of a stream."""

    lines: list[bytes]  #: of its data
    failed: bool = False  #: it is one of failure by its name


def whole(body: bytes) -> bytes:
    """The body as JSON of one completion, whichever way it came. Raises `InvalidAnswer` for a stream that is none."""
    plain = without_mark(body)
    return orjson.dumps(_assembled(_documents(plain))) if is_stream(plain) or _is_lines(plain) else plain


def is_stream(body: bytes) -> bool:
    begins = body.lstrip(_BLANK)
    return begins.startswith(_BEGINNINGS) or _ERROR.match(begins) is not None


def _is_lines(body: bytes) -> bool:
    """Chunks as lines of JSON, which some servers send in place of events."""
    first, newline, _ = body.strip(_BLANK).partition(b"\n")
    if not newline or b'"delta"' not in first:
        return False
    try:
        return isinstance(decoded(orjson.loads, first), dict)
    except orjson.JSONDecodeError:
        return False


def events_before_a_break(body: bytes) -> list[dict[str, Any]] | None:
    """The documents of a stream of events, up to what cannot be read; None where there is nothing before that."""
    found: list[dict[str, Any]] = []
    try:
        found.extend(_documents(without_mark(body)))
    except InvalidAnswer:
        return found or None
    return found


def _documents(body: bytes) -> Iterator[dict[str, Any]]:
    # mended piece by piece, the whole must not take longer than one body may
    loads: Callable[[bytes], Any] = partial(decoded, orjson.loads) if len(body) <= LARGEST else orjson.loads
    for event in _events(body):
        if event.lines == [_DONE]:
            return
        for document in _parsed(event.lines, loads):
            yield {"error": document.get("error") or document} if event.failed else document


def _events(body: bytes) -> Iterator[_Event]:
    """The events with their lines of data; an empty line ends one."""
    lines: list[bytes] = []
    failed = False
    for written in (*body.splitlines(), b""):
        line = written.lstrip(_BLANK)
        if line.startswith(b"data:"):
            lines.append(line.removeprefix(b"data:").strip())
        elif line.startswith(b"event:"):
            failed = line.removeprefix(b"event:").strip() == b"error"
        elif line.startswith(b"{"):
            yield _Event([line])
        elif line.startswith(b"error:"):
            told = line.removeprefix(b"error:").strip()
            yield _Event([told if told.startswith((b"{", b"[")) else _message(told)], failed=True)
        elif not line:
            if lines:
                yield _Event(lines, failed)
            lines, failed = [], False


def _message(told: bytes) -> bytes:
    return orjson.dumps({"message": told.decode("utf-8", "replace")})


def _parsed(lines: Sequence[bytes], loads: Callable[[bytes], Any]) -> Iterator[dict[str, Any]]:
    """One document over several lines, or, where a server leaves out the empty lines, one a line."""
    pieces = [b"\n".join(lines)]
    try:
        documents = [loads(piece) for piece in pieces]
    except orjson.JSONDecodeError:
        pieces = [line for line in lines if line != _DONE]
        try:
            documents = [loads(piece) for piece in pieces]
        except orjson.JSONDecodeError as error:
            kind = InvalidAnswer if pieces[0].startswith((b"{", b"[")) else NotAnAnswer  # no JSON: of somebody else
            raise kind(f"the answer is a stream of events that cannot be read: {error}") from error
    yield from (document for document in documents if isinstance(document, dict))


def _assembled(documents: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """What the chunks say together. An error is kept: it may come in the midst of an answer."""
    said: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for document in documents:
        said |= {key: document[key] for key in ("model", "usage", "error") if document.get(key) is not None}
        listed = document.get("choices")
        for chunk in listed if isinstance(listed, list) else ():
            if isinstance(chunk, dict):
                index = chunk.get("index")
                _add(choices.setdefault(index if isinstance(index, int) else 0, _empty()), chunk)
    return said | {"choices": [choices[index] for index in sorted(choices)]}


def _empty() -> dict[str, Any]:
    return {"message": {"content": [], "tool_calls": []}, "finish_reason": None, "logprobs": {"content": []}}


def _add(choice: dict[str, Any], chunk: dict[str, Any]) -> None:
    message = choice["message"]
    delta = chunk.get("delta") or chunk.get("message")
    if isinstance(delta, dict):
        content, refusal = delta.get("content"), delta.get("refusal")
        message["content"] += content if isinstance(content, list) else [content] if content else []
        message["tool_calls"] += [1] if delta.get("tool_calls") or delta.get("function_call") else []
        if isinstance(refusal, str):
            message["refusal"] = message.get("refusal", "") + refusal
    logprobs = chunk.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    choice["logprobs"]["content"] += tokens if isinstance(tokens, list) else []
    if chunk.get("finish_reason") is not None:
        choice["finish_reason"] = chunk["finish_reason"]
