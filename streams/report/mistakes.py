"""Where both models err: counts by class, and the surest of the mistakes that both make."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..web.pictures import picture_of
from .markup import as_text, shortened
from .material import Answers

#: rows of the table, examples of a row, and characters of an input and of an answer that are shown
_CLASSES, _EXAMPLES, _INPUT_CHARS, _ANSWER_CHARS = 12, 4, 600, 120
#: bytes of a picture that is shown: all that may be shown must leave the page below a megabyte
_PICTURE_BYTES = 8192
#: truths are free text, and no classes, where there are more of them than this and than a quarter of the inputs
_FREE_TEXT = 50


#: the right answer that makes a row, None for several; how many they are; the rows of the recording
_Group = tuple[str | None, int, NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Said:
    """What one model answered."""

    answer: str | None  #: None where only its correctness is recorded
    score: float


@dataclass(frozen=True, slots=True)
class Example:
    """An input that both models have wrong."""

    id: str
    input: str  #: shortened; of a picture, what it is
    picture: str  #: as a data URL; empty where it is none, or too large
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
        return _rows(answers, [(None, 1, everything)])
    both = ~answers.local & ~answers.remote
    ranked = sorted(classes, key=lambda name: (-int(both[classes[name]].sum()), -len(classes[name]), name))
    shown = ranked if len(ranked) <= _CLASSES else ranked[: _CLASSES - 1]
    rows: list[_Group] = [(name, 1, classes[name]) for name in shown]
    if rest := ranked[len(shown) :]:
        rows.append((None, len(rest), np.concatenate([classes[name] for name in rest])))
    return _rows(answers, rows)


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


def _rows(answers: Answers, groups: list[_Group]) -> tuple[ClassMistakes, ...]:
    """The rows of these groups. Only the inputs that are shown are asked for: all of them may not fit into memory."""
    surest = [_surest(answers, rows) for _, _, rows in groups]
    wanted = [answers.ids[row] for rows in surest for row in rows]
    inputs = answers.inputs(wanted) if answers.inputs is not None else {}
    return tuple(_row(answers, group, shown, inputs) for group, shown in zip(groups, surest, strict=True))


def _surest(answers: Answers, rows: NDArray[np.intp]) -> list[int]:
    """Of what both have wrong, where the remote's score is highest: a threshold catches these last."""
    both = rows[~answers.local[rows] & ~answers.remote[rows]]
    found: list[int] = both[np.argsort(-answers.remote_scores[both], kind="stable")][:_EXAMPLES].tolist()
    return found


def _row(answers: Answers, group: _Group, shown: list[int], inputs: Mapping[str, object]) -> ClassMistakes:
    name, classes, rows = group
    local, remote = ~answers.local[rows], ~answers.remote[rows]
    known = [row for row in shown if answers.ids[row] in inputs]
    return ClassMistakes(
        name=None if name is None else shortened(name, _ANSWER_CHARS),
        classes=classes,
        n=len(rows),
        local=int(local.sum()),
        remote=int(remote.sum()),
        both=int((local & remote).sum()),
        examples=tuple(_example(answers, row, inputs[answers.ids[row]]) for row in known),
    )


def _example(answers: Answers, row: int, given: object) -> Example:
    said, picture = _shown(given)
    return Example(
        id=answers.ids[row],
        input=said,
        picture=picture,
        truth=shortened(answers.truths[row], _ANSWER_CHARS) if answers.truths else None,
        local=_said(answers.local_said, answers.local_scores, row),
        remote=_said(answers.remote_said, answers.remote_scores, row),
    )


def _shown(given: object) -> tuple[str, str]:
    """An input as text, and as a data URL where it is a small picture."""
    picture = picture_of(given)
    if picture is None:
        return shortened(as_text(given), _INPUT_CHARS), ""
    if len(picture.body) > _PICTURE_BYTES:
        return f"A picture of {len(picture.body):,} bytes, too large for this page", ""
    return "The input, as a picture", f"data:{picture.media_type};base64,{base64.b64encode(picture.body).decode()}"


def _said(said: tuple[str, ...] | None, scores: NDArray[np.float64], row: int) -> Said:
    return Said(shortened(said[row], _ANSWER_CHARS) if said else None, float(scores[row]))
