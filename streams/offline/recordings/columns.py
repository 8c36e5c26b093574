"""Which columns of a recording are what: given by name, or found by their usual names, never by a guess."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from .files import RecordingError

Role = Literal["id", "score", "correct", "prediction", "truth"]
SideName = Literal["local", "remote"]

#: names that are taken for a role where none is given; one with the side before it, as in local_score, goes first
USUAL: dict[Role, tuple[str, ...]] = {
    "id": ("id", "index"),
    "score": ("score", "confidence", "sm_confidence", "gpt3_confidence"),
    "correct": ("correct", "exact_match"),
    "prediction": ("prediction",),
    "truth": ("ground_truth", "truth", "label"),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file are what. None is looked up among `USUAL`; "" for the id pairs by position."""

    id: str | None = None
    score: str | None = None
    correct: str | None = None  #: whether the answer is right
    prediction: str | None = None  #: what was answered
    truth: str | None = None  #: what would be right; needed where `correct` is not there

    def __str__(self) -> str:
        taken = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{role} = {name}" for role, name in taken if name)


@dataclass(frozen=True, slots=True)
class Where:
    """Only the rows with this value in this column, letters large or small."""

    column: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Where:
        """`COLUMN=VALUE`. Raises `RecordingError` for anything else."""
        column, equals, value = text.partition("=")
        if not (column and equals):
            raise RecordingError(f"--where: must look like COLUMN=VALUE (got {text!r})")
        return cls(column, value)


def resolved(side: SideName, path: Path, given: Columns, names: Sequence[str]) -> Columns:
    """The columns of a file that has `names`. Raises `RecordingError` where one is missing or could be several."""
    score = _column(side, path, "score", given.score, names)
    if score is None:
        raise RecordingError(f"{path}: no column looks like a score: {ask_for(side, 'score')}; {there_are(names)}")
    correct = None
    if given.correct or not (given.prediction and given.truth):
        correct = _column(side, path, "correct", given.correct, names)
    prediction = _column(side, path, "prediction", given.prediction, names)
    truth = _column(side, path, "truth", given.truth, names) if given.truth or correct is None else None
    if correct is None and prediction is None:
        raise RecordingError(
            f"{path}: no column looks like correctness or a prediction: {ask_for(side, 'correct')}, or "
            f"with --{side}-prediction-column and --{side}-truth-column; {there_are(names)}"
        )
    return Columns(_column(side, path, "id", given.id, names), score, correct, prediction, truth)


def _column(side: SideName, path: Path, role: Role, given: str | None, names: Sequence[str]) -> str | None:
    """The column of a role: the one given, else the one found. None where there is none."""
    if given == "":
        return None
    if given is not None:
        if given not in names:
            raise RecordingError(f"{path}: has no column {given!r}{nearest(given, names)}; {there_are(names)}")
        return given
    for usual in ([f"{side}_{name}" for name in USUAL[role]], USUAL[role]):
        found = [name for name in usual if name in names]
        if len(found) > 1:
            raise RecordingError(f"{path}: the {role} could be any of {', '.join(found)}: {ask_for(side, role)}")
        if found:
            return found[0]
    return None


def ask_for(side: SideName, role: Role) -> str:
    """The option that settles it."""
    return f"say which with --{side}-{role}-column"


def nearest(name: str, names: Sequence[str]) -> str:
    """What was probably meant."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def there_are(names: Iterable[str]) -> str:
    return f"there are {', '.join(names)}"
