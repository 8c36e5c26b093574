"""A local model for the chaos runs: quick to load, sure of four inputs in five, no torch."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load() -> Callable[[list[Any]], NDArray[np.float64]]:
    """The factory named in the configuration."""
    return _probabilities


def _probabilities(inputs: list[Any]) -> NDArray[np.float64]:
    sure = np.array([0.5 + zlib.crc32(str(value).encode()) % 1000 / 2000 for value in inputs])
    return np.stack([sure, 1 - sure], axis=1)
