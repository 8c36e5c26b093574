"""`bisupervised check --sample FILE`: what the worker would take from a record with these bytes.

The file holds the value of one record; of a file that ends in `.jsonl` or `.ndjson`, each line is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ...agents.remote.sending import outbound
from ...schemas.codec import Request, RequestFormat, decode_request
from ...schemas.errors import ConfigurationError, InvalidRequest
from ...schemas.records import Headers
from ..flow import request_format
from .findings import Finding, fault, ok

if TYPE_CHECKING:
    from ..settings.tables import Settings

#: samples that are told, of a file with many
_MOST = 20
#: longest piece of a value that is shown, characters
_SHOWN_CHARS = 200


class _Sample:
    """A record as a worker would get it."""

    topic, partition, offset, timestamp = "sample", 0, 0, 0
    key: bytes | None = None
    headers: Headers = ()

    def __init__(self, value: bytes) -> None:
        self.value = value


def look_at_sample(path: Path, settings: Settings) -> list[Finding]:
    """What each sample would yield. Raises `ConfigurationError` where the file cannot be read, or holds none."""
    shape = request_format(settings)
    return [finding for place, value in _samples(path) for finding in _told(place, value, shape, settings)]


def _samples(path: Path) -> list[tuple[str, bytes]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"--sample: {path}: cannot be read: {error.strerror or error}"]) from error
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        return [("", content)]
    lines = [(f"line {number}: ", line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if not lines:
        raise ConfigurationError([f"--sample: {path}: holds no line"])
    return lines[:_MOST]


def _told(place: str, value: bytes, shape: RequestFormat, settings: Settings) -> Iterator[Finding]:
    try:
        request = decode_request(_Sample(value), shape)
    except InvalidRequest as error:
        yield fault("sample", f"{place}goes to fallback as {error.reason}: {error}")
        return
    yield ok("sample", f"{place}the model gets {_shown(request.input)}")
    yield ok("sample", f"{place}{_beside(request, shape)}")
    try:
        sent = outbound(request, settings.remote.send)
    except InvalidRequest as error:
        yield fault("sample", f"{place}goes to fallback as {error.reason} where it is doubtful: {error}")
        return
    yield ok("sample", f"{place}where it is doubtful, the remote gets {_shown(sent)}")


def _beside(request: Request, shape: RequestFormat) -> str:
    """Its id and its deadline, as far as there are any."""
    identity = f"id {_shown(request.id)}" if request.id is not None else _without("id", shape.id)
    until = request.deadline_ms
    deadline = f"deadline {until} ms" if until is not None else _without("deadline", shape.deadline_ms)
    return f"{identity}, {deadline}"


def _without(what: str, name: str) -> str:
    return f"no {what} at {name!r}" if name else f"no {what}"


def _shown(value: Any) -> str:  # noqa: ANN401  # any JSON value
    text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=repr).decode()
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}… ({len(text):,} characters)"
