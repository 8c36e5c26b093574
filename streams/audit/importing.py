"""The command `labels import`: the labels of a file, to the topic `labels`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ...schemas.audits import MOST_LABEL_BYTES, Label, encode_label, place_of
from ...schemas.errors import BiSupervisedError
from ..auditor.rules import rules_of
from ..console.options import DONE
from ..console.output import counted, tell
from ..console.signals import run_coroutine
from ..offline.recordings.files import RecordingError
from ..offline.recordings.labels import read_labels
from ..settings.broker import connection
from ..settings.tables import Settings
from ..topics.reading import partitions_of

#: labels that may wait for their acknowledgement
_WINDOW = 1000
#: faults that are named
_NAMED = 20


class ImportFailed(BiSupervisedError):
    """Writing failed half way. The message says how many labels were written."""


def run_import(settings: Settings, path: Path, columns: tuple[str, str | None], by: str, *, as_json: bool) -> int:
    """Check all, then write all. Returns the exit status.

    Raises `RecordingError` for a file that cannot be read or holds a faulty row, `BrokerUnreachable`, `TopicMissing`
    and `ImportFailed`.
    """
    found = read_labels(path, None, *columns)
    wrong = [source for source in found.truths if place_of(source) is None]
    if wrong:
        raise RecordingError(
            f"{path}: a request is named as topic-partition-offset, like requests-0-17, and these are not: "
            f"{_named(wrong)}"
        )
    _check_classes(path, found.truths, settings)
    labels = [Label(source, truth, by) for source, truth in found.truths.items()]
    large = [label.source for label in labels if len(encode_label(label)) > MOST_LABEL_BYTES]
    if large:
        raise RecordingError(
            f"{path}: a label has {MOST_LABEL_BYTES:,} bytes at most, and these are larger: {_named(large)}"
        )
    run_coroutine(_write(settings, labels))
    topic = settings.topics.labels
    tell(
        {"topic": topic, "labels": len(labels), "by": by},
        (),
        [f"{counted(len(labels), 'label')} by {by} written to {topic}"],
        as_json=as_json,
    )
    return DONE


def _check_classes(path: Path, truths: Mapping[str, Any], settings: Settings) -> None:
    """Raises `RecordingError` for answers that an auditor would count as none."""
    rules = rules_of(settings, None)
    strange = [f"{truth} ({source})" for source, truth in truths.items() if not rules.is_class(truth)]
    if strange:
        raise RecordingError(
            f"{path}: a label is one of {', '.join(rules.terms.classes)}, and these are not: {_named(strange)}; where "
            "none of these may be right, name what people say then in [review] classes"
        )


def _named(sources: list[str]) -> str:
    """The first of them, and how many there are besides."""
    more = len(sources) - _NAMED
    return ", ".join(map(repr, sources[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")


async def _write(settings: Settings, labels: list[Label]) -> None:
    topic = settings.topics.labels
    await partitions_of(settings, topic)  # asking for a missing topic with a producer may make it
    producer = AIOKafkaProducer(**connection(settings.kafka).options(), enable_idempotence=True, linger_ms=5)
    written = 0
    try:
        async with producer:
            for begin in range(0, len(labels), _WINDOW):
                chunk = labels[begin : begin + _WINDOW]
                acks = [
                    await producer.send(topic, encode_label(one), one.source.encode(), partition=0) for one in chunk
                ]
                await asyncio.gather(*acks)
                written += len(chunk)
    except (KafkaError, TimeoutError) as error:
        raise ImportFailed(
            f"failed after {written:,} of {len(labels):,} labels: {error!r}. Run it again: the last label of a person "
            "counts, so none counts twice"
        ) from error
