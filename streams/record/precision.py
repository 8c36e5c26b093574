"""How well a sample tells a share, and how many labels more would tell it twice as well. Pure functions."""

from __future__ import annotations

from scipy.stats import beta

#: probability that the interval misses the share
_ALPHA = 0.05


def half_width(hits: int, n: int) -> float:
    """Half of the width of the exact interval (Clopper and Pearson, 1934) of a share, at 95 %."""
    low = beta.ppf(_ALPHA / 2, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(1 - _ALPHA / 2, hits + 1, n - hits) if hits < n else 1.0
    return float(high - low) / 2


def more_for_half(hits: int, n: int) -> int:
    """How many labels more, with as large a share of hits, make the interval half as wide."""
    wanted, share = half_width(hits, n) / 2, hits / n
    low, high = n, 8 * n + 8
    while low < high:  # the width falls with n
        middle = (low + high) // 2
        if half_width(round(share * middle), middle) <= wanted:
            high = middle
        else:
            low = middle + 1
    return low - n
