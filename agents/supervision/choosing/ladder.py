"""The ladder: pairs of thresholds from lax to strict, each the cheapest one that reaches its error level.

What is cheap: a call costs one, and a rejected input as much as ten calls, for a person has to look at it. Without that
the cheapest pair would ask about little and throw all of it away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evaluation import evaluate
from ..recording import Recording
from ..supervisor import Supervisor
from ..thresholds import Rung

Floats = NDArray[np.float64]

#: rungs at most, the certified pair among them
RUNGS = 16
#: what a rejected input costs, in calls
REJECTION = 10.0
#: the strictest rung still answers this share of the inputs
_FEWEST_ANSWERED = 0.5
#: thresholds of either kind that are tried, quantiles of the scores
_TRIED = 101

Pair = tuple[float, float]  #: first and second threshold


def ladder(pilot: Recording, fresh: Recording, certified: Pair | None) -> tuple[Rung, ...]:
    """The rungs, chosen on `pilot`, with what they are expected to do, measured on `fresh`.

    The laxest trusts every local answer; the last ones have the lowest error of all that answer half of the inputs; the
    levels between have the same ratio. Where many pairs have that lowest error, the cheapest of them is followed by the
    strictest: few inputs cannot tell them apart, but the strictest keeps more of a promise when inputs change. Raises
    `ValueError` for no inputs.
    """
    if not len(pilot) or not len(fresh):
        raise ValueError("no inputs: there is no ladder")
    grid = _Grid.over(pilot)
    levels = _levels(grid, RUNGS - 2).tolist()
    # from strict to lax: a pair that is the cheapest for several levels keeps the laxest
    pairs = {grid.strictest(levels[-1]): levels[-1]} if len(levels) > 1 else {}
    pairs |= {grid.cheapest(level): level for level in reversed(levels)}
    if certified is not None:
        pairs[certified] = _error(pilot, certified) or 0.0
    ordered = sorted(pairs, key=lambda pair: (-pairs[pair], pair))
    return tuple(_rung(fresh, pair, pairs[pair], certified=pair == certified) for pair in ordered)


def _rung(fresh: Recording, pair: Pair, level: float, *, certified: bool) -> Rung:
    made = evaluate(fresh, Supervisor("", pair[0]), Supervisor("", pair[1]))
    return Rung(*pair, level, made.error, made.remote_fraction, made.acceptance, certified)


def _error(recording: Recording, pair: Pair) -> float | None:
    return evaluate(recording, Supervisor("", pair[0]), Supervisor("", pair[1])).error


@dataclass(frozen=True, slots=True)
class _Grid:
    """What every pair of candidates does on the pilot, (local candidates, remote candidates) each."""

    local: Floats  #: candidates, rising
    remote: Floats
    error: Floats  #: NaN where nothing is trusted
    cost: Floats
    acceptance: Floats

    @classmethod
    def over(cls, pilot: Recording) -> _Grid:
        n = len(pilot)
        local, remote = _quantiles(pilot.local.scores), _quantiles(pilot.remote.scores)
        # an answer is trusted by the candidates that are not above its score: the first so many of them
        rows = np.searchsorted(local, pilot.local.scores, side="right")
        columns = np.searchsorted(remote, pilot.remote.scores, side="right")

        def counted(which: NDArray[np.bool_]) -> NDArray[np.intp]:
            table = np.zeros((len(local) + 1, len(remote) + 1), dtype=np.intp)
            np.add.at(table, (rows[which], columns[which]), 1)
            return table

        everything, wrong = counted(np.ones(n, dtype=bool)), counted(~pilot.local.correct)
        by_local, wrong_locally = _above(everything.sum(axis=1)), _above(wrong.sum(axis=1))
        by_remote = _accepted(everything)
        wrong_remotely = _accepted(counted(~pilot.remote.correct))
        trusted = by_local[:, None] + by_remote
        rejected = n - trusted
        with np.errstate(invalid="ignore"):
            error = (wrong_locally[:, None] + wrong_remotely) / trusted
        cost = (n - by_local[:, None] + REJECTION * rejected) / n
        return cls(local, remote, error, cost, trusted / n)

    def cheapest(self, level: float) -> Pair:
        """The cheapest pair with at most this error; of equals the first, which has the lower thresholds."""
        with np.errstate(invalid="ignore"):
            cost = np.where(self.error <= level, self.cost, np.inf)
        row, column = np.unravel_index(int(cost.argmin()), cost.shape)
        return float(self.local[row]), float(self.remote[column])

    def strictest(self, level: float) -> Pair:
        """The pair with at most this error that asks most, and then trusts least, of those that answer half.

        The cheapest one where none answers half.
        """
        with np.errstate(invalid="ignore"):
            fit = np.argwhere((self.error <= level) & (self.acceptance >= _FEWEST_ANSWERED))
        if not len(fit):
            return self.cheapest(level)
        row, column = fit[-1]  # in the order of rows, then columns: the highest thresholds are last
        return float(self.local[row]), float(self.remote[column])


def _quantiles(scores: Floats) -> Floats:
    ordered = np.sort(scores)
    return np.unique(ordered[np.linspace(0, len(ordered) - 1, _TRIED).astype(np.intp)])


def _above(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """(candidates,), how many inputs each candidate trusts, from how many stand at each number of candidates."""
    return np.asarray(counts[::-1].cumsum()[::-1][1:])


def _accepted(table: NDArray[np.intp]) -> NDArray[np.intp]:
    """(local candidates, remote candidates), the inputs below the first and not below the second."""
    deferred = table.cumsum(axis=0)[:-1]
    return np.asarray(deferred[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:])


def _levels(grid: _Grid, count: int) -> Floats:
    lax = float(grid.error[0, 0])
    answering = grid.error[grid.acceptance >= _FEWEST_ANSWERED]
    strict = float(answering.min()) if len(answering) else lax
    if strict >= lax:
        return np.array([lax])
    # a level below the lowest error has no pair: the ends are the very numbers of the grid
    if strict > 0.0:
        levels = np.geomspace(lax, strict, count)
    else:  # no ratio leads to nothing: the last but one is the lowest error above it
        levels = np.append(np.geomspace(lax, answering[answering > 0.0].min(initial=lax), count - 1), strict)
    levels[0], levels[-1] = lax, strict
    return np.asarray(levels, dtype=np.float64)
