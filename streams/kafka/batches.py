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


@dataclass(frozen=True, slots=True)
class Stamps:
    """Which timestamps records get in one send.

    A topic deletes by timestamps, and refuses some. Where a record's own is older than its topic bears, or of the
    future, the record gets the time of now.
    """

    now_ms: int
    own_ms: Mapping[str, int]  #: by topic, milliseconds for which a record bears its own; a topic not named: any

    def of(self, topic: str, own_ms: int) -> int:
        """The timestamp of a record whose own this is."""
        borne = self.own_ms.get(topic)
        if borne is None or self.now_ms - borne <= own_ms <= self.now_ms:
            return own_ms
        return self.now_ms


#: every record bears its own
OWN = Stamps(0, {})


@dataclass(slots=True)
class RecordBatch:
    """One record batch on its way to one output partition, and which records are in it."""

    topic: str
    partition: int
    batch: Any  # aiokafka's BatchBuilder, which has no types
    indexes: list[int]

    def add(self, record: Sendable, index: int, timestamp: int) -> bool:
        """False when it is full; the first one always fits."""
        # what the batch's own `append` does around this takes twice as long, for each record
        place, headers = len(self.indexes), list(record.headers)
        added = self.batch._builder.append(place, timestamp, record.key, record.value, headers)  # noqa: SLF001
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
    stamps: Stamps = OWN,
) -> list[RecordBatch]:
    """Batches for each place, in the order of its records. `alone`: one record in each.

    `limits`: bytes of the largest batch that each topic takes. Raises `RecordsRefused` naming the records over it.
    """
    unfilled: dict[Place, RecordBatch] = {}
    batches: list[RecordBatch] = []
    culprits: dict[int, Refusal] = {}
    for index, (record, place) in enumerate(zip(records, places, strict=True)):
        topic, partition = place
        timestamp = stamps.of(topic, record.timestamp)
        batch = None if alone else unfilled.get(place)
        if batch is not None and batch.add(record, index, timestamp):
            continue
        batch = RecordBatch(topic, partition, create(), [])
        batch.add(record, index, timestamp)
        unfilled[place] = batch
        batches.append(batch)
        if batch.batch.size() > limits[topic]:
            culprits[index] = Refusal(_TOO_LARGE, f"{batch.batch.size()} bytes, and {topic} takes {limits[topic]}")
    if culprits:
        raise RecordsRefused(culprits)
    return batches
