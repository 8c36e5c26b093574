"""The material of a report, from a fit and what is known besides: right answers, times, inputs, prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...agents.supervision.arbitration import JOINT
from ...agents.supervision.calibration import Infeasible
from ...agents.supervision.learned.deferral import LEARNED
from ..offline.fitting import Fit
from ..offline.recordings.columns import USUAL
from ..offline.recordings.files import RecordingError, Table, column_names, read_table
from .markup import as_text
from .material import Answers, Inputs, Material, Pair, Promise, Scores, Usage

#: columns of a recording that say how long an answer took, seconds
_LATENCIES = ("local_latency_s", "remote_latency_s")


@dataclass(frozen=True, slots=True)
class Background:
    """What a fit does not know and a report tells."""

    name: str  #: of what was fitted
    truths: Mapping[str, object] = field(default_factory=dict)  #: by id; empty where only correctness is known
    inputs: Inputs | None = None
    usage: Usage = field(default_factory=Usage)
    remote_score: str = "max_softmax"
    toml: str = ""
    more_labels: int | None = None


def recorded_background(path: Path) -> tuple[dict[str, object], tuple[float | None, float | None]]:
    """The right answers by id, and the mean times of both models, where a file of recorded pairs has them.

    Raises `RecordingError` where it cannot be read.
    """
    names = column_names(path)
    key = next((name for name in USUAL["id"] if name in names), None)
    truth = next((name for name in USUAL["truth"] if name in names), None)
    wanted = [name for name in (key, truth, *_LATENCIES) if name in names]
    table = read_table(path, [name for name in wanted if name is not None])
    ids = [str(number) for number in range(len(table))] if key is None else [str(each) for each in table.columns[key]]
    truths = {} if truth is None else dict(zip(ids, table.columns[truth], strict=True))
    local_s, remote_s = (_mean(table, name) for name in _LATENCIES)
    return truths, (local_s, remote_s)


def _mean(table: Table, column: str) -> float | None:
    """The mean of the cells that hold something. Raises `RecordingError` where one of them is not a number."""
    cells = table.columns.get(column, [])
    known = [_number(table, column, row, cell) for row, cell in enumerate(cells) if cell not in (None, "")]
    return sum(known) / len(known) if known else None


def _number(table: Table, column: str, row: int, cell: Any) -> float:  # noqa: ANN401  # whatever a cell holds
    try:
        number = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RecordingError(f"{table.place(row, column)}: {cell!r} is not a number")
    return number


def material_of(fit: Fit, background: Background) -> Material:
    """All that a report tells. Its figures are those of `Fit.as_json`."""
    unseen = fit.made.judge.sees(fit.made.parts["report"])
    found = fit.made.remote
    infeasible = isinstance(found, Infeasible)
    remote = float(unseen.remote.scores.min()) if isinstance(found, Infeasible) else found.threshold
    thresholds = fit.thresholds
    return Material(
        name=background.name,
        facts=_facts(fit),
        unseen=unseen,
        chosen=Pair(fit.made.local, remote),
        refused=_refusal(found) if isinstance(found, Infeasible) else "",
        remote_score=JOINT if fit.made.judge.joint else background.remote_score,
        labels={name: len(part) for name, part in fit.made.parts.items()},
        promises=_promises(fit),
        scores=_scores(fit),
        answers=_answers(fit, background),
        rungs=fit.rungs,
        notes=fit.made.judge.reasons,
        more_labels=background.more_labels,
        usage=background.usage,
        toml="" if infeasible or thresholds is None else background.toml,
    )


def _facts(fit: Fit) -> tuple[str, ...]:
    facts = [f"{len(fit.recorded.recording):,} labelled inputs"]
    if fit.thresholds is not None:
        sides = {"local": fit.thresholds.local.model, "remote": fit.thresholds.remote.model}
        facts += [f"{side} {model}" for side, model in sides.items() if model]
        facts += [f"version {fit.thresholds.version}"]
    return tuple(facts)


def _refusal(found: Infeasible) -> str:
    if found.nearest is None or "nearest" in found.reason:
        return found.reason
    return f"{found.reason}; the nearest that can be promised is {found.nearest:.4g}"


def _promises(fit: Fit) -> tuple[Promise, ...]:
    _, second, _ = fit.options.targets()
    confidence = None if second.method == "paper" else 1.0 - second.delta
    promises = [Promise(second.kind, second.target, confidence)]
    if second.false_positive_rate is not None:
        promises.append(Promise("false_positive_rate", second.false_positive_rate, confidence))
    return tuple(promises)


def _scores(fit: Fit) -> Scores:
    """The areas of the free scores, and that of the learned one: what it gains over the best of them."""
    score, learned = fit.chosen.score, fit.chosen.learned
    areas = dict(score.areas)
    if learned.gain is not None:
        areas[LEARNED] = areas[score.name] + learned.gain
    reason = score.reason if len(score.areas) > 1 else ""
    return Scores(areas, fit.score, reason, learned.kept, learned.reason)


def _answers(fit: Fit, background: Background) -> Answers:
    recording, ids = fit.chosen.recording, tuple(fit.recorded.ids.tolist())
    known = bool(background.truths) and all(identity in background.truths for identity in ids)
    return Answers(
        ids=ids,
        local=recording.local.correct,
        remote=recording.remote.correct,
        local_scores=recording.local.scores,
        remote_scores=recording.remote.scores,
        truths=tuple(as_text(background.truths[identity]) for identity in ids) if known else None,
        local_said=_said(recording.local.predictions),
        remote_said=_said(recording.remote.predictions),
        inputs=background.inputs,
    )


def _said(predictions: NDArray[Any] | None) -> tuple[str, ...] | None:
    return None if predictions is None else tuple(map(as_text, predictions.tolist()))
