"""How surely a share is known: the exact interval of Clopper and Pearson, 1934."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

#: probability that an interval of this report holds the share
CONFIDENCE = 0.9
_TAIL = (1 - CONFIDENCE) / 2


def interval(hits: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends, for each number of hits among n; from 0 to 1 where there was nothing to count."""
    seen, of = np.asarray(hits), np.asarray(n)
    low = beta.ppf(_TAIL, np.maximum(seen, 1), of - np.maximum(seen, 1) + 1)
    high = beta.ppf(1 - _TAIL, np.minimum(seen, of - 1) + 1, np.maximum(of - seen, 1))
    return np.where(seen > 0, low, 0.0), np.where(seen < of, high, 1.0)
