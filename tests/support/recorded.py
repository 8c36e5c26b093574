"""Recordings of a model of classes, with the evidence that a learned score reads: drawn, with known skill."""

from __future__ import annotations

import numpy as np
from bisupervised.agents.supervision.choosing.evidence import Evidence
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.streams.offline.recordings.columns import Columns
from bisupervised.streams.offline.recordings.pairs import Recorded, TakenColumns


def of_classes(n: int, seed: int, *, classes: int = 4, hidden: float = 0.0) -> tuple[Recording, Evidence]:
    """n inputs of a local model with these classes; the remote one is right in about 85 %.

    `hidden`: by how much the remote is worse where the local model answers class 0, which no free score can know.
    """
    chance = np.random.default_rng(seed)
    logits = chance.normal(0.0, 1.2, (n, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answered = probabilities.argmax(axis=1)
    truth = np.array([chance.choice(classes, p=row) for row in probabilities])
    remote_right = chance.random(n) < np.where(answered == 0, 0.85 - hidden, 0.85)
    remote = np.where(remote_right, truth, (truth + 1) % classes)
    sides = (
        Side(probabilities.max(axis=1), answered == truth, answered),
        Side(np.where(remote_right, chance.beta(4, 2, n), chance.beta(2, 3, n)), remote_right, remote),
    )
    lengths = chance.integers(5, 500, n).astype(np.float64)
    return Recording(*sides), Evidence({}, probabilities, tuple(f"class {i}" for i in range(classes)), lengths)


def recorded(recording: Recording, evidence: Evidence | None = None) -> Recorded:
    """As if it had been read from a file."""
    ids = np.arange(len(recording)).astype(np.str_)
    taken = TakenColumns(Columns(), Columns(), "position")
    return Recorded(recording, ids, taken, evidence or Evidence())
