"""The area under the request-accuracy curve as a measure of a score, and how much of a difference is chance.

The area of `curve.Curve.auc`, in the same unit: 0 is no better than the local model alone, 0.5 what random routing
gets. Three things are done so that scores can be compared: equal scores share their places, so their order in the file
does not count; where the remote is the worse one, the sign is turned, so that higher always is better; and where both
are equally right, the area is what is gained over either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..recording import Recording

Floats = NDArray[np.float64]

#: resamples of a bootstrap
RESAMPLES = 1000
#: resamples that are summed at once: more would only take memory
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Area:
    """What the area is measured by: which of n inputs either model has right."""

    gains: NDArray[np.float64]  #: (n,), 1 where only the remote is right, −1 where only the local model is
    scale: float  #: by how much the models differ in accuracy, which is the unit

    @classmethod
    def of(cls, recording: Recording) -> Area:
        """Raises `ValueError` for no inputs."""
        if not len(recording):
            raise ValueError("no inputs: there is no area")
        gains = recording.remote.correct.astype(np.float64) - recording.local.correct
        return cls(gains, abs(float(gains.mean())) or 1.0)

    def __call__(self, scores: Floats) -> float:
        """The area of a local score (n,)."""
        return float(self.of_resamples([scores], np.ones((1, len(scores)), dtype=np.int64))[0, 0])

    def of_resamples(self, scores: Sequence[Floats], counts: NDArray[np.int64]) -> Floats:
        """(scores, resamples), the areas where input i is there counts[b, i] times in resample b.

        All in the unit of the whole. An input is deferred at the share of the cutoffs that lie above its place.
        """
        found = np.empty((len(scores), len(counts)))
        for row, one in enumerate(scores):
            order = np.argsort(one, kind="stable")
            ordered, gains = one[order], self.gains[order]
            first, after = (np.searchsorted(ordered, ordered, side=side) for side in ("left", "right"))
            for start in range(0, len(counts), _AT_ONCE):
                drawn = counts[start : start + _AT_ONCE, order]
                below = np.concatenate((np.zeros((len(drawn), 1), dtype=np.int64), np.cumsum(drawn, axis=1)), axis=1)
                total = below[:, -1:]
                places = (below[:, first] + below[:, after]) / (2 * total)
                found[row, start : start + len(drawn)] = (drawn * gains * (1.0 - places)).sum(axis=1) / total[:, 0]
        return found / self.scale


def resampled(n: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """(resamples, n), how often each of n inputs is drawn into each resample."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=resamples)


def gains_over(
    recording: Recording, base: Floats, others: Mapping[str, Floats], seed: int, resamples: int = RESAMPLES
) -> dict[str, Floats]:
    """(resamples,) for each of the other scores: by how much its area is above that of the base, on the same draws."""
    area = Area.of(recording)
    areas = area.of_resamples([base, *others.values()], resampled(len(recording), seed, resamples))
    return dict(zip(others, areas[1:] - areas[0], strict=True))
