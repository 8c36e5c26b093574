"""What reads the bytes of requests, as the settings want it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ...agents.events.reading import (
    Kind,
    PlainReader,
    RegistryReader,
    as_bytes,
    as_framed_json,
    as_text,
    by_callable,
)
from ...agents.events.registry import Registry
from ...agents.events.results import ResultWriter
from ...agents.importing import own_callable
from ...agents.remote.credentials import Authorized
from ...agents.remote.transport import AiohttpTransport, Transport
from ...schemas.codec import EventReader, RequestFormat
from ..settings.keys.events import FIELDLESS, RequestSettings
from ..settings.secret import one_word, secret

if TYPE_CHECKING:
    from ..settings.keys.events import RegistrySettings
    from ..settings.tables import Settings

_KINDS: dict[str, Kind] = {"avro": "AVRO", "protobuf": "PROTOBUF"}
_PLAIN = {"json_registry": as_framed_json, "text": as_text, "bytes": as_bytes}


def request_format(settings: Settings) -> RequestFormat:
    """Which parts of a request mean what, and how its bytes are read.

    Raises `ConfigurationError` where a function of the user's own cannot be had.
    """
    request = settings.request
    return RequestFormat(
        request.input,
        request.id,
        request.deadline_ms,
        request.deadline_header,
        request.id_header,
        reader=_reader(settings),
    )


def as_rows(request: RequestSettings) -> RequestSettings:
    """The same for rows of files, which are JSON whatever the events are. A value without fields is a field there."""
    if request.format in FIELDLESS:
        return RequestSettings(deadline_header=request.deadline_header)
    return request.model_copy(update={"format": "json"})


def make_registry(registry: RegistrySettings) -> Registry:
    """What asks the registry of the settings."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Transport]:
        transport = _authorized(registry, AiohttpTransport(connections=1))
        try:
            yield transport
        finally:
            await transport.close()

    return Registry(registry.url, connect, registry.timeout_s)


def make_result_writer(settings: Settings) -> ResultWriter | None:
    """What writes results in Avro; None where they are JSON."""
    results = settings.results
    if results.format == "json":
        return None
    subject = f"{settings.topics.results}-value"
    return ResultWriter(make_registry(settings.registry), subject, register=results.register_schema)


def _authorized(registry: RegistrySettings, inner: Transport) -> Transport:
    """The same, with user and password or a token. They are read for each connection: they may be others by now."""
    if registry.username:
        password = secret(registry, "password") or ""
        shown = b64encode(f"{registry.username}:{password}".encode()).decode()
        return Authorized(inner, shown, scheme="Basic")
    token = one_word(registry, "password")
    return inner if token is None else Authorized(inner, token)


def _reader(settings: Settings) -> EventReader | None:
    name = settings.request.format
    if name == "json":
        return None
    if name in _KINDS:
        return RegistryReader(_KINDS[name], make_registry(settings.registry))
    return PlainReader(_PLAIN[name] if name in _PLAIN else by_callable(own_callable(name, "[request] format"), name))
