"""What reads the bytes of requests, and what writes results, as the settings want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...schemas.codec import EventReader, RequestFormat
from ..settings.keys.events import FIELDLESS, RequestSettings

if TYPE_CHECKING:
    from ...agents.events.results import ResultWriter
    from ..settings.tables import Settings


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


def make_result_writer(settings: Settings) -> ResultWriter | None:
    """What writes results in Avro; None where they are JSON."""
    results = settings.results
    if results.format == "json":
        return None
    from ...agents.events.results import ResultWriter  # here, as below: who has JSON only starts without it
    from .registry import make_registry

    subject = f"{settings.topics.results}-value"
    return ResultWriter(make_registry(settings.registry), subject, register=results.register_schema)


def _reader(settings: Settings) -> EventReader | None:
    if settings.request.format == "json":
        return None
    from .registry import make_reader

    return make_reader(settings)
