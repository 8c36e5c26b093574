"""The command `produce`: send the rows of a file as requests. All are checked before the first is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ...schemas.errors import BiSupervisedError, ConfigurationError
from ..console.options import DONE, FAILED
from ..console.output import as_text as json_text
from ..console.output import counted, progress_bar, progress_console
from ..console.signals import run_coroutine
from ..events.making import request_format
from ..settings.broker import connection
from ..settings.tables import Settings
from ..topics.reading import partitions_of
from .record_lines import lines_console, printable
from .rows import Row, RowsError, read_rows

#: bad rows that are named, a line each
_NAMED = 20
#: records that may wait for their acknowledgement
_WINDOW = 1000


class ProduceError(BiSupervisedError):
    """Sending failed half way. The message says how many requests were sent."""


def run_produce(
    settings: Settings, path: Path, to: str | None, key: str | None, *, as_text: bool, skip_bad: bool, as_json: bool
) -> int:
    """Check, then send. Returns the exit status: 1 where nothing was sent because of a bad row.

    Raises `RowsError`, `BrokerUnreachable`, `TopicMissing` and `ProduceError`; `ConfigurationError` where requests are
    no JSON.
    """
    if (form := settings.request.format) != "json":
        raise ConfigurationError(
            [f'[request] format: requests are "{form}", and produce writes JSON: use your own producer']
        )
    topic, shape, console = to or settings.topics.requests, request_format(settings), progress_console()

    def rows() -> Iterable[Row]:
        return read_rows(path, shape, key, as_text=as_text)

    with console.status(f"  checking {path}", spinner="dots"):
        good, bad = _checked(rows())
    for row in bad[:_NAMED]:
        console.print(f"{path}: {printable(row.place)}: {printable(row.fault)}", markup=False)
    if len(bad) > _NAMED:
        console.print(f"{path}: and {len(bad) - _NAMED:,} more", markup=False)
    if bad and not skip_bad:
        others = f" (--skip-bad sends the other {good:,})" if good else ""
        console.print(f"nothing was sent: {counted(len(bad), 'bad row')}{others}", markup=False)
        return FAILED
    if not good:
        raise RowsError(f"{path}: holds no request")
    with progress_bar(console) as progress:
        task = progress.add_task("sent", total=good)
        sent = run_coroutine(_send(settings, topic, rows(), lambda: progress.advance(task)))
    document = {"topic": topic, "sent": sent, "bad": len(bad)}
    text = (
        json_text(document)
        if as_json
        else f"{counted(sent, 'request')} sent to {topic}" + (f", {len(bad):,} left out" * bool(bad))
    )
    lines_console().out(text, highlight=False)
    return DONE


def _checked(rows: Iterable[Row]) -> tuple[int, list[Row]]:
    good, bad = 0, []
    for row in rows:
        if row.fault:
            bad.append(row)
        else:
            good += 1
    return good, bad


async def _send(settings: Settings, topic: str, rows: Iterable[Row], sent: Callable[[], object]) -> int:
    """Send every good row, and wait for the acknowledgements. Returns their number."""
    await partitions_of(settings, topic)  # asking for a missing topic with a producer may make it
    producer = AIOKafkaProducer(
        **connection(settings.kafka).options(),
        enable_idempotence=True,
        max_request_size=settings.topics.max_message_bytes,
        linger_ms=5,
    )
    count, acks = 0, list[Any]()
    try:
        async with producer:
            for row in rows:
                if row.fault:
                    continue
                acks.append(await producer.send(topic, row.value, row.key))
                if len(acks) >= _WINDOW:
                    count += await _acknowledged(acks, sent)
            count += await _acknowledged(acks, sent)
    except (KafkaError, TimeoutError) as error:
        raise ProduceError(f"failed after {count:,} acknowledged requests; some more may be sent: {error!r}") from error
    return count


async def _acknowledged(acks: list[Any], sent: Callable[[], object]) -> int:
    taken, acks[:] = list(acks), []
    answers = await asyncio.gather(*taken, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        sent()
    return len(answers)
