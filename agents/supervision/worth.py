"""Whether the joint supervisor and arbitration earn their place, on labelled inputs that nothing was fitted on.

Each is kept only where it is significantly better than the paper's rule; otherwise it stays out of the way. The test
is McNemar's, exact and one-sided: only inputs on which the two differ count, and were neither better, each of them
would be won by a toss of a coin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from .recording import Recording
from .supervisor import Supervisor

#: probability with which something that is no better is kept
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Worth:
    """A decision and why."""

    kept: bool  #: whether the addition is used
    reason: str  #: one line for people
    won: int  #: inputs on which only the addition is right
    lost: int  #: inputs on which only the paper's rule is right
    p_value: float  #: probability of so many won, were the addition no better


def arbitration_worth_it(
    plain: Recording, arbitrated: Recording, local_threshold: float, *, alpha: float = ALPHA
) -> Worth:
    """Whether taking the likelier answer (`arbitrated`) beats taking the remote's (`plain`).

    Both are the same n held-out inputs, see `arbitration.judged`; those below the local threshold count. Raises
    `ValueError` where they are not the same inputs.
    """
    deferred = _deferred(plain, arbitrated, local_threshold)
    new, old = arbitrated.remote.correct[deferred], plain.remote.correct[deferred]
    return _compare(new & ~old, old & ~new, "arbitration", "taking the remote's answer", alpha)


def joint_worth_it(
    plain: Recording, joint: Recording, local_threshold: float, remote_threshold: float, *, alpha: float = ALPHA
) -> Worth:
    """Whether the joint score (`joint`) tells right answers from wrong ones better than the remote's own (`plain`).

    Both accept equally many of the deferred: as many as `remote_threshold` lets pass on the remote's own score, and so
    neither wins by a laxer threshold. A rule is right about an input where it accepts a right answer or rejects a wrong
    one. As both rules differ on equally many inputs in either direction, the test is a cautious one. Raises
    `ValueError` where these are not the same inputs with the same answers taken.
    """
    deferred = _deferred(plain, joint, local_threshold)
    correct = plain.remote.correct[deferred]
    if not np.array_equal(correct, joint.remote.correct[deferred]):
        raise ValueError("two scores are compared on the same answers: with arbitration in both, or in neither")
    old = Supervisor("", remote_threshold).trusted(plain.remote.scores[deferred])
    new = _as_many(joint.remote.scores[deferred], int(old.sum()))
    won, lost = (new != old) & (new == correct), (new != old) & (old == correct)
    return _compare(won, lost, "the joint score", "the remote's own score", alpha)


def _deferred(old: Recording, new: Recording, threshold: float) -> NDArray[np.bool_]:
    if not np.array_equal(old.local.scores, new.local.scores):
        raise ValueError("two rules are compared on the same inputs, in the same order")
    return ~Supervisor("", threshold).trusted(old.local.scores)


def _as_many(scores: NDArray[np.float64], accepted: int) -> NDArray[np.bool_]:
    """Which are accepted where the highest scores are, `accepted` of them; equal scores are not parted."""
    if not accepted:
        return np.zeros(len(scores), dtype=bool)
    return Supervisor("", float(np.sort(scores)[-accepted])).trusted(scores)


def _compare(won: NDArray[np.bool_], lost: NDArray[np.bool_], new: str, old: str, alpha: float) -> Worth:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"a probability must lie between 0 and 1, not {alpha}")
    wins, losses = int(won.sum()), int(lost.sum())
    p_value = float(binom.sf(wins - 1, wins + losses, 0.5))
    kept = p_value <= alpha
    verb = "beats" if kept else "does not significantly beat"
    reason = (
        f"{new} {verb} {old} on {len(won)} deferred held-out inputs: "
        f"right alone on {wins}, wrong alone on {losses} (McNemar, p = {p_value:.2g})"
    )
    return Worth(kept, reason, wins, losses, p_value)
