"""Which column of a recording holds what: named by the user, or found by a usual name, never guessed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from .files import RecordingError

#: the column in which `record` and `recording` say which rows hold both answers
MARK = "pair"

Role = Literal["id", "score", "correct", "prediction", "truth"]
SideName = Literal["local", "remote"]

#: the usual names of each role; a name that begins with the side, as in local_score, is preferred
USUAL: dict[Role, tuple[str, ...]] = {
    "id": ("id", "index"),
    "score": ("score", "confidence", "sm_confidence", "gpt3_confidence"),
    "correct": ("correct", "exact_match"),
    "prediction": ("prediction",),
    "truth": ("ground_truth", "truth", "label"),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file by role. None is looked up in `USUAL`; an empty `id` pairs rows by position."""

    id: str | None = None
    score: str | None = None
    correct: str | None = None  #: whether the answer is right
    prediction: str | None = None  #: what was answered
    truth: str | None = None  #: the right answer; needed where there is no `correct`

    def __str__(self) -> str:
        taken = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{role} = {name}" for role, name in taken if name)


@dataclass(frozen=True, slots=True)
class Where:
    """Selects the rows with this value in this column. Letter case makes no difference."""

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
    """The columns of a file, chosen among its `names`.

    Raises `RecordingError` where a column is missing, or several could be meant.
    """
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
    """The column of a role: the given one, else the one with a usual name, else None."""
    if given == "":
        return None
    if given is not None:
        if given not in names:
            raise RecordingError(f"{path}: has no column {given!r}{nearest(given, names)}; {there_are(names)}")
        return given
    for usual in ([f"{side}_{name}" for name in USUAL[role]], USUAL[role]):
        found = usually_called(usual, names)
        if len(found) > 1:
            raise RecordingError(f"{path}: the {role} could be any of {', '.join(found)}: {ask_for(side, role)}")
        if found:
            return found[0]
    return None


def usually_called(usual: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns with one of these names; where there are none to the letter, those that differ in case or in white
    space around them.
    """
    exact = [name for name in usual if name in names]
    return exact or [name for name in names if name.strip().casefold() in usual]


def ask_for(side: SideName, role: Role) -> str:
    """The advice to name the column."""
    return f"say which with --{side}-{role}-column"


def nearest(name: str, names: Sequence[str]) -> str:
    """The question whether a similar name was meant; empty where none is similar."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def there_are(names: Iterable[str]) -> str:
    return f"there are {', '.join(names)}"
