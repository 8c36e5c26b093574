"""A recording read off the topics of a running system: what both models said, joined with labels.

Every topic is read from its beginning to where it ends now, committed records only. An input that the local model
answered was never put to the remote: it has no remote answer, and none is made up for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from ....schemas.codec import decode_facts, decode_result
from ....schemas.errors import InvalidRequest
from ....schemas.records import Source, Verdict
from ...console.output import progress_bar, progress_console, tell, writing
from ...console.signals import run_coroutine
from ...settings.broker import connection
from ...settings.tables import Settings
from ...topics.admin import admin_client, count_partitions
from ...topics.reading import read_to_the_end
from .labels import Labels, read_labels
from .tables import RecordingError


@dataclass(slots=True)
class Said:
    """What is known about one input."""

    source: Source
    id: str | int | None  #: the user's own
    local: Verdict | None = None
    remote: Verdict | None = None  #: None where the remote was not asked, or gave no answer
    answered_by: str | None = None  #: who gave the trusted answer; None where none was trusted, or not yet
    asked: bool = False  #: the remote was called


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the inputs that the topics know. All but the pairs are left out of thresholds and curves."""

    inputs: int  #: that results, answers or fallback know
    pairs: int  #: labelled, with an answer and a score of both models
    answered_locally: int  #: the local answer was trusted: the remote was never asked
    no_remote_answer: int  #: the remote was asked, or should have been, and no answer came
    no_score: int  #: an answer came without a score
    unlabelled: int  #: no label names it
    labels_unused: int  #: labels that name no input
    unreadable: int  #: records that are not of this system


@dataclass(slots=True)
class Topics:
    """What has been read so far."""

    inputs: dict[Source, Said] = field(default_factory=dict)
    unreadable: int = 0

    def take_result(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """A record of `results`."""
        try:
            result = decode_result(record.value or b"")
        except msgspec.DecodeError:
            self.unreadable += 1
            return
        said = self._said(result.source, result.id)
        said.answered_by = result.answered_by
        verdict = Verdict(result.prediction, result.score)
        if result.answered_by == "local":
            said.local = said.local or verdict
        else:
            said.local, said.remote, said.asked = said.local or result.local, said.remote or verdict, True

    def take_facts(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """A record of `answers` or `fallback`."""
        try:
            facts = decode_facts(record)
        except InvalidRequest:
            self.unreadable += 1
            return
        said = self._said(facts.source, facts.id)
        said.local = said.local or facts.local
        if facts.remote is not None:
            said.asked = True
            if facts.remote.prediction is not None:  # a failed call leaves a verdict with its cost alone
                said.remote = said.remote or facts.remote

    def _said(self, source: Source, identity: str | int | None) -> Said:
        return self.inputs.setdefault(source, Said(source, identity))


def joined(topics: Topics, labels: Labels) -> tuple[list[dict[str, Any]], Counts]:
    """A row per labelled input, and what was counted. Rows with `pair` are complete; the others say what is there."""
    rows: list[dict[str, Any]] = []
    counted: Counter[str] = Counter()
    used: set[str] = set()
    for said in topics.inputs.values():
        name = str(said.source if labels.by == "source" else said.id)
        if name not in labels.truths:
            counted["unlabelled"] += 1
            continue
        used.add(name)
        kind = _kind(said)
        counted[kind] += 1
        rows.append(_row(said, labels.truths[name], pair=kind == "pairs"))
    names = ("pairs", "answered_locally", "no_remote_answer", "no_score", "unlabelled")
    unused = len(labels.truths) - len(used)
    counts = {name: counted[name] for name in names}
    return rows, Counts(len(topics.inputs), **counts, labels_unused=unused, unreadable=topics.unreadable)


def _kind(said: Said) -> str:
    if said.answered_by == "local":
        return "answered_locally"
    if said.local is None or said.remote is None:
        return "no_remote_answer"
    return "no_score" if said.local.score is None or said.remote.score is None else "pairs"


def _row(said: Said, truth: Any, *, pair: bool) -> dict[str, Any]:  # noqa: ANN401  # any JSON value
    local, remote = said.local, said.remote
    return {
        "id": str(said.source),  # the user's own may be missing, or there twice
        "request_id": said.id,
        "pair": pair,
        "truth": truth,
        "local_prediction": local and local.prediction,
        "local_score": local and local.score,
        "remote_prediction": remote and remote.prediction,
        "remote_score": remote and remote.score,
        "answered_by": said.answered_by,
    }


# reading


async def read_topics(settings: Settings, tell: Callable[[int, int], object] = lambda *_: None) -> Topics:
    """Everything that `results`, `answers` and `fallback` hold now. `tell` hears how many offsets of how many are done.

    Raises `BrokerUnreachable`, and `RecordingError` for topics that are not there.
    """
    topics, read = settings.topics, Topics()
    takes = {topics.results: read.take_result, topics.answers: read.take_facts, topics.fallback: read.take_facts}
    await read_all(settings, takes, tell)
    return read


async def read_all(
    settings: Settings,
    takes: Mapping[str, Callable[[Any], None]],
    tell: Callable[[int, int], object] = lambda *_: None,
) -> None:
    """Hand every committed record of some topics, up to where they end now, to what takes those of its topic.

    Raises `BrokerUnreachable`, and `RecordingError` for topics that are not there.
    """
    async with admin_client(settings) as admin:
        partitions = await count_partitions(admin, takes)
    missing = sorted(takes.keys() - partitions.keys())
    if missing:
        raise RecordingError(f"there is no topic {', '.join(missing)}: is this the configuration of the system?")
    places = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    consumer = AIOKafkaConsumer(
        **connection(settings.kafka).options(),
        isolation_level="read_committed",
        enable_auto_commit=False,
    )
    async with consumer:
        consumer.assign(places)
        await read_to_the_end(consumer, places, takes, tell)


# the command


def run_recording(
    settings: Settings,
    labels_path: Path,
    out: Path,
    columns: tuple[str | None, str | None, str | None],
    *,
    as_document: bool,
) -> int:
    """Write the joined recording as JSON Lines. `columns`: of the labels' id, source and truth."""
    told = progress_console()
    labels = read_labels(labels_path, *columns)
    told.print(f"  labels: {labels.taken}", markup=False)
    with progress_bar(told) as bar:
        reading = bar.add_task("offsets", total=None)
        topics = run_coroutine(read_topics(settings, lambda n, of: bar.update(reading, completed=n, total=of)))
        rows, counts = joined(topics, labels)
    _write(rows, out)
    tell(asdict(counts), [], told_counts(counts, out), as_json=as_document)
    return 0


def _write(rows: list[dict[str, Any]], out: Path) -> None:
    with writing(out), out.open("wb") as lines:
        lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def told_counts(counts: Counts, out: Path) -> list[str]:
    """What was read and what is left out, a line each."""
    left_out = {
        "answered by the local model, so the remote was never asked": counts.answered_locally,
        "without a remote answer": counts.no_remote_answer,
        "with an answer that has no score": counts.no_score,
        "without a label": counts.unlabelled,
    }
    lines = [f"{counts.inputs:,} inputs on the topics, {counts.pairs:,} of them labelled pairs; left out are"]
    lines += [f"  {count:,} {why}" for why, count in left_out.items()]
    if counts.labels_unused or counts.unreadable:
        lines.append(f"{counts.labels_unused:,} labels name no input; {counts.unreadable:,} records cannot be read")
    if counts.answered_locally:
        lines.append("The pairs are what the local supervisor doubted: they are no sample of all inputs.")
    return [*lines, f"Read the pairs with --local {out} --remote {out} --where pair=true"]
