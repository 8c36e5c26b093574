"""Labelled answers of two models, made up, with a law that is known."""

from __future__ import annotations

import numpy as np
from bisupervised.agents.supervision.recording import Recording, Side


def two_models(n: int, *, seed: int = 0, known: bool = True, remote_right: float | None = None) -> Recording:
    """Two scores in 0..1 which are the chance that the answer (0 or 1) is right; `remote_right` sets the remote's
    chance apart from its score. Without `known` the answers themselves are not recorded.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    local, remote = (0.5 + 0.5 * rng.random(n) for _ in range(2))
    local_right = rng.random(n) < local
    chance = remote if remote_right is None else np.full(n, remote_right)
    right = rng.random(n) < chance
    answers = [np.where(correct, truth, 1 - truth) if known else None for correct in (local_right, right)]
    return Recording(Side(local, local_right, answers[0]), Side(remote, right, answers[1]))
