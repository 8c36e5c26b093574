"""Thresholds from recorded answers: the two rules of the paper, as pure functions over arrays.

Source: Weiss and Tonella, Adopting Two Supervisors for Efficient Use of Large-Scale Remote Deep Neural
Networks, 2023, and its replication package. An answer is rejected where
score < threshold, as `Supervisor.trusts` has it.

The remote rule promises its rate on the data it saw: on fresh data it overshoots in about half of all cases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def local_threshold(scores: ArrayLike, remote_fraction: float) -> float:
    """The threshold that defers `remote_fraction` (0..1) of the inputs to the remote model.

        sorted(scores)[int(n · remote_fraction)]

    A fraction of 1 gives the highest score, as in the paper: all but the inputs with that score are deferred.
    Equal scores cannot be parted: where many are equal, fewer inputs are deferred. Raises `ValueError` for no
    scores, for NaN, and for a fraction outside its range.
    """
    known = _finite("local scores", scores)
    if not 0.0 <= remote_fraction <= 1.0:
        raise ValueError(f"the remote fraction must lie in 0..1, not {remote_fraction}")
    return float(np.sort(known)[min(int(len(known) * remote_fraction), len(known) - 1)])


def remote_threshold(
    local_scores: ArrayLike,
    local_correct: ArrayLike,
    remote_scores: ArrayLike,
    remote_correct: ArrayLike,
    threshold: float,
    false_positive_rate: float,
) -> float:
    """The threshold at which the remote supervisor rejects `false_positive_rate` of the correct answers.

    The arrays pair up by position, one entry per input; `threshold` is the local one. The system answers with
    the local model, and with the remote model where local score < threshold. Candidates are the sorted remote
    scores of the inputs so deferred; the first is taken for which

        FP / (FP + TN) >= false_positive_rate

    FP: deferred inputs that the remote has right, with remote score < candidate. FP + TN: all inputs that the
    system has right, local answers included.

    Raises `ValueError` for no inputs, for NaN, for arrays of several lengths, where nothing is deferred or
    nothing is right, and where even rejecting all but the best remote answer stays below the rate.
    """
    local, remote = _finite("local scores", local_scores), _finite("remote scores", remote_scores)
    right_local, right_remote = np.asarray(local_correct, dtype=bool), np.asarray(remote_correct, dtype=bool)
    if not len(local) == len(remote) == len(right_local) == len(right_remote):
        raise ValueError("the arrays must pair up: one entry per input in each")
    deferred = local < threshold
    correct = int(right_local[~deferred].sum() + right_remote[deferred].sum())
    if not deferred.any() or not correct:
        raise ValueError("no input is deferred, or no answer is right: there is nothing to calibrate on")
    return _first_at_rate(remote[deferred], right_remote[deferred], correct, false_positive_rate)


def _first_at_rate(scores: NDArray[np.float64], right: NDArray[np.bool_], correct: int, rate: float) -> float:
    candidates = np.sort(scores)
    # right answers strictly below each candidate: equal scores are rejected together or not at all
    rejected = np.searchsorted(np.sort(scores[right]), candidates, side="left")
    reached = np.flatnonzero(rejected / correct >= rate)
    if not len(reached):
        raise ValueError(f"no threshold reaches a false positive rate of {rate}: too few inputs are deferred")
    return float(candidates[reached[0]])


def _finite(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    known = np.asarray(scores, dtype=np.float64)
    if known.ndim != 1 or not len(known):
        raise ValueError(f"{name}: one score per input is needed, and one input at least")
    if not np.isfinite(known).all():
        raise ValueError(f"{name}: an input without a score cannot be calibrated on; leave it out on purpose")
    return known
