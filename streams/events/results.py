"""Records of `results` for those who read JSON, whatever they are written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...agents.events.registry import RegistryUnavailable
from ...agents.events.results import ResultReader
from ...schemas.avro import is_avro
from ...schemas.errors import BiSupervisedError
from .registry import make_registry

if TYPE_CHECKING:
    from ..settings.tables import Settings


class ResultsAsJson:
    """Reads results in Avro where the settings say that they are. All else stays as it is."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topics.results
        self._reader = ResultReader(make_registry(settings.registry)) if settings.results.format == "avro" else None

    async def of(self, records: Sequence[Any]) -> Sequence[Any]:
        """The same records, those of `results` with values in JSON. Raises `BiSupervisedError` where the registry does
        not answer.
        """
        reader = self._reader
        if reader is None or not any(self._concerns(record) for record in records):
            return records
        try:
            await reader.ready([record.value for record in records if self._concerns(record)])
        except RegistryUnavailable as error:
            raise BiSupervisedError(f"results cannot be read: the schema registry {error}") from error
        return [
            replace(record, value=reader.as_json(record.value)) if self._concerns(record) else record
            for record in records
        ]

    def _concerns(self, record: Any) -> bool:  # noqa: ANN401  # aiokafka has no types
        return record.topic == self._topic and record.value is not None and is_avro(record.value)
