"""Both thresholds at many places at once: counts from which every figure of the report is one division.

    deferred[i]            inputs that the remote is asked about at the first threshold i
    kept_right[i]          inputs that stay with the local model, and are right
    deferred_right[i]      deferred inputs that the remote has right
    accepted[i, j]         deferred inputs whose remote answer is trusted at the second threshold j
    accepted_right[i, j]   those of them that are right

They are what `evaluate` counts, pair by pair; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.curve import cutoffs
from ...agents.supervision.recording import Recording
from ...agents.supervision.supervisor import Supervisor
from .intervals import interval
from .material import Pair

Counts = NDArray[np.intp]
Floats = NDArray[np.float64]

#: places of the first threshold along the curve, and of the second, beside the pairs that must be among them
_FIRST, _SECOND = 201, 81


@dataclass(frozen=True, slots=True)
class Grid:
    """The counts at every pair of thresholds."""

    n: int
    first: Floats  #: (i,), rising, from nothing deferred to everything
    second: Floats  #: (j,), rising, from nothing rejected
    deferred: Counts  #: (i,)
    kept_right: Counts  #: (i,)
    deferred_right: Counts  #: (i,)
    accepted: Counts  #: (i, j)
    accepted_right: Counts  #: (i, j)

    def place(self, pair: Pair) -> tuple[int, int]:
        """Where a pair stands. Raises `ValueError` where it is none of the grid's."""
        at = int(np.searchsorted(self.first, pair.local)), int(np.searchsorted(self.second, pair.remote))
        if at[0] == len(self.first) or at[1] == len(self.second):
            raise ValueError(f"{pair} is not in the grid")
        if (float(self.first[at[0]]), float(self.second[at[1]])) != (pair.local, pair.remote):
            raise ValueError(f"{pair} is not in the grid")
        return at

    def band(self) -> tuple[Floats, Floats]:
        """(i,) each: the exact 90 % interval of the accuracy when nothing is rejected."""
        return interval(self.kept_right + self.deferred_right, self.n)

    def as_json(self) -> dict[str, Any]:
        """The document that the page looks things up in."""
        low, high = self.band()
        return {
            "n": self.n,
            "first": self.first.tolist(),
            "second": self.second.tolist(),
            "deferred": self.deferred.tolist(),
            "kept_right": self.kept_right.tolist(),
            "deferred_right": self.deferred_right.tolist(),
            "accepted": self.accepted.tolist(),
            "accepted_right": self.accepted_right.tolist(),
            "low": low.round(4).tolist(),
            "high": high.round(4).tolist(),
        }


def make_grid(recording: Recording, pairs: Iterable[Pair]) -> Grid:
    """The grid over a recording, with these pairs in it. Raises `ValueError` for no inputs."""
    if not len(recording):
        raise ValueError("no inputs: there is nothing to report on")
    wanted = tuple(pairs)
    first = _first_places(recording.local.scores, [pair.local for pair in wanted])
    second = _second_places(recording.remote.scores, [pair.remote for pair in wanted])
    deferred = ~_trusted(recording.local.scores, first)  # (i, n)
    accepted = _trusted(recording.remote.scores, second)  # (j, n)
    right = recording.remote.correct
    return Grid(
        n=len(recording),
        first=first,
        second=second,
        deferred=deferred.sum(axis=1),
        kept_right=(~deferred & recording.local.correct).sum(axis=1),
        deferred_right=(deferred & right).sum(axis=1),
        accepted=_both(deferred, accepted),
        accepted_right=_both(deferred & right, accepted),
    )


def _trusted(scores: Floats, thresholds: Floats) -> NDArray[np.bool_]:
    """(thresholds, n), by the one comparison that the stream makes."""
    return np.stack([Supervisor("", float(threshold)).trusted(scores) for threshold in thresholds])


def _both(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Counts:
    """(i, j), in how many places both are true. Single precision counts exactly up to 16 million."""
    return np.asarray(np.rint(one.astype(np.float32) @ other.astype(np.float32).T), dtype=np.intp)


def _first_places(scores: Floats, wanted: list[float]) -> Floats:
    """Even steps along the share of calls, with one above all scores: there everything is deferred."""
    ordered = np.sort(scores)
    steps = ordered[np.minimum((len(ordered) * cutoffs(_FIRST)).astype(np.intp), len(ordered) - 1)]
    return np.unique([*steps, *wanted, np.nextafter(ordered[-1], np.inf)])


def _second_places(scores: Floats, wanted: list[float]) -> Floats:
    """Steps that are small where few answers are rejected, for that is where people choose."""
    ordered = np.sort(scores)
    steps = ordered[np.minimum((len(ordered) * cutoffs(_SECOND) ** 2).astype(np.intp), len(ordered) - 1)]
    return np.unique([*steps, *wanted])
