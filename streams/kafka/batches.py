"""Record batches, filled record by record for each output partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ...schemas.records import Headers
from .errors import RecordsRefused
from .refusals import Refusal

_TOO_LARGE = 10  # MESSAGE_TOO_LARGE
#: topic and number of an output partition
Place: TypeAlias = tuple[str, int]


class Sendable(Protocol):
    """What is sent of a record."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since epoch."""


@dataclass(slots=True)
class RecordBatch:
    """One record batch on its way to one output partition, and which records are in it."""

    topic: str
    partition: int
    batch: Any  # aiokafka's BatchBuilder, which has no types
    indexes: list[int]

    def add(self, record: Sendable, index: int) -> bool:
        """False when it is full; the first one always fits."""
        # what the batch's own `append` does around this takes twice as long, for each record
        place, headers = len(self.indexes), list(record.headers)
        added = self.batch._builder.append(place, record.timestamp, record.key, record.value, headers)  # noqa: SLF001
        if added is None:
            return False
        self.batch._relative_offset = place + 1  # noqa: SLF001  # how many there are in it
        self.indexes.append(index)
        return True


def fill(
    create: Callable[[], Any],
    records: Sequence[Sendable],
    places: Iterable[Place],
    limits: Mapping[str, int],
    *,
    alone: bool = False,
) -> list[RecordBatch]:
    """Batches for each place, in the order of its records. `alone`: one record in each.

    `limits`: bytes of the largest batch that each topic takes. Raises `RecordsRefused` naming the records over it.
    """
    unfilled: dict[Place, RecordBatch] = {}
    batches: list[RecordBatch] = []
    culprits: dict[int, Refusal] = {}
    for index, (record, place) in enumerate(zip(records, places, strict=True)):
        batch = None if alone else unfilled.get(place)
        if batch is not None and batch.add(record, index):
            continue
        topic, partition = place
        batch = RecordBatch(topic, partition, create(), [])
        batch.add(record, index)
        unfilled[place] = batch
        batches.append(batch)
        if batch.batch.size() > limits[topic]:
            culprits[index] = Refusal(_TOO_LARGE, f"{batch.batch.size()} bytes, and {topic} takes {limits[topic]}")
    if culprits:
        raise RecordsRefused(culprits)
    return batches
