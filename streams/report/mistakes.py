"""Where both models err: counts by class, and the surest of the mistakes that both make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .markup import shortened
from .material import Answers

#: rows of the table, examples of a row, and characters of an input and of an answer that are shown
_CLASSES, _EXAMPLES, _INPUT_CHARS, _ANSWER_CHARS = 12, 4, 600, 120
#: truths are free text, and no classes, where there are more of them than this and than a quarter of the inputs
_FREE_TEXT = 50


@dataclass(frozen=True, slots=True)
class Said:
    """What one model answered."""

    answer: str | None  #: None where only its correctness is recorded
    score: float | None


@dataclass(frozen=True, slots=True)
class Example:
    """An input that both models have wrong."""

    id: str
    input: str | None  #: shortened
    truth: str | None
    local: Said
    remote: Said


@dataclass(frozen=True, slots=True)
class ClassMistakes:
    """The inputs of one class, or of several."""

    name: str | None  #: the right answer; None where the row stands for several
    classes: int  #: that it stands for
    n: int
    local: int  #: wrong answers of the local model
    remote: int
    both: int  #: inputs that both have wrong
    examples: tuple[Example, ...]


def mistakes(answers: Answers) -> tuple[ClassMistakes, ...]:
    """A row for each class, most common mistakes first; many classes end in one row for the rest."""
    everything = np.arange(len(answers.local))
    classes = _classes(answers)
    if classes is None:
        return (_row(answers, None, 1, everything),)
    both = ~answers.local & ~answers.remote
    ranked = sorted(classes, key=lambda name: (-int(both[classes[name]].sum()), -len(classes[name]), name))
    shown = ranked if len(ranked) <= _CLASSES else ranked[: _CLASSES - 1]
    rows = [_row(answers, name, 1, classes[name]) for name in shown]
    if rest := ranked[len(shown) :]:
        rows.append(_row(answers, None, len(rest), np.concatenate([classes[name] for name in rest])))
    return tuple(rows)


def _classes(answers: Answers) -> dict[str, NDArray[np.intp]] | None:
    """The rows of each class; None where the truths are unknown, or free text."""
    if answers.truths is None:
        return None
    rows: dict[str, list[int]] = {}
    for at, truth in enumerate(answers.truths):
        rows.setdefault(truth, []).append(at)
    if len(rows) > max(_FREE_TEXT, len(answers.truths) / 4):
        return None
    return {name: np.asarray(found, dtype=np.intp) for name, found in rows.items()}


def _row(answers: Answers, name: str | None, classes: int, rows: NDArray[np.intp]) -> ClassMistakes:
    local, remote = ~answers.local[rows], ~answers.remote[rows]
    both = rows[local & remote]
    surest = both if answers.remote_scores is None else both[np.argsort(-answers.remote_scores[both], kind="stable")]
    return ClassMistakes(
        name=None if name is None else shortened(name, _ANSWER_CHARS),
        classes=classes,
        n=len(rows),
        local=int(local.sum()),
        remote=int(remote.sum()),
        both=len(both),
        examples=tuple(_example(answers, row) for row in surest[:_EXAMPLES].tolist()) if answers.inputs else (),
    )


def _example(answers: Answers, row: int) -> Example:
    return Example(
        id=answers.ids[row],
        input=shortened(answers.inputs[row], _INPUT_CHARS) if answers.inputs else None,
        truth=shortened(answers.truths[row], _ANSWER_CHARS) if answers.truths else None,
        local=_said(answers.local_said, answers.local_scores, row),
        remote=_said(answers.remote_said, answers.remote_scores, row),
    )


def _said(said: tuple[str, ...] | None, scores: NDArray[np.float64] | None, row: int) -> Said:
    return Said(shortened(said[row], _ANSWER_CHARS) if said else None, None if scores is None else float(scores[row]))
