"""The command `recording`: make a recording of what both models answered in a running system, joined with labels.

Every topic is read from its beginning to where it ends now, committed records only. An input that the local model
answered has no remote answer, so it makes no pair.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ....schemas.records import Source, Verdict
from ...console.output import progress_console, tell, writing
from ...settings.tables import Settings
from .labels import Labels, read_labels
from .system_topics import Takers, facts_in, read_with_progress, result_in


@dataclass(slots=True)
class KnownInput:
    """What the topics say about one input."""

    source: Source
    id: str | int | None  #: the user's own
    local: Verdict | None = None
    remote: Verdict | None = None  #: None where the remote was not asked, or gave no answer
    answered_by: str | None = None  #: who gave the trusted answer; None where none was trusted, or not yet


@dataclass(frozen=True, slots=True)
class InputCounts:
    """What became of the inputs that the topics know. Only the pairs are of use for thresholds and curves."""

    inputs: int  #: in results, answers or fallback
    pairs: int  #: labelled, with an answer and a score of both models
    answered_locally: int  #: the local answer was trusted: the remote was never asked
    no_remote_answer: int  #: the remote was asked, or should have been, and no answer came
    no_score: int  #: an answer came without a score
    unlabelled: int  #: no label names the input
    labels_unused: int  #: labels that name no input
    unreadable: int  #: records that are not of this system


@dataclass(slots=True)
class KnownInputs:
    """What has been read so far, by the source of each request."""

    inputs: dict[Source, KnownInput] = field(default_factory=dict)
    unreadable: int = 0

    def takers(self, settings: Settings) -> Takers:
        """What takes the records of each topic."""
        topics = settings.topics
        return {
            topics.results: self.take_result,
            topics.answers: self.take_facts,
            topics.fallback: self.take_facts,
        }

    def take_result(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """Take a record of `results`."""
        result = result_in(record)
        if result is None:
            self.unreadable += 1
            return
        known = self._known(result.source, result.id)
        known.answered_by = result.answered_by
        verdict = Verdict(result.prediction, result.score)
        if result.answered_by == "local":
            known.local = known.local or verdict
        else:
            known.local, known.remote = known.local or result.local, known.remote or verdict

    def take_facts(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """Take a record of `answers` or `fallback`."""
        facts = facts_in(record)
        if facts is None:
            self.unreadable += 1
            return
        known = self._known(facts.source, facts.id)
        known.local = known.local or facts.local
        if facts.remote is not None and facts.remote.prediction is not None:  # a failed call leaves only its cost
            known.remote = known.remote or facts.remote

    def _known(self, source: Source, identity: str | int | None) -> KnownInput:
        return self.inputs.setdefault(source, KnownInput(source, identity))


def joined(known: KnownInputs, labels: Labels) -> tuple[list[dict[str, Any]], InputCounts]:
    """A row per labelled input, and the counts. Rows with `pair` are complete; the others say what there is."""
    rows: list[dict[str, Any]] = []
    counted: Counter[str] = Counter()
    used: set[str] = set()
    for one in known.inputs.values():
        name = str(one.source if labels.by == "source" else one.id)
        if name not in labels.truths:
            counted["unlabelled"] += 1
            continue
        used.add(name)
        kind = _kind(one)
        counted[kind] += 1
        rows.append(_row(one, labels.truths[name], pair=kind == "pairs"))
    names = ("pairs", "answered_locally", "no_remote_answer", "no_score", "unlabelled")
    unused = len(labels.truths) - len(used)
    counts = {name: counted[name] for name in names}
    return rows, InputCounts(len(known.inputs), **counts, labels_unused=unused, unreadable=known.unreadable)


def _kind(known: KnownInput) -> str:
    if known.answered_by == "local":
        return "answered_locally"
    if known.local is None or known.remote is None:
        return "no_remote_answer"
    return "no_score" if known.local.score is None or known.remote.score is None else "pairs"


def _row(known: KnownInput, truth: Any, *, pair: bool) -> dict[str, Any]:  # noqa: ANN401  # any JSON value
    local, remote = known.local, known.remote
    return {
        "id": str(known.source),  # the user's own may be missing, or there twice
        "request_id": known.id,
        "pair": pair,
        "truth": truth,
        "local_prediction": local and local.prediction,
        "local_score": local and local.score,
        "remote_prediction": remote and remote.prediction,
        "remote_score": remote and remote.score,
        "answered_by": known.answered_by,
    }


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
    labels = read_labels(labels_path, *columns)
    progress_console().print(f"  labels: {labels.taken}", markup=False)
    known = KnownInputs()
    read_with_progress(settings, known.takers(settings))
    rows, counts = joined(known, labels)
    _write(rows, out)
    tell(asdict(counts), [], count_lines(counts, out), as_json=as_document)
    return 0


def _write(rows: list[dict[str, Any]], out: Path) -> None:
    with writing(out), out.open("wb") as lines:
        lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def count_lines(counts: InputCounts, out: Path) -> list[str]:
    """The lines that are printed: what was read, and what is left out."""
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
