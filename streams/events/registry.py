"""What asks the schema registry of the settings, and what reads requests with its schemas.

Apart from `making`, which everybody imports: who has JSON only loads nothing of it.
"""

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
from ...agents.events.registry import Registry, RegistryUnavailable
from ...agents.importing import own_callable
from ...agents.remote.credentials import Authorized
from ...agents.remote.transport import Transport
from ...schemas.codec import EventReader
from ..settings.reaching import connected
from ..settings.secret import one_word, secret

if TYPE_CHECKING:
    from ..settings.keys.events import RegistrySettings
    from ..settings.tables import Settings

_KINDS: dict[str, Kind] = {"avro": "AVRO", "protobuf": "PROTOBUF"}
_PLAIN = {"json_registry": as_framed_json, "text": as_text, "bytes": as_bytes}


def make_registry(registry: RegistrySettings) -> Registry:
    """What asks the registry of the settings."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Transport]:
        try:
            async with connected(registry, registry.url, "registry") as transport:
                yield _authorized(registry, transport)
        except ValueError as error:  # a file of the settings that cannot be read any more
            raise RegistryUnavailable(f"cannot be asked: {error}") from error

    return Registry(registry.url, connect, registry.timeout_s)


def make_reader(settings: Settings) -> EventReader:
    """What reads requests that are no JSON. Raises `ConfigurationError` where the user's own function cannot be had."""
    name = settings.request.format
    if name in _KINDS:
        return RegistryReader(_KINDS[name], make_registry(settings.registry))
    return PlainReader(_PLAIN[name] if name in _PLAIN else by_callable(own_callable(name, "[request] format"), name))


def _authorized(registry: RegistrySettings, inner: Transport) -> Transport:
    """The same, with user and password or a token. They are read for each connection: they may be others by now."""
    if registry.username:
        password = secret(registry, "password") or ""
        shown = b64encode(f"{registry.username}:{password}".encode()).decode()
        return Authorized(inner, shown, scheme="Basic")
    token = one_word(registry, "password")
    return inner if token is None else Authorized(inner, token)
