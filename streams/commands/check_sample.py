"""`bisupervised check --sample FILE`: what the worker would take from a record with these bytes, and with --connect
whether the registry that it would ask for schemas is there.

The file holds the value of one record; of a file that ends in `.jsonl` or `.ndjson`, each line is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ...agents.events.registry import RegistryUnavailable
from ...agents.remote.endpoint import shown_address
from ...agents.remote.sending import outbound
from ...schemas.codec import Request, RequestFormat, decode_request
from ...schemas.errors import ConfigurationError, InvalidRequest
from ...schemas.records import Headers
from ..events.making import request_format
from ..events.registry import make_registry
from ..settings.keys.events import OF_REGISTRY
from .findings import Finding, fault, ok

if TYPE_CHECKING:
    from ..settings.tables import Settings

#: samples that are told, of a file with many
_MOST = 20
#: seconds to wait beyond the timeout of one answer
_MORE_S = 1.0
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
    shape, samples = request_format(settings), _samples(path)
    if why := asyncio.run(_unready(shape, [_Sample(value) for _, value in samples], settings.registry.timeout_s)):
        return [fault("sample", f"would wait: {why}")]
    return [finding for place, value in samples for finding in _told(place, value, shape, settings)]


async def _unready(shape: RequestFormat, samples: list[_Sample], patience_s: float) -> str:
    """Why their schemas are not there; '' where they are, or are known not to be."""
    try:
        async with asyncio.timeout(patience_s + _MORE_S):
            await shape.ready(samples)
    except TimeoutError:
        return getattr(shape.reader, "waits_for", "") or f"the schema registry does not answer within {patience_s:g} s"
    return ""


async def look_at_registry(settings: Settings) -> AsyncIterator[Finding]:
    """Ask the schema registry, where there is one, which kinds of schemas it takes."""
    if not settings.registry.url:
        return
    formats = (settings.request.format, settings.results.format)
    wanted, where = {name.upper() for name in formats if name in OF_REGISTRY}, shown_address(settings.registry.url)
    try:
        kinds = await make_registry(settings.registry).kinds()
    except RegistryUnavailable as error:
        yield fault("registry", f"{where}: {error}")
        return
    lacking = sorted(wanted.difference(kinds))
    if not lacking:
        yield ok("registry", f"{where} answers, and takes {', '.join(sorted(kinds))}")
    else:
        yield fault("registry", f"{where} takes {', '.join(sorted(kinds))}, and no {', '.join(lacking)}")


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
