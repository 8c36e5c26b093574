"""The joint supervisor: how likely each of two answers is right, by both scores and by whether the answers agree.

A logistic model. Each score is first turned into its rank among those it was fitted on, so that scores of any range
and shape will do, logits and negative ones included, and one beyond all that was seen counts as the outermost one.
On the two ranks u and v in −1..1 stand the products of Legendre polynomials P_i(u) · P_j(v) with i + j <= 4; where the
answers are known, each has a second weight that counts where they agree. All of it is plain numbers.

A threshold on the estimate is a threshold on a score like any other: the guarantees of `calibration` hold however bad
the estimate is, provided that the model was fitted on other data than the threshold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .learned.logistic import probability, ridge_logistic
from .recording import Recording

Floats = NDArray[np.float64]

#: highest degree of a product of polynomials
DEGREE: Final = 4
#: strength of the ridge penalty, as a number of inputs: it keeps weights finite where classes can be told apart
RIDGE: Final = 1.0
#: inputs that a fit takes at least, and right and wrong answers of either model among them
FEWEST: Final = 200
FEWEST_OF_A_KIND: Final = 10

_TERMS: Final = [(i, j) for i, j in itertools.product(range(DEGREE + 1), repeat=2) if i + j <= DEGREE]
_KNOTS: Final = 17


class Scale(msgspec.Struct, frozen=True):
    """Turns scores into ranks, linear between knots."""

    knots: tuple[float, ...]  #: scores, rising
    ranks: tuple[float, ...]  #: their middle rank among the scores fitted on, −1 lowest, 1 highest

    def __post_init__(self) -> None:
        if len(self.knots) != len(self.ranks) or len(self.knots) < 2:
            raise ValueError("a scale has two knots or more, and a rank for each")
        if not np.isfinite([self.knots, self.ranks]).all() or not (np.diff(self.knots) > 0).all():
            raise ValueError("the knots of a scale are finite and rise")

    def __call__(self, scores: ArrayLike) -> Floats:
        """The ranks (n,) of scores (n,), each in −1..1; NaN stays NaN."""
        known = np.asarray(scores, dtype=np.float64)
        knots, ranks = np.array(self.knots), np.array(self.ranks)
        # np.interp takes another path for few scores than for many; this is the same sum for one and for a million
        above = np.clip(np.searchsorted(knots, known, side="right"), 1, len(knots) - 1)
        low, high = knots[above - 1], knots[above]
        share = (np.clip(known, knots[0], knots[-1]) - low) / (high - low)
        return np.asarray(ranks[above - 1] * (1.0 - share) + ranks[above] * share, dtype=np.float64)


class JointModel(msgspec.Struct, frozen=True):
    """What was fitted. Encodes to JSON and back without losing a bit."""

    local: Scale  #: of the local score
    remote: Scale  #: of the remote score
    local_weights: tuple[float, ...]  #: for "the local answer is right", one per term
    remote_weights: tuple[float, ...]  #: for "the remote answer is right", one per term
    agreement: bool  #: whether it was fitted knowing which answers agree; if not, agreement is ignored
    fitted_on: int  #: number of inputs

    def __post_init__(self) -> None:
        expected = len(_TERMS) * (2 if self.agreement else 1)
        for weights in (self.local_weights, self.remote_weights):
            if len(weights) != expected or not np.isfinite(weights).all():
                raise ValueError(f"a joint model has {expected} finite weights for either answer, not {len(weights)}")

    def both_correct(
        self, local: ArrayLike, remote: ArrayLike, agreement: ArrayLike | None = None
    ) -> tuple[Floats, Floats]:
        """The estimated probabilities (n,) that the local and that the remote answers are right, from both scores (n,).

        NaN where a score is. Raises `ValueError` where the model needs agreement (n,) and there is none.
        """
        if self.agreement and agreement is None:
            raise ValueError("this model was fitted on answers that are known; it needs to know which agree")
        agreed = np.asarray(agreement, dtype=np.float64) if self.agreement else None
        terms = list(_terms(self.local(local), self.remote(remote), agreed))
        return probability(self.local_weights, terms), probability(self.remote_weights, terms)


def _terms(u: Floats, v: Floats, agreement: Floats | None) -> Iterator[Floats]:
    """The terms that the weights are for, (n,) each, from ranks (n,) and agreement (n,) as 0 or 1."""
    of_u, of_v = _legendre(u), _legendre(v)
    for i, j in _TERMS:
        yield of_u[i] * of_v[j]
    if agreement is not None:
        for i, j in _TERMS:
            yield of_u[i] * of_v[j] * agreement


def _legendre(x: Floats) -> list[Floats]:
    """P_0(x) to P_DEGREE(x), by Bonnet's recursion."""
    known = [np.ones_like(x), x]
    for n in range(1, DEGREE):
        known.append(((2 * n + 1) * x * known[n] - n * known[n - 1]) / (n + 1))
    return known


def fit_joint(recording: Recording) -> JointModel:
    """The model for these n labelled inputs, whatever their order.

    Raises `ValueError` for fewer than 200 inputs, for a model that has fewer than 10 right or 10 wrong answers, for
    scores that are all equal, and where the fit does not converge.
    """
    _check(recording)
    agreement = recording.agreement
    agreed = None if agreement is None else agreement.astype(np.float64)
    local, remote = _scale(recording.local.scores), _scale(recording.remote.scores)
    design = np.stack(list(_terms(local(recording.local.scores), remote(recording.remote.scores), agreed)), axis=1)
    # sums depend on the order of what is summed: a fixed one makes the fit the same for every order of the rows
    order = np.lexsort((recording.remote.correct, recording.local.correct, *design.T))
    try:
        weights = [
            ridge_logistic(design[order], side.correct[order], RIDGE) for side in (recording.local, recording.remote)
        ]
    except ValueError as error:
        raise ValueError(f"the joint supervisor cannot be fitted: {error}") from error
    return JointModel(local, remote, weights[0], weights[1], agreement is not None, len(recording))


def _check(recording: Recording) -> None:
    if len(recording) < FEWEST:
        raise ValueError(f"{len(recording)} labelled inputs are too few to fit a joint supervisor: it takes {FEWEST}")
    for name, side in (("local", recording.local), ("remote", recording.remote)):
        right = int(side.correct.sum())
        if min(right, len(side) - right) < FEWEST_OF_A_KIND:
            raise ValueError(
                f"{right} of {len(side)} {name} answers are right: a joint supervisor learns from "
                f"{FEWEST_OF_A_KIND} right and {FEWEST_OF_A_KIND} wrong ones at least"
            )
        if side.scores.min() == side.scores.max():
            raise ValueError(f"all {name} scores are equal: there is nothing to learn from them")


def _scale(scores: Floats) -> Scale:
    ordered = np.sort(scores)
    at = np.linspace(0, len(ordered) - 1, _KNOTS).astype(np.intp)
    knots = np.unique(ordered[at])
    below, through = (np.searchsorted(ordered, knots, side=side) for side in ("left", "right"))
    ranks = (below + through) / len(ordered) - 1.0
    return Scale(tuple(knots.tolist()), tuple(ranks.tolist()))
