"""The command `tail`: print the records of `results` or `fallback` as they come."""

from __future__ import annotations

from typing import Literal

from ..events.results import ResultsAsJson
from ..settings.tables import Settings
from ..topics.reading import partitions_of, reader
from .record_lines import fallback_line, lines_console, print_record, result_line


async def run_tail(
    settings: Settings,
    what: Literal["results", "fallback"],
    *,
    from_beginning: bool,
    limit: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Print records until the limit, until the topic's present end (unless `follow`), or until Ctrl-C."""
    line = result_line if what == "results" else fallback_line
    console = lines_console()
    places = await partitions_of(settings, settings.topics.name_of(what))
    left = limit
    as_json_values = ResultsAsJson(settings)
    async with reader(settings, places) as consumer:
        ends = await consumer.end_offsets(places)
        for place in places if not from_beginning else ():
            consumer.seek(place, ends[place])
        while follow or [place for place in places if await consumer.position(place) < ends[place]]:
            for place, records in (await consumer.getmany(timeout_ms=200, max_records=left)).items():
                shown = records if follow else [each for each in records if each.offset < ends[place]]
                for record in await as_json_values.of(shown):
                    print_record(console, record, line, as_json=as_json)
                    left = None if left is None else left - 1
            if left == 0:
                return
