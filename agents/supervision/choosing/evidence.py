"""What is recorded of the local answers besides the score that judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..class_scores import max_softmax, pcs, softmax_entropy
from ..learned.deferral import Features

Floats = NDArray[np.float64]

#: the class scores that are computed where only the probabilities are recorded
_OF_CLASSES = {"max_softmax": max_softmax, "pcs": pcs, "softmax_entropy": softmax_entropy}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of n local answers. Empty where a recording holds one score and nothing else."""

    scores: Mapping[str, Floats] = field(default_factory=dict)  #: by name, (n,) each, all finite
    probabilities: Floats | None = None  #: (n, classes), as they are scored
    labels: tuple[Any, ...] = ()  #: of the classes, in that order; () where they are not named
    lengths: Floats | None = None  #: (n,), of the inputs; NaN where one has none
    features: Features | None = None  #: (n, k), what the model puts out besides, all finite

    def __getitem__(self, rows: NDArray[Any] | slice) -> Evidence:
        """The inputs of an index, a mask or a slice."""
        return Evidence(
            {name: scores[rows] for name, scores in self.scores.items()},
            None if self.probabilities is None else self.probabilities[rows],
            self.labels,
            None if self.lengths is None else self.lengths[rows],
            None if self.features is None else self.features[rows],
        )

    @property
    def without_features(self) -> Evidence:
        """The same, as if the model had put out nothing besides."""
        return replace(self, features=None)

    @property
    def token_scores(self) -> tuple[str, ...]:
        """The names of the token scores among the scores."""
        return tuple(name for name in self.scores if name.startswith("token_"))


def candidates(evidence: Evidence, default: str, recorded: Floats) -> dict[str, Floats]:
    """The scores to choose among, by name, the default first: the recorded ones, and those of the probabilities."""
    found = {default: recorded, **evidence.scores}
    if evidence.probabilities is not None:
        computed = {
            name: compute(evidence.probabilities, logits=False)
            for name, compute in _OF_CLASSES.items()
            if name not in found
        }
        found |= {name: scores for name, scores in computed.items() if np.isfinite(scores).all()}
    found[default] = recorded
    return found
