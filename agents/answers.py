"""What a model says about one input, and how class outputs become that, local or remote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .supervision.scores import SCORES, predictions, usable

#: what a model puts out: rows of classes, or pairs of a prediction and a score of its own making
Output = Literal["logits", "probabilities", "scored"]


class Answer(NamedTuple):
    """One answer. A tuple, for it is made per event."""

    prediction: Any  #: any JSON value
    score: float | None  #: higher is more trustworthy; None when there is none


@dataclass(frozen=True, slots=True)
class ClassReading:
    """How rows of class outputs are read."""

    logits: bool  #: False: they are probabilities
    labels: tuple[Any, ...] = ()  #: what the classes are called; empty: their indices
    score: str = "max_softmax"  #: a name in `SCORES`


def read_classes(outputs: NDArray[Any], asked: int, reading: ClassReading) -> list[Answer]:
    """One answer per row of `outputs` (n, classes).

    Raises `ValueError` where there are more or fewer rows than were asked for, for a shape that is not
    (n, classes), for probabilities outside 0..1, and for labels that do not name every class.
    """
    rows = outputs.shape[0] if outputs.ndim else 0
    if rows != asked:
        raise ValueError(f"{rows} answers to {asked} inputs")
    scores = SCORES[reading.score].compute(outputs, logits=reading.logits)
    _check_labels(outputs.shape[1], reading.labels)
    classes: list[int] = predictions(outputs).tolist()
    named: Sequence[Any] = [reading.labels[index] for index in classes] if reading.labels else classes
    if np.isfinite(scores).all():
        return list(map(Answer, named, scores.tolist()))
    return list(map(Answer, named, map(usable, scores.tolist())))


def _check_labels(classes: int, labels: tuple[Any, ...]) -> None:
    if labels and len(labels) != classes:
        raise ValueError(f"{len(labels)} labels for {classes} classes")
