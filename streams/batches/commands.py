"""The commands `batches list`, `show` and `cancel`, as the command line has them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter, validators

from ...schemas.bulk import decode_bulk
from ...schemas.errors import ConfigurationError
from ..console.options import DONE, FAILED, Config, Json
from ..console.output import progress_console, tell, working
from ..console.signals import run_coroutine
from ..settings.file import load_settings
from ..topics.reading import read_all
from .told import BatchLog, Word, document, notes, sheet, story, table

if TYPE_CHECKING:
    from ...agents.remote.bulk.provider import BulkStatus
    from ..settings.tables import Settings

_MS = 1000.0


def batches_list(
    *,
    config: Config = None,
    over: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 20,
    json: Json = False,
) -> int:
    """List the batches that are under way, and the last ones that are over: inputs, outcomes, cost.

    Parameters
    ----------
    over
        Batches that are over: the last so many.
    """
    settings, log = _read(config)
    words, now_ms = log.latest(over), time.time() * _MS
    told = {
        "batches": [document(word) for word in words],
        "queue_tokens": max(log.queue_tokens.values(), default=0),
        "batch_tokens": max(log.batch_tokens.values(), default=0),
    }
    late_s = settings.batch.late_hours * 3600.0
    tell(told, [table(words, now_ms)] if words else [], notes(log, now_ms, late_s), as_json=json)
    return DONE


def batches_show(batch: str, /, *, config: Config = None, json: Json = False) -> int:
    """Show everything about one batch, and what was said of it when.

    Parameters
    ----------
    batch
        Its name, as `batches list` prints it, or the provider's.
    """
    _, log = _read(config)
    word = log.find(batch)
    if word is None:
        return _missing(batch)
    words = log.history[word.batch.id]
    told = document(word) | {"history": [document(each) for each in words]}
    tell(told, [sheet(word, time.time() * _MS), story(words)], [], as_json=json)
    return DONE


def batches_cancel(batch: str, /, *, config: Config = None, json: Json = False) -> int:
    """Ask the provider to answer no more of a batch. What it has answered is paid, and goes on; the rest falls back.

    Parameters
    ----------
    batch
        Its name, as `batches list` prints it, or the provider's.
    """
    settings, log = _read(config)
    word = log.find(batch)
    if word is None:
        return _missing(batch)
    if why := _uncancellable(settings, word):
        progress_console().print(f"batch {word.batch.id}: {why}", markup=False)
        return FAILED
    with working("asking the provider"):
        status = run_coroutine(_cancelled(settings, word.batch.provider_id))
    told = {"id": word.batch.id, "provider_id": status.id, "state": status.state, "completed": status.completed}
    tell(told, [], [_said(word, status)], as_json=json)
    return DONE


def _read(config: Any) -> tuple[Settings, BatchLog]:  # noqa: ANN401  # the command's option
    """The settings and the log. Raises `ConfigurationError` where nothing is asked in batches."""
    settings = load_settings(config)
    if not settings.remote.batches:
        raise ConfigurationError(
            ['[remote] mode: is "direct", so there are no batches: set it to "batch" or "both" (docs/batches.md)']
        )
    log = BatchLog()

    def take(record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        try:
            entry = decode_bulk(record.value)
        except msgspec.DecodeError:
            return  # of a later version: a worker says so
        if entry.pipeline == settings.name:
            log.take(record.partition, record.timestamp, entry)

    with working("reading the topic"):
        run_coroutine(read_all(settings, settings.topics.batches, take))
    return settings, log


def _missing(batch: str) -> int:
    progress_console().print(
        f"there is no batch {batch}: `batches list --over 1000` prints those there are", markup=False
    )
    return FAILED


def _uncancellable(settings: Settings, word: Word) -> str:
    """Why the provider cannot be asked to; '' where it can."""
    batch = word.batch
    if batch.state in ("settling", "ended"):
        return "has been answered already"
    if not batch.provider_id:
        return "is not at the provider yet: there is nothing to cancel"
    if batch.interface != settings.batch.interface:
        return f"is at {batch.interface}, and [batch] interface is {settings.batch.interface}"
    return ""


async def _cancelled(settings: Settings, provider_id: str) -> BulkStatus:
    from ..worker.batches import make_provider
    from ..worker.protocols import make_protocol

    provider = make_provider(settings, make_protocol(settings.remote))
    try:
        return await provider.cancel(provider_id)
    finally:
        await provider.close()


def _said(word: Word, status: BulkStatus) -> str:
    if status.state != "running" and not status.cancelling:
        return f"batch {word.batch.id} has ended already: its worker fetches what was answered"
    answered = f"{status.completed:,} of {status.total or word.batch.records:,}"
    return (
        f"batch {word.batch.id} is cancelled: {answered} are answered by now, which is paid and used. Its worker sees "
        "it at its next look, and the others fall back as remote_error."
    )
