"""What both models said about the same inputs, and whether they were right: all that thresholds are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Side:
    """One model's answers to n inputs."""

    scores: NDArray[np.float64]  #: (n,), higher is more trustworthy, all finite
    correct: NDArray[np.bool_]  #: (n,), whether the answer is right
    predictions: NDArray[Any] | None = None  #: (n,), what it answered; None where only its correctness is known

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.scores, self.correct, self.predictions) if array is not None}
        if len(shapes) != 1 or self.scores.ndim != 1:
            raise ValueError(f"one score and one mark per input are needed, not arrays of the shapes {sorted(shapes)}")
        if not np.isfinite(self.scores).all():
            raise ValueError("an input without a finite score cannot be calibrated on; leave it out on purpose")

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: NDArray[Any] | slice) -> Side:
        """The inputs of an index, a mask or a slice."""
        predictions = None if self.predictions is None else self.predictions[chosen]
        return Side(self.scores[chosen], self.correct[chosen], predictions)

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1. Raises `ValueError` for no inputs."""
        if not len(self):
            raise ValueError("no inputs: there is nothing to count")
        return int(self.correct.sum()) / len(self)


@dataclass(frozen=True, slots=True)
class Recording:
    """Both models' answers to the same n inputs, pair by pair."""

    local: Side
    remote: Side

    def __post_init__(self) -> None:
        if len(self.local) != len(self.remote):
            raise ValueError(f"{len(self.local)} local answers do not pair up with {len(self.remote)} remote ones")

    def __len__(self) -> int:
        return len(self.local)

    def __getitem__(self, chosen: NDArray[Any] | slice) -> Recording:
        """The inputs of an index, a mask or a slice."""
        return Recording(self.local[chosen], self.remote[chosen])

    @property
    def agreement(self) -> NDArray[np.bool_] | None:
        """(n,), whether both gave the same answer; None where the answers themselves are not recorded."""
        if self.local.predictions is None or self.remote.predictions is None:
            return None
        return np.asarray(self.local.predictions == self.remote.predictions, dtype=bool)
