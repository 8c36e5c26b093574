"""Watching a topic of outcomes."""

from __future__ import annotations

from typing import Literal

import orjson

from ..settings.tables import Settings
from ..topics.reading import partitions_of, reader
from .record_lines import as_document, fallback_line, lines_console, result_line


async def run_tail(
    settings: Settings,
    what: Literal["results", "fallback"],
    *,
    from_beginning: bool,
    limit: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Print records until the limit, the end (unless `follow`), or Ctrl-C."""
    line = result_line if what == "results" else fallback_line
    console = lines_console()
    places = await partitions_of(settings, settings.topics.name_of(what))
    left = limit
    async with reader(settings, places) as consumer:
        ends = await consumer.end_offsets(places)
        for place in places if not from_beginning else ():
            consumer.seek(place, ends[place])
        while follow or [place for place in places if await consumer.position(place) < ends[place]]:
            for place, records in (await consumer.getmany(timeout_ms=200, max_records=left)).items():
                for record in records if follow else [each for each in records if each.offset < ends[place]]:
                    if as_json:
                        console.out(orjson.dumps(as_document(record)).decode(), highlight=False)
                    else:
                        console.print(line(record))
                    left = None if left is None else left - 1
            if left == 0:
                return
