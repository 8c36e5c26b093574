"""The model's own features, (n, k) with k in the hundreds, as few components for a regression on a thousand labels.

The components are those of the greatest variance of the standardised features, each of variance 1. Weights on them
are weights on the features, so a thresholds file knows nothing of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..learned.deferral import Features, FeatureWeights

Floats = NDArray[np.float64]

#: components, at most, and inputs that each takes at least
MOST, INPUTS_EACH = 32, 20
#: a component with less of the greatest variance than this is rounding
_RANK = 1e-9


@dataclass(frozen=True, slots=True)
class Projection:
    """From features to components, and from weights on these to weights on those."""

    means: Floats  #: (k,), of the features
    axes: Floats  #: (k, components)

    @classmethod
    def of(cls, features: Features) -> Projection:
        """That of these features (n, k); without components where no feature varies."""
        table = features.astype(np.float64)
        means, spread = table.mean(axis=0), table.std(axis=0)
        scales = np.where(spread > 0.0, spread, 1.0)
        standardised = (table - means) / scales
        variances, axes = np.linalg.eigh(standardised.T @ standardised / len(table))  # ascending
        wanted = min(MOST, max(1, len(table) // INPUTS_EACH))
        kept = np.flatnonzero(variances > _RANK * max(variances[-1], 1.0))[-wanted:]
        return cls(means, axes[:, kept] / np.sqrt(variances[kept]) / scales[:, None])

    def components(self, features: Features) -> Floats:
        """(n, components)."""
        return np.asarray((features.astype(np.float64) - self.means) @ self.axes)

    def weights(self, local: tuple[float, ...], remote: tuple[float, ...]) -> FeatureWeights:
        """Of the weights that either side has on the components."""
        on_features = [tuple((self.axes @ np.array(side)).tolist()) for side in (local, remote)]
        return FeatureWeights(tuple(self.means.tolist()), *on_features)
