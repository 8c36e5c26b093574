"""A local model to begin with; yours takes its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Sentiment:
    """Probabilities of two classes for a list of texts."""

    labels = ("negative", "positive")
    version = "1"

    def __call__(self, inputs: Sequence[str]) -> NDArray[np.float64]:
        """One row per text."""
        glad = np.array([0.95 if "good" in text else 0.55 if "?" in text else 0.1 for text in inputs])
        return np.stack([1 - glad, glad], axis=1)
