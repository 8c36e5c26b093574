"""Local models for tests: an input says itself what the model answers, and how it misbehaves.

An input is `[label, local confidence, remote confidence, mark]`; `support.pipeline.remote_model` reads the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 4
LOCAL, REMOTE = 1, 2  #: columns of the confidences
#: marks: what happens when the model meets the input
FINE, RAISES, KILLS, HANGS = range(4)
#: in the folder of the worker, as soon as an input hangs it
HANGING = Path("hanging")

Inputs = list[Any]
Model = Callable[[Inputs], NDArray[np.float64]]


def rows(inputs: Inputs, column: int) -> NDArray[np.float64]:
    """Probabilities (n, classes): the label has the confidence of this column, the others share the rest."""
    table = np.asarray(inputs, dtype=np.float64)
    confidence = table[:, column]
    answered = np.repeat(((1.0 - confidence) / (CLASSES - 1))[:, None], CLASSES, axis=1)
    answered[np.arange(len(table)), table[:, 0].astype(int)] = confidence
    return answered


def steady() -> Model:
    """Obeys the marks."""

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        for one in inputs:
            _obey(int(one[3]))
        return rows(inputs, LOCAL)

    return predict


def plain() -> Model:
    """Obeys nobody."""
    return lambda inputs: rows(inputs, LOCAL)


def slow() -> Model:
    """20 ms a batch, so that a backlog lasts long enough to be disturbed."""

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        time.sleep(0.02)
        return rows(inputs, LOCAL)

    return predict


def unhurried() -> Model:
    """Takes three seconds for its first answer, as one that compiles itself does."""
    started: list[float] = []

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        if not started:
            started.append(time.monotonic())
            time.sleep(3.0)
        return rows(inputs, LOCAL)

    return predict


def _obey(mark: int) -> None:
    if mark == RAISES:
        raise ArithmeticError("a marked input")
    if mark == KILLS:
        os._exit(9)
    if mark == HANGS:
        HANGING.touch()
        time.sleep(3600)


class spoken:  # noqa: N801  # a factory, as `module:callable` names one
    """Its input is a text with four logits and white space, so that inputs have different lengths."""

    labels: tuple[str, ...] = ()

    def __call__(self, inputs: Inputs) -> NDArray[np.float64]:
        return np.array([one.split() for one in inputs], dtype=np.float64)


class named(spoken):  # noqa: N801  # the same
    """It knows what its classes are called."""

    labels = ("class 0", "class 1", "class 2", "class 3")
