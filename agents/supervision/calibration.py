"""Thresholds from recorded answers, without and with a guarantee. Pure functions over arrays.

An answer is rejected where score < threshold, as `Supervisor.trusted` has it. The first threshold says what is
deferred to the remote; the second, which remote answers are rejected, by one of

    paper_rule        Weiss and Tonella 2023: promises its rate on the data it saw only, and on fresh data
                      overshoots in about half of all cases
    clopper_pearson   the false-positive rate stays at or below the target, with probability 1 − δ
    learn_then_test   the share of wrong ones among all trusted answers does, with probability 1 − δ
    both_promises     both do, together with probability 1 − δ

The probability is over the draw of the labelled sample, which must be drawn like the data to come, and must not
have chosen the first threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binom

from .recording import Recording
from .supervisor import Supervisor

#: candidates that `learn_then_test` goes through at most
_CANDIDATES = 1000


@dataclass(frozen=True, slots=True)
class Feasible:
    """A second threshold that does what is asked."""

    threshold: float  #: remote score below this is rejected


@dataclass(frozen=True, slots=True)
class Infeasible:
    """There is no such threshold."""

    reason: str  #: one line for people
    nearest: float | None = None  #: the nearest target that this sample meets, four digits; None where there is none


Found = Feasible | Infeasible

#: no input of the sample goes to the remote
NOTHING_DEFERRED = Infeasible("no local score lies below the first threshold: nothing is deferred")


def local_threshold(scores: ArrayLike, remote_fraction: float) -> float:
    """The threshold that defers `remote_fraction` (0..1) of the inputs to the remote model.

        sorted(scores)[int(n · remote_fraction)]

    A fraction of 1 gives the highest score, as in the paper: all but the inputs with that score are deferred.
    Equal scores cannot be parted: where many are equal, fewer inputs are deferred. Raises `ValueError` for no
    scores, for NaN, and for a fraction outside its range.
    """
    known = np.asarray(scores, dtype=np.float64)
    if known.ndim != 1 or not len(known):
        raise ValueError("one local score per input is needed, and one input at least")
    if not np.isfinite(known).all():
        raise ValueError("an input without a score cannot be calibrated on; leave it out on purpose")
    if not 0.0 <= remote_fraction <= 1.0:
        raise ValueError(f"the remote fraction must lie in 0..1, not {remote_fraction}")
    return float(np.sort(known)[min(int(len(known) * remote_fraction), len(known) - 1)])


@dataclass(frozen=True, slots=True)
class _Deferred:
    """What the second supervisor can act on, with the first threshold fixed."""

    scores: NDArray[np.float64]  #: sorted remote scores of the deferred inputs
    right: NDArray[np.float64]  #: sorted remote scores of those that the remote has right
    kept: int  #: inputs that the local model answers
    kept_right: int  #: those it has right

    @property
    def correct(self) -> int:
        """Right answers of the system before the second supervisor: FP + TN at any threshold."""
        return self.kept_right + len(self.right)


def _deferred(recording: Recording, threshold: float) -> _Deferred:
    if not len(recording):
        raise ValueError("no inputs: there is nothing to calibrate on")
    trusted = Supervisor("", threshold).trusted(recording.local.scores)
    scores = recording.remote.scores[~trusted]
    return _Deferred(
        scores=np.sort(scores),
        right=np.sort(scores[recording.remote.correct[~trusted]]),
        kept=int(trusted.sum()),
        kept_right=int(recording.local.correct[trusted].sum()),
    )


def paper_rule(recording: Recording, threshold: float, rate: float) -> Found:
    """The paper's second threshold, for a first one of `threshold`.

    Candidates are the sorted remote scores of the deferred inputs; the first is taken for which

        FP / (FP + TN) >= rate

    FP: deferred inputs that the remote has right, with remote score < candidate. FP + TN: all inputs that the
    system has right, local answers included. Raises `ValueError` for no inputs and a rate outside 0..1.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a rate must lie in 0..1, not {rate}")
    deferred = _deferred(recording, threshold)
    if not len(deferred.scores):
        return NOTHING_DEFERRED
    if not deferred.correct:
        return Infeasible("no answer is right, of either model: there is no rate to reach")
    # right answers strictly below each candidate: equal scores are rejected together or not at all
    rejected = np.searchsorted(deferred.right, deferred.scores, side="left")
    rates = rejected / deferred.correct
    reached = np.flatnonzero(rates >= rate)
    if not len(reached):
        return Infeasible(
            "even the highest remote score as threshold rejects too few right answers: too little is deferred",
            _feasible_below(float(rates[-1])),
        )
    return Feasible(float(deferred.scores[reached[0]]))


def clopper_pearson(recording: Recording, threshold: float, rate: float, delta: float) -> Found:
    """The highest second threshold whose false-positive rate is at most `rate`, with probability 1 − `delta`.

    Of m right answers of the system, k may lie below the threshold: the largest k for which the exact upper bound
    of Clopper and Pearson (1934) on k of m stays within the rate, P(Binomial(m, rate) <= k) <= delta. The threshold
    is then the right remote answer's score of rank k, from 0. Its rate in the population is distributed as
    Beta(k + 1, m − k), so the bound holds though the threshold was chosen on the same data.

    Raises `ValueError` for no inputs, and a rate or delta outside 0..1.
    """
    _check_target(rate)
    _check_target(delta)
    deferred = _deferred(recording, threshold)
    if not len(deferred.scores):
        return NOTHING_DEFERRED
    right = len(deferred.right)
    if not right:
        return Infeasible("no deferred input is answered rightly by the remote: there is no rate to bound")
    allowed = most_misses(deferred.correct, rate, delta)
    if allowed < 0:
        least = _feasible_above(upper_bound(0, deferred.correct, delta))
        return Infeasible(_too_few(deferred.correct, rate, delta), least)
    if allowed >= right:
        reason = "even rejecting nearly all remote answers stays below the rate: too little is deferred"
        return Infeasible(reason, _feasible_below(upper_bound(right, deferred.correct, delta)))
    return Feasible(float(deferred.right[allowed]))


def _too_few(correct: int, rate: float, delta: float) -> str:
    needed = math.ceil(math.log(delta) / math.log1p(-rate))
    more = math.ceil(10 * needed / correct) / 10
    return (
        f"{correct:,} right answers certify nothing at this rate, and {needed:,} are needed: "
        f"take {more:g} times as many labelled inputs"
    )


def most_misses(n: int, rate: float, delta: float) -> int:
    """The largest k with P(Binomial(n, rate) <= k) <= delta; -1 where even none is too many."""
    return int(most_misses_of(n, rate, delta))


def most_misses_of(n: ArrayLike, rate: float, delta: float) -> NDArray[np.intp]:
    """The same over sizes."""
    k = binom.ppf(delta, n, rate)  # the smallest k with P(<= k) >= delta
    return np.asarray(np.where(binom.cdf(k, n, rate) <= delta, k, k - 1), dtype=np.intp)


def learn_then_test(pilot: Recording, sample: Recording, threshold: float, error: float, delta: float) -> Found:
    """The lowest second threshold whose trusted answers are wrong in at most `error`, with probability 1 − `delta`.

    Trusted answers are the local ones and the accepted remote ones together. Fixed-sequence testing (Angelopoulos
    et al., Learn then Test, 2021): candidates and their order come from `pilot`, which also chose the first
    threshold. Each is tested on `sample`, from the one that looks safest in the pilot towards lower ones, until the
    first whose exact upper bound on the error exceeds `error`. As the order is fixed beforehand, all tests together
    err with probability `delta` at most, and the error need not be monotone.

    Raises `ValueError` for no inputs, and an error or delta outside 0..1.
    """
    _check_target(error)
    _check_target(delta)
    tested = _tested(pilot, sample, threshold, delta)
    if tested is None:
        return NOTHING_DEFERRED
    too_wrong = np.flatnonzero(tested.bounds > error)
    if not len(too_wrong):
        return Feasible(float(tested.sequence[-1]))
    if too_wrong[0]:
        return Feasible(float(tested.sequence[too_wrong[0] - 1]))
    trusted, wrong = (int(count[0]) for count in _trusted_and_wrong(tested.fresh, tested.sequence))
    reason = f"{wrong} of {trusted} trusted answers are wrong at the safest threshold, too many for the target"
    return Infeasible(reason, _feasible_above(tested.bounds[0]))


@dataclass(frozen=True, slots=True)
class _Tested:
    """The candidates of a fixed sequence, the safest first, with what the sample says about each."""

    fresh: _Deferred
    sequence: NDArray[np.float64]
    bounds: NDArray[np.float64]  #: exact upper bounds on the error


def _tested(pilot: Recording, sample: Recording, threshold: float, delta: float) -> _Tested | None:
    known, fresh = _deferred(pilot, threshold), _deferred(sample, threshold)
    if not len(known.scores):
        return None
    candidates = _candidates(known.scores)
    sequence = candidates[_error_bounds(known, candidates, delta).argmin() :]
    return _Tested(fresh, sequence, _error_bounds(fresh, sequence, delta))


def both_promises(
    pilot: Recording, sample: Recording, threshold: float, error: float, rate: float, delta: float
) -> Found:
    """The lowest second threshold that keeps an error and a false-positive rate, both with probability 1 − `delta`.

    Each is promised with half of delta: by `learn_then_test`, which finds the lowest threshold that the error allows,
    and by `clopper_pearson`, which finds the highest that the rate allows; every lower one rejects fewer right answers.
    Where there is none, the reason says which of the two fails, and what is nearest. Raises `ValueError` as both do.
    """
    for_error = learn_then_test(pilot, sample, threshold, error, delta / 2)
    if for_error is NOTHING_DEFERRED:
        return for_error
    if isinstance(for_error, Infeasible):
        nearest = "" if for_error.nearest is None else f"; nearest is an error of {for_error.nearest:.4g}"
        return Infeasible(f"the error fails: {for_error.reason}{nearest}", for_error.nearest)
    deferred = _deferred(sample, threshold)
    _check_target(rate)
    below = int(np.searchsorted(deferred.right, for_error.threshold, side="left"))
    if below <= most_misses(deferred.correct, rate, delta / 2):
        return for_error
    least = _feasible_above(upper_bound(below, deferred.correct, delta / 2))
    if most_misses(deferred.correct, rate, delta / 2) < 0:
        return Infeasible(f"the false-positive rate fails: {_too_few(deferred.correct, rate, delta / 2)}", least)
    return _not_together(pilot, sample, threshold, (error, rate, delta / 2), least)


def _not_together(
    pilot: Recording,
    sample: Recording,
    threshold: float,
    wanted: tuple[float, float, float],
    nearest: float | None,
) -> Infeasible:
    """Each promise can be kept alone: what is nearest where the other one stays."""
    error, rate, delta = wanted
    deferred, tested = _deferred(sample, threshold), _tested(pilot, sample, threshold, delta)
    highest = deferred.right[most_misses(deferred.correct, rate, delta)]
    other = None
    if tested is not None and (low_enough := np.flatnonzero(tested.sequence <= highest)).size:
        other = _feasible_above(tested.bounds[: low_enough[0] + 1].max())
    told = "" if other is None else f", or an error of {other:.4g} with this false-positive rate"
    told = "" if nearest is None else f": nearest are a false-positive rate of {nearest:.4g} with this error{told}"
    return Infeasible(
        f"an error of {error:g} alone can be kept, and a false-positive rate of {rate:g} alone, but not together: with "
        f"this error the false-positive rate fails{told}",
        nearest,
    )


def _candidates(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of the pilot from high to low: all where they are few, quantiles where they are many."""
    distinct = np.unique(scores)[::-1]
    if len(distinct) <= _CANDIDATES:
        return distinct
    return distinct[np.linspace(0, len(distinct) - 1, _CANDIDATES).astype(np.intp)]


def _error_bounds(deferred: _Deferred, candidates: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """(candidates,), the exact upper bound on the share of wrong ones among the trusted."""
    trusted, wrong = _trusted_and_wrong(deferred, candidates)
    return upper_bound(wrong, trusted, delta)


def _trusted_and_wrong(
    deferred: _Deferred, candidates: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    accepted = len(deferred.scores) - np.searchsorted(deferred.scores, candidates, side="left")
    right = len(deferred.right) - np.searchsorted(deferred.right, candidates, side="left")
    return deferred.kept + accepted, deferred.kept - deferred.kept_right + accepted - right


def upper_bound(misses: ArrayLike, n: ArrayLike, delta: float) -> NDArray[np.float64]:
    """The exact upper bound of Clopper and Pearson on a rate of which `misses` of `n` were seen; 1 where all were."""
    seen, of = np.asarray(misses), np.asarray(n)
    others = np.maximum(of - seen, 1)  # any number: where there are none, the bound is 1
    return np.where(of > seen, beta.ppf(1 - delta, seen + 1, others), 1.0)


def _feasible_above(least: ArrayLike) -> float | None:
    """A target that can be typed in and is met, where every target from `least` on is: rounded up, never down."""
    return _in_four_digits(float(np.asarray(least)), math.ceil)


def _feasible_below(most: ArrayLike) -> float | None:
    """The same where targets below `most` are met."""
    return _in_four_digits(float(np.asarray(most)), math.floor)


def _in_four_digits(target: float, rounded: Callable[[float], int]) -> float | None:
    if target <= 0.0:
        return None
    digits = 3 - math.floor(math.log10(target))
    told = round(rounded(target * 10.0**digits) / 10.0**digits, digits)
    return told if 0.0 < told < 1.0 else None  # at 0 and 1 there is nothing to promise


def _check_target(value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"a rate and a probability must lie between 0 and 1, not {value}")
