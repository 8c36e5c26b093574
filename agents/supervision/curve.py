"""The request-accuracy curve: how right the system is for every share of remote calls.

Source: Weiss and Tonella, Adopting Two Supervisors for Efficient Use of Large-Scale Remote Deep Neural Networks, 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .recording import Recording


@dataclass(frozen=True, slots=True)
class Point:
    """One operating point of the first supervisor."""

    fraction: float  #: cutoff, the share of the inputs that should be deferred, 0..1
    threshold: float  #: local score below this is deferred
    requests: int  #: inputs that are deferred; equal scores are deferred together or not at all
    accuracy: float  #: share of right answers, local and remote, nothing rejected, 0..1


@dataclass(frozen=True, slots=True)
class Curve:
    """System accuracy at every cutoff of a grid."""

    n: int  #: inputs
    local_accuracy: float  #: had the local model answered everything, 0..1
    remote_accuracy: float  #: had the remote model answered everything, 0..1
    fractions: NDArray[np.float64]  #: (grid,), cutoffs from 0 to 1
    thresholds: NDArray[np.float64]  #: (grid,)
    requests: NDArray[np.intp]  #: (grid,)
    accuracies: NDArray[np.float64]  #: (grid,)
    level: float  #: accuracy of the remote at the last cutoff, which the curve is measured by, 0..1

    def point(self, index: int) -> Point:
        """One point of the grid."""
        return Point(
            float(self.fractions[index]),
            float(self.thresholds[index]),
            int(self.requests[index]),
            float(self.accuracies[index]),
        )

    @property
    def auc(self) -> float | None:
        """(mean accuracy − first) / (level − first), as the paper has it.

        0 is no better than local alone at every share, 0.5 what random routing gets, above 1 better than remote
        alone on average. None where both ends are equally right: there is nothing to gain then.
        """
        first = self.accuracies[0]
        return float((self.accuracies.mean() - first) / (self.level - first)) if self.level != first else None

    @property
    def remote_even(self) -> Point:
        """The first point that is as right as the remote, where all but the surest inputs go to it."""
        return self.point(int(np.argmax(self.accuracies >= self.level)))

    @property
    def best(self) -> Point:
        """The first point of the highest accuracy."""
        return self.point(int(self.accuracies.argmax()))


def request_accuracy(recording: Recording, grid: int, level: float | None = None) -> Curve:
    """The curve over `grid` cutoffs from 0 to 1: deferred is local score < sorted(local scores)[int(n · cutoff)].

    `level` is what it is measured by: the plain remote's accuracy, where the recording is an arbitrated one; by
    default that of the last cutoff. O(n log n) in the inputs and O(log n) per cutoff. Raises `ValueError` for no
    inputs and for fewer than two cutoffs.
    """
    if grid < 2:
        raise ValueError("a curve needs two cutoffs or more")
    scores, gained = _in_order(recording)
    fractions = cutoffs(grid)
    thresholds = scores[np.minimum((len(scores) * fractions).astype(np.intp), len(scores) - 1)]
    requests = np.searchsorted(scores, thresholds, side="left")  # strictly below: ties stay
    return _curve(recording, fractions, thresholds, requests, gained[requests], level)


def one_by_one(recording: Recording, level: float | None = None) -> Curve:
    """The curve over n + 1 cutoffs that defer 0, 1, ... n inputs, equal scores in the order they stand in.

    No threshold parts equal scores like that: it is for comparing curves, not for choosing a point. Raises
    `ValueError` for no inputs.
    """
    scores, gained = _in_order(recording)
    requests = np.arange(len(scores) + 1)
    thresholds = np.append(scores, np.nextafter(scores[-1], np.inf))
    return _curve(recording, requests / len(scores), thresholds, requests, gained, level)


def _in_order(recording: Recording) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The local scores, sorted (n,), and what is gained when the first k of them are deferred (n + 1,)."""
    if not len(recording):
        raise ValueError("no inputs: there is no curve")
    order = np.argsort(recording.local.scores, kind="stable")
    gains = recording.remote.correct[order].astype(np.intp) - recording.local.correct[order]
    return recording.local.scores[order], np.concatenate(([0], np.cumsum(gains)))


def _curve(
    recording: Recording,
    fractions: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    requests: NDArray[np.intp],
    gained: NDArray[np.intp],
    level: float | None,
) -> Curve:
    n = len(recording)
    accuracies = (int(recording.local.correct.sum()) + gained) / n
    return Curve(
        n=n,
        local_accuracy=recording.local.accuracy,
        remote_accuracy=recording.remote.accuracy,
        fractions=fractions,
        thresholds=thresholds,
        requests=requests,
        accuracies=accuracies,
        level=float(accuracies[-1]) if level is None else level,
    )


def cutoffs(grid: int) -> NDArray[np.float64]:
    """`grid` cutoffs from 0 to 1, with the very floats of the paper's package: its tables depend on their last bits."""
    steps: NDArray[np.float64] = np.arange(grid, dtype=np.float64) * (1 / (grid - 1))
    return np.minimum(steps, 1.0)


def oracle(recording: Recording, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(grid,), the accuracy of routing that knows both answers.

    What only the remote has right is deferred first, what only the local model has right last.
    """
    n = len(recording)
    right_local, right_remote = recording.local.correct, recording.remote.correct
    gain, harm = int((right_remote & ~right_local).sum()), int((right_local & ~right_remote).sum())
    requests = fractions * n
    gained = np.minimum(requests, gain) - np.maximum(0.0, requests - (n - harm))
    return np.asarray((int(right_local.sum()) + gained) / n, dtype=np.float64)
