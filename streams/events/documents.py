"""The document of a request for people to read, whatever its bytes are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ...schemas.codec import EventReader
from ...schemas.encodings import json_of
from ...schemas.errors import BiSupervisedError, InvalidRequest

#: seconds to wait for a schema registry
_SCHEMA_S = 10.0


class SchemaAway(BiSupervisedError):
    """The schema of a request cannot be fetched now. The message says why."""


async def document_of(value: bytes, reader: EventReader | None) -> Any:  # noqa: ANN401  # a request may hold anything
    """The document; the bytes themselves where they are none. `reader`: None for JSON. Raises `SchemaAway`."""
    try:
        if reader is None:
            return json_of(value)
        async with asyncio.timeout(_SCHEMA_S):
            await reader.ready([value])
        return reader.read(value)
    except TimeoutError as error:
        why = (reader and reader.waits_for) or "the registry does not answer"
        raise SchemaAway(f"the schema of the input cannot be fetched: {why}") from error
    except (ValueError, InvalidRequest):
        return value


async def documents_of(values: Iterable[bytes], reader: EventReader | None) -> list[Any]:
    """`document_of` each."""
    return [await document_of(value, reader) for value in values]
