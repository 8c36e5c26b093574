"""Two models that answer from a recording: the local one in the worker, the remote one behind HTTP.

Both read the same file of plain arrays, without any code in it. An environment variable names the file. An input is the
position of a pair, from 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.recording import Recording
from .rules import recorded_answers

#: environment variable with the file
VARIABLE = "BISUPERVISED_RECORDING"
#: names of the two outputs of the remote model
PREDICTION, SCORE = "prediction", "score"

Pairs = Callable[[Sequence[Any]], list[tuple[Any, float]]]


def save(recording: Recording, path: Path) -> None:
    """Write the answers of both models, and their scores."""
    local, remote = recorded_answers(recording)
    arrays = {
        "local_predictions": local,
        "local_scores": recording.local.scores,
        "remote_predictions": remote,
        "remote_scores": recording.remote.scores,
    }
    np.savez(path, allow_pickle=False, **arrays)


def _load(side: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    with np.load(Path(os.environ[VARIABLE]), allow_pickle=False) as arrays:
        return arrays[f"{side}_predictions"], arrays[f"{side}_scores"]


def local() -> Pairs:
    """The local model: returns pairs of prediction and score, as `output = "scored"` expects them."""
    predictions, scores = _load("local")

    def predict(inputs: Sequence[Any]) -> list[tuple[Any, float]]:
        rows = np.asarray(inputs, dtype=np.intp).ravel()
        return list(zip(predictions[rows].tolist(), scores[rows].tolist(), strict=True))

    return predict


class remote:  # noqa: N801  # a factory, as `module:callable` names one
    """The remote model: returns two arrays, (n,) each."""

    outputs = (PREDICTION, SCORE)

    def __init__(self) -> None:
        self._predictions, self._scores = _load("remote")

    def __call__(self, inputs: Sequence[Any]) -> dict[str, NDArray[Any]]:
        rows = np.asarray(inputs, dtype=np.intp).ravel()
        return {PREDICTION: self._predictions[rows], SCORE: self._scores[rows]}
