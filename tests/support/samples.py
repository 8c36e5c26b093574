"""Recordings for tests: by hand, and drawn so that scores say something about correctness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bisupervised.agents.supervision.recording import Recording, Side


def recording(
    local: Sequence[float],
    local_right: Sequence[bool],
    remote: Sequence[float],
    remote_right: Sequence[bool],
) -> Recording:
    """Two sides from plain lists."""
    return Recording(
        Side(np.array(local, dtype=np.float64), np.array(local_right, dtype=bool)),
        Side(np.array(remote, dtype=np.float64), np.array(remote_right, dtype=bool)),
    )


def drawn(n: int, seed: int, *, digits: int | None = None) -> Recording:
    """n inputs: a local model that is right in about 60 %, a remote one in about 75 %, both surer where right."""
    chance = np.random.default_rng(seed)
    sides = []
    for skill in (0.6, 0.75):
        right = chance.random(n) < skill
        scores = np.where(right, chance.beta(4, 2, n), chance.beta(2, 3, n))
        sides.append(Side(scores if digits is None else scores.round(digits), right))
    return Recording(*sides)
