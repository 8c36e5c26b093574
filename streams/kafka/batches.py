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

    def of(self, topic: str, owns_ms: list[int]) -> list[int]:
        """The timestamps of records whose own these are; at least one."""
        borne = self.own_ms.get(topic)
        if borne is None:
            return owns_ms
        first, now = self.now_ms - borne, self.now_ms
        if first <= min(owns_ms) and max(owns_ms) <= now:
            return owns_ms
        return [own if first <= own <= now else now for own in owns_ms]


#: every record bears its own
OWN = Stamps(0, {})


@dataclass(slots=True)
class RecordBatch:
    """One record batch on its way to one output partition, and which records are in it."""

    topic: str
    partition: int
    batch: Any  # aiokafka's BatchBuilder, which has no types
    indexes: list[int]

    @classmethod
    def of_first(
        cls,
        batch: Any,  # noqa: ANN401  # as above
        place: Place,
        records: Sequence[Sendable],
        indexes: list[int],
        stamps: list[int],
    ) -> RecordBatch:
        """Filled with the first of these records, as many as fit; one always does."""
        # what the batch's own `append` does around the builder's takes twice as long, for each record
        append, count = batch._builder.append, 0  # noqa: SLF001
        for index, timestamp in zip(indexes, stamps, strict=True):
            record = records[index]
            headers = record.headers
            headers = headers if type(headers) is list else [*headers]
            if append(count, timestamp, record.key, record.value, headers) is None:
                break
            count += 1
        batch._relative_offset = count  # noqa: SLF001  # how many there are in it
        return cls(*place, batch, indexes[:count])


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
    indexes_by_place: dict[Place, list[int]] = {}
    for index, place in enumerate(places):
        indexes_by_place.setdefault(place, []).append(index)
    batches: list[RecordBatch] = []
    for place, indexes in indexes_by_place.items():
        timestamps = stamps.of(place[0], [records[index].timestamp for index in indexes])
        begin = 0
        while begin < len(indexes):
            end = begin + 1 if alone else None
            batch = RecordBatch.of_first(create(), place, records, indexes[begin:end], timestamps[begin:end])
            batches.append(batch)
            begin += len(batch.indexes)
    culprits = _too_large(batches, limits)
    if culprits:
        raise RecordsRefused(culprits)
    return batches


def _too_large(batches: Iterable[RecordBatch], limits: Mapping[str, int]) -> dict[int, Refusal]:
    """Records that alone are larger than their topic takes."""
    sizes = {batch.indexes[0]: (batch.batch.size(), batch.topic) for batch in batches}
    return {
        index: Refusal(_TOO_LARGE, f"{size} bytes, and {topic} takes {limits[topic]}")
        for index, (size, topic) in sizes.items()
        if size > limits[topic]
    }
