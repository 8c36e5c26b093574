"""What the joint supervisor makes of recorded answers: whose answer is taken, and the score that is thresholded.

The outcome is a `Recording` again, so curves, thresholds and their guarantees need not know that there is a joint
supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .joint import JointModel, fit_joint
from .recording import Recording, Side

#: name of the score, in the configuration and in records
JOINT = "joint"


@dataclass(frozen=True, slots=True)
class Estimates:
    """How likely the answers to n inputs are right."""

    local: NDArray[np.float64]  #: (n,), the local answers
    remote: NDArray[np.float64]  #: (n,), the remote answers
    agreement: NDArray[np.bool_] | None = None  #: (n,), which are the same; None where the model does not know


@dataclass(frozen=True, slots=True)
class Arbitration:
    """Whose answers to n inputs are taken."""

    local: NDArray[np.bool_]  #: (n,), the local one instead of the remote one
    score: NDArray[np.float64]  #: (n,), the estimated probability that the one taken is right


def estimate(model: JointModel, local: ArrayLike, remote: ArrayLike, agreement: NDArray[np.bool_] | None) -> Estimates:
    """What the model says about n inputs, by both scores (n,) and by which answers agree (n,).

    The stream and the command line ask here. A model that was fitted without the answers ignores agreement. Raises
    `ValueError` as the model does.
    """
    of_local, of_remote = model.both_correct(local, remote, agreement)
    return Estimates(of_local, of_remote, agreement if model.agreement else None)


def estimate_recording(model: JointModel, recording: Recording) -> Estimates:
    """The same for recorded answers, other ones than it was fitted on."""
    return estimate(model, recording.local.scores, recording.remote.scores, recording.agreement)


def cross_validated(recording: Recording, folds: int = 5, seed: int = 0) -> Estimates:
    """Estimates for every input by a model that has not seen it: each fold by a model fitted on the others.

    Raises `ValueError` for fewer than two folds, and as `fit_joint` does for what is left of the data.
    """
    if folds < 2:
        raise ValueError(f"cross-validation takes two folds or more, not {folds}")
    fold = np.random.default_rng(seed).permutation(len(recording)) % folds
    found = Estimates(np.empty(len(recording)), np.empty(len(recording)), recording.agreement)
    for held_out in (fold == number for number in range(folds)):
        try:
            model = fit_joint(recording[~held_out])
        except ValueError as error:
            raise ValueError(f"without one of {folds} folds, {error}") from error
        estimates = estimate_recording(model, recording[held_out])
        found.local[held_out], found.remote[held_out] = estimates.local, estimates.remote
    return found


def arbitrate(estimates: Estimates) -> Arbitration:
    """The likelier answer of each pair; the remote's where both are equally likely, or known to be the same."""
    local = estimates.local > estimates.remote
    if estimates.agreement is not None:
        local &= ~estimates.agreement
    return Arbitration(local, np.where(local, estimates.local, estimates.remote))


def judged(recording: Recording, estimates: Estimates, *, joint: bool, arbitration: bool) -> Recording:
    """The recording as the second supervisor sees it: its remote side holds what is taken once the remote answered.

    With `joint` the scores are the estimated probability that the answer taken is right, otherwise the remote's own.
    With `arbitration` the likelier answer is taken, otherwise the remote's.
    """
    remote, scores = recording.remote, estimates.remote
    if arbitration:
        taken = arbitrate(estimates)
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
