"""Results in Avro: written with a schema of ours, once its id is known, and read with the schema that they name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from ...schemas.avro import ResultEncoder, decode_avro, is_avro, prepare, result_schema
from ...schemas.codec import encode_result
from ...schemas.errors import BiSupervisedError
from ...schemas.records import Result
from .avro import checked
from .framing import data_of, schema_of
from .registry import Registry, RegistryUnavailable, SchemaUnknown

log = logging.getLogger(__name__)

_BACKOFF_FIRST_S, _BACKOFF_MOST_S = 0.5, 15.0


class ResultWriter:
    """An `EncodeResult`, from `settle` on."""

    def __init__(
        self,
        registry: Registry,
        subject: str,
        *,
        register: bool,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`register`: the schema is put into the registry where it is not there."""
        self._registry = registry
        self._subject = subject
        self._register = register
        self._sleep = sleep
        prepare()
        self._encode: Callable[[Result], bytes] | None = None
        #: why nothing can be written; '' where it can
        self.waits_for = f"the schema of results is not known yet: {subject}"

    def __call__(self, result: Result) -> bytes:
        """The value of the result. Raises `BiSupervisedError` before `settle` has ended."""
        if self._encode is None:
            raise BiSupervisedError(self.waits_for)
        return self._encode(result)

    async def settle(self) -> None:
        """Learn the schema's id. It takes as long as the registry is away or does not take the schema."""
        wait_s, told = _BACKOFF_FIRST_S, ""
        while True:
            try:
                identity = await self._registry.identity(self._subject, result_schema(), register=self._register)
                break
            except (RegistryUnavailable, SchemaUnknown) as error:
                self.waits_for = f"the schema of results is not known yet: the registry {error}{self._remedy(error)}"
            if self.waits_for != told:
                told = self.waits_for
                log.warning("waits: %s", told, extra={"action": "result_schema_unavailable"})
            await self._sleep(wait_s)
            wait_s = min(2 * wait_s, _BACKOFF_MOST_S)
        self._encode, self.waits_for = ResultEncoder(identity), ""
        facts = {"action": "result_schema_known", "schema": identity}
        log.info("results are written with schema %d of %s", identity, self._subject, extra=facts)

    def _remedy(self, error: BiSupervisedError) -> str:
        if isinstance(error, RegistryUnavailable) or self._register:
            return ""
        return "; register what `bisupervised schema result-avro` prints, or set [results] register_schema = true"


class ResultReader:
    """Makes JSON of results in Avro, for those who read many. What is not one stays as it is."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        prepare()
        self._schemas: dict[int, Any] = {}  # None: there is none

    async def ready(self, values: Iterable[bytes | None]) -> None:
        """Fetch the schemas that these name. Raises `RegistryUnavailable`."""
        named = {schema_of(value) for value in values if value is not None and is_avro(value)}
        for identity in sorted(one for one in named if one is not None and one not in self._schemas):
            try:
                self._schemas[identity] = checked(await self._registry.schema(identity))
            except SchemaUnknown:
                self._schemas[identity] = None

    def as_json(self, value: bytes | None) -> bytes | None:
        """The value in JSON, once its schema is `ready`."""
        schema = self._schemas.get(schema_of(value) or 0) if value is not None and is_avro(value) else None
        if value is None or schema is None:
            return value
        try:
            return encode_result(decode_avro(data_of(value), schema))
        except msgspec.DecodeError:
            return value
