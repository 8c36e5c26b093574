"""Scores: how far an answer can be trusted, from what a model puts out. Pure functions over arrays: a streamed
score and an offline one are the same by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

#: how far a value may stray from 0..1 and still be a probability: float16 sums stray by about this much
PROBABILITY_SLACK = 1e-3


class Compute(Protocol):
    """One score per row of `outputs` (n, classes)."""

    def __call__(self, outputs: NDArray[Any], *, logits: bool) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Score:
    """A way to tell how far an answer can be trusted, from what the model puts out."""

    name: str
    direction: Literal["higher is more trustworthy"]
    input: str  #: what it needs of the model
    source: str  #: where it comes from
    compute: Compute


def class_outputs(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """The outputs as float64 (n, classes).

    Raises `ValueError` for another shape. One class is refused: its softmax is always 1, so everything
    would be trusted.
    """
    table: NDArray[np.float64] = np.asarray(outputs, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"outputs must have the shape (n, classes) with two classes or more, not {table.shape}")
    return table


def max_softmax(outputs: NDArray[Any], *, logits: bool) -> NDArray[np.float64]:
    """The probability of the most likely class, a number in 0..1, per row of `outputs` (n, classes).

    Rows with a NaN give NaN. Raises `ValueError` for a wrong shape, and for "probabilities" outside 0..1,
    which are logits: their maximum would pass every threshold.
    """
    table = class_outputs(outputs)
    highest = table.max(axis=1)
    if not logits:
        _refuse_logits(table)
        return np.asarray(np.minimum(highest, 1.0), dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, which is the answer
        # exp(0) stands for the highest class itself, so nothing overflows however extreme the logits are
        return np.asarray(1.0 / np.exp(table - highest[:, None]).sum(axis=1), dtype=np.float64)


def _refuse_logits(table: NDArray[np.float64]) -> None:
    # written so that NaN passes: a NaN row has no score, it does not fail its neighbours
    if ((table < -PROBABILITY_SLACK) | (table > 1.0 + PROBABILITY_SLACK)).any():
        raise ValueError('probabilities must lie in 0..1; for a model that puts out logits set output = "logits"')


def predictions(outputs: NDArray[Any]) -> NDArray[np.intp]:
    """The most likely class, an index, per row of `outputs` (n, classes); the first of equals."""
    return np.asarray(class_outputs(outputs).argmax(axis=1), dtype=np.intp)


def usable(score: Any) -> float | None:  # noqa: ANN401 - whatever a user's model calls a score
    """A score as records carry it: a finite float, or None. JSON has no NaN and no infinity."""
    if score is None:
        return None
    number = float(score)
    return number if math.isfinite(number) else None


SCORES: dict[str, Score] = {
    "max_softmax": Score(
        name="max_softmax",
        direction="higher is more trustworthy",
        input="logits or probabilities of all classes",
        source="Hendrycks and Gimpel, A Baseline for Detecting Misclassified Examples, ICLR 2017",
        compute=max_softmax,
    ),
}
