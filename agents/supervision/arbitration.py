"""What the joint supervisor makes of recorded answers: whose answer is taken, and the score that is thresholded.

The outcome is a `Recording` again, so curves, thresholds and their guarantees need not know that there is a joint
supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .joint import JointModel, fit_joint
from .recording import Recording, Side

#: name of the score, in the configuration and in records
JOINT = "joint"


@dataclass(frozen=True, slots=True)
class Estimates:
    """How likely the answers to n inputs are right."""

    local: NDArray[np.float64]  #: (n,), the local answers
    remote: NDArray[np.float64]  #: (n,), the remote answers


@dataclass(frozen=True, slots=True)
class Arbitration:
    """Whose answers to n inputs are taken."""

    local: NDArray[np.bool_]  #: (n,), the local one instead of the remote one
    score: NDArray[np.float64]  #: (n,), the estimated probability that the one taken is right


def estimate(model: JointModel, recording: Recording) -> Estimates:
    """What a model fitted on other data says about these inputs. Raises `ValueError` as the model does."""
    scores = (recording.local.scores, recording.remote.scores, recording.agreement)
    return Estimates(model.local_correct(*scores), model.remote_correct(*scores))


def cross_validated(recording: Recording, folds: int = 5, seed: int = 0) -> Estimates:
    """Estimates for every input by a model that has not seen it: each fold by a model fitted on the others.

    Raises `ValueError` for fewer than two folds, and as `fit_joint` does for what is left of the data.
    """
    if folds < 2:
        raise ValueError(f"cross-validation takes two folds or more, not {folds}")
    fold = np.random.default_rng(seed).permutation(len(recording)) % folds
    found = Estimates(np.empty(len(recording)), np.empty(len(recording)))
    for held_out in (fold == number for number in range(folds)):
        estimates = estimate(fit_joint(recording[~held_out]), recording[held_out])
        found.local[held_out], found.remote[held_out] = estimates.local, estimates.remote
    return found


def arbitrate(estimates: Estimates, agreement: NDArray[np.bool_] | None = None) -> Arbitration:
    """The likelier answer of each pair; the remote's where both are equally likely, or known to be the same."""
    local = estimates.local > estimates.remote
    if agreement is not None:
        local &= ~agreement
    return Arbitration(local, np.where(local, estimates.local, estimates.remote))


def judged(recording: Recording, estimates: Estimates, *, joint: bool, arbitration: bool) -> Recording:
    """The recording as the second supervisor sees it: its remote side holds what is taken once the remote answered.

    With `joint` the scores are the estimated probability that the answer taken is right, otherwise the remote's own.
    With `arbitration` the likelier answer is taken, otherwise the remote's.
    """
    remote, scores = recording.remote, estimates.remote
    if arbitration:
        taken = arbitrate(estimates, recording.agreement)
        remote, scores = _taken(recording, taken.local), taken.score
    if not joint:
        scores = recording.remote.scores
    return Recording(recording.local, Side(scores, remote.correct, remote.predictions))


def _taken(recording: Recording, local: NDArray[np.bool_]) -> Side:
    predictions = None
    if recording.local.predictions is not None and recording.remote.predictions is not None:
        predictions = np.where(local, recording.local.predictions, recording.remote.predictions)
    correct = np.where(local, recording.local.correct, recording.remote.correct)
    return Side(recording.remote.scores, correct, predictions)
