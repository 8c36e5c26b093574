"""From the bytes of a request to its document, for each `[request] format` that is not JSON.

Reading is synchronous, fetching a schema is not: an agent calls `ready` with what it is about to read. Where the
registry is down, `ready` waits, for the records are not to blame: they stay in Kafka, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import orjson

from ...schemas.encodings import NotText, json_of, text_of
from ...schemas.errors import BiSupervisedError, InvalidRequest
from .avro import avro_reader
from .framing import data_of, schema_of
from .protobuf import protobuf_reader
from .registry import Registry, RegistryUnavailable, Schema, SchemaUnknown

log = logging.getLogger(__name__)

Decode = Callable[[bytes], Any]
Kind = Literal["AVRO", "PROTOBUF"]
_MAKERS: dict[Kind, Callable[[Schema], Decode]] = {"AVRO": avro_reader, "PROTOBUF": protobuf_reader}

#: schemas that are kept, known and unknown ones each
_MOST = 1000
#: seconds for which a registry is believed that there is no such schema
_UNKNOWN_S = 60.0
_BACKOFF_FIRST_S, _BACKOFF_MOST_S = 0.5, 15.0
#: seconds between two complaints about a registry that is down
_TELL_S = 60.0


class NotReady(BiSupervisedError):
    """The schema was not fetched: `ready` must come first."""


class PlainReader:
    """Formats that need no schema."""

    waits_for = ""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def read(self, value: bytes) -> Any:  # noqa: ANN401  # what the format says
        """The document. Raises `InvalidRequest`."""
        return self._decode(value)

    async def ready(self, values: Iterable[bytes]) -> None:
        """At once."""

    def wait(self) -> None:
        """There are no schemas."""


def as_text(value: bytes) -> str:
    """UTF-8 text, without a byte order mark."""
    try:
        return text_of(value)
    except NotText as error:
        raise InvalidRequest(f"the value {error}") from error


def as_bytes(value: bytes) -> bytes:
    """The bytes themselves."""
    return value


def as_framed_json(value: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """JSON behind the frame of a registry's serializer."""
    try:
        return json_of(data_of(value))
    except (NotText, orjson.JSONDecodeError) as error:
        raise InvalidRequest(f"what stands behind the frame is not JSON: {error}") from error


def by_callable(call: Callable[[bytes], Any], name: str) -> Decode:
    """A function of the user's own. Whatever it raises, it raises about this input."""

    def decode(value: bytes) -> Any:  # noqa: ANN401  # whatever it returns
        try:
            return call(value)
        except Exception as error:  # it is the user's own code
            raise InvalidRequest(f"{name} cannot read the value: {type(error).__name__}: {error}") from error

    return decode


class RegistryReader:
    """Formats whose schemas are in a registry."""

    def __init__(
        self,
        kind: Kind,
        registry: Registry,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._kind: Kind = kind
        self._registry = registry
        self._clock = clock
        self._sleep = sleep
        self._known: OrderedDict[int, Decode] = OrderedDict()
        self._unknown: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._asking = asyncio.Lock()
        self._told_at: float | None = None
        self._waits_since: float | None = None
        self.waits_for = ""  #: why records wait for a schema; '' where none do
        self._waiting = 0

    def wait(self) -> tuple[int, float]:
        """Records that wait for a schema, and for how many seconds already. In Kafka there may be more behind them."""
        return self._waiting, 0.0 if self._waits_since is None else self._clock() - self._waits_since

    def read(self, value: bytes) -> Any:  # noqa: ANN401  # any JSON value
        """The document. Raises `InvalidRequest`, and `NotReady` where `ready` has not heard of it."""
        data, identity = data_of(value), schema_of(value) or 0
        decode = self._known.get(identity)
        if decode is not None:
            return decode(data)
        if identity not in self._unknown:
            raise NotReady(f"schema {identity} was not fetched")
        raise InvalidRequest(f"the value names schema {identity}, and {self._unknown[identity][0]}")

    async def ready(self, values: Iterable[bytes]) -> None:
        """All of them can be read, or are known to be unreadable. Waits for as long as the registry is down."""
        named = [schema_of(value) for value in values]
        wanted = sorted(one for one in set(named) if one is not None and self._wants(one))
        if not wanted:
            return
        self._waiting += len(named)  # those with known schemas, too: outcomes leave in the order of their batch
        try:
            async with self._asking:
                _forget(self._known)  # before, not after: what is read next must be there
                _forget(self._unknown)
                for identity in wanted:
                    if self._wants(identity):  # nobody else asked meanwhile
                        await self._fetch(identity)
        finally:
            self._waiting -= len(named)

    def _wants(self, identity: int) -> bool:
        if identity in self._known:
            self._known.move_to_end(identity)
            return False
        return identity not in self._unknown or self._clock() >= self._unknown[identity][1]

    async def _fetch(self, identity: int) -> None:
        wait_s = _BACKOFF_FIRST_S
        while True:
            try:
                await self._learn(identity)
            except RegistryUnavailable as error:
                self._tell(identity, error)
            else:
                self._well()
                return
            await self._sleep(wait_s)
            wait_s = min(2 * wait_s, _BACKOFF_MOST_S)

    async def _learn(self, identity: int) -> None:
        try:
            schema = await self._registry.schema(identity)
            if schema.kind != self._kind:
                raise SchemaUnknown(f"that is of kind {schema.kind}, not {self._kind}")
            decode = await asyncio.to_thread(_MAKERS[self._kind], schema)
        except SchemaUnknown as error:
            self._unknown[identity] = str(error), self._clock() + _UNKNOWN_S
            return
        self._unknown.pop(identity, None)
        self._known[identity] = decode

    def _tell(self, identity: int, error: RegistryUnavailable) -> None:
        self.waits_for = f"schema {identity}: the registry {error}"
        now = self._clock()
        self._waits_since = self._waits_since or now
        if self._told_at is None or now - self._told_at >= _TELL_S:
            self._told_at = now
            text = "records wait, and nothing is lost: schema %d cannot be fetched: the registry %s"
            log.warning(text, identity, error, extra={"action": "schema_unavailable", "schema": identity})

    def _well(self) -> None:
        if self.waits_for:
            log.info("the schema registry is back", extra={"action": "schema_registry_back"})
        self.waits_for, self._told_at, self._waits_since = "", None, None


def _forget(kept: OrderedDict[int, Any]) -> None:
    """Those that were used or heard of longest ago, where there are too many."""
    while len(kept) > _MOST:
        kept.popitem(last=False)
