"""Consumed records, made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka.producer.message_accumulator import BatchBuilder
from bisupervised.schemas.records import Headers


@dataclass(frozen=True)
class Record:
    """What aiokafka's `ConsumerRecord` is to an agent."""

    value: bytes | None
    offset: int = 0
    topic: str = "requests"
    partition: int = 0
    timestamp: int = 1_700_000_000_123
    key: bytes | None = b"key"
    headers: Headers = ()


def record_batch(size: int = 1 << 20) -> Any:
    """A record batch as a producer makes it, of so many bytes at most."""
    return BatchBuilder(size, 0, key_serializer=None, value_serializer=None)


def request(model_input: Any, offset: int = 0, *, headers: Headers = (), **fields: Any) -> Record:
    """A record of `requests` whose value has this input, and these fields beside it."""
    return Record(orjson.dumps({"input": model_input, **fields}), offset, headers=headers)
