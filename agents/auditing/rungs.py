"""What an audited request says at every rung of the ladder, also at those that did not judge it.

A rung is a pair of thresholds. From both scores follows what it would have done; with a label, whether that was right.
What is not known is said to be unknown, and never guessed:

- A request that was trusted has no remote verdict unless it was shadowed. The stricter rungs would have asked: what
  would have come of it is unknown. So a ladder that is to be climbed needs a shadow of every audited request.
- A shadow that failed or found no money, and a request whose label is late, are unknown where an answer might have
  been trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..supervision.supervisor import Supervisor

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]

Pair = tuple[float, float]  #: first and second threshold


@dataclass(frozen=True, slots=True)
class Seen:
    """Audited requests, with both verdicts: arrays of one shape, () for a single request.

    The second score and mark are of the answer that the second supervisor judges: the remote's, or, with arbitration,
    the likelier one. A score is NaN where it is not known, and -inf where there was none, so that nothing trusts it: of
    a model that failed on this request.
    """

    local_score: Floats  #: -inf where the local model had no answer
    remote_score: Floats  #: NaN where nobody asked, or the shadow is missing
    local_wrong: Floats  #: 0 or 1; NaN without a label
    remote_wrong: Floats  #: 0 or 1; NaN without a label, or without an answer

    @classmethod
    def one(
        cls,
        local_score: float | None,
        remote_score: float | None,
        *,
        local_right: bool | None,
        remote_right: bool | None,
    ) -> Seen:
        """A single request. None: a local score that there is not, a remote one that is not known, or no label."""
        known = (
            -math.inf if local_score is None else local_score,
            math.nan if remote_score is None else remote_score,
            math.nan if local_right is None else float(not local_right),
            math.nan if remote_right is None else float(not remote_right),
        )
        return cls(*(np.asarray(number, dtype=np.float64) for number in known))


@dataclass(frozen=True, slots=True)
class AtRungs:
    """What requests say at each of K rungs, (..., K) each."""

    counts: Marks  #: an answer would have been trusted, and the label tells whether it is right
    wrong: Marks  #: of those, wrong
    unknown: Marks  #: an answer would have been trusted, or might have been, and nothing tells whether it is right
    deferred: Marks  #: the remote would have been asked
    rejected: Marks  #: not even its answer would have been trusted; false where its score is unknown

    def __getitem__(self, which: NDArray[np.intp]) -> AtRungs:
        """Some of the requests."""
        return AtRungs(*(getattr(self, name)[which] for name in self.__slots__))


def at_rungs(pairs: Sequence[Pair], seen: Seen) -> AtRungs:
    """What each pair of thresholds would have done with the requests, and how right that was."""
    by_local = np.stack([Supervisor("", pair[0]).trusted(seen.local_score) for pair in pairs], axis=-1)
    accepted = np.stack([Supervisor("", pair[1]).trusted(seen.remote_score) for pair in pairs], axis=-1)
    local_wrong, remote_wrong = seen.local_wrong[..., None], seen.remote_wrong[..., None]
    unseen = ~by_local & np.isnan(seen.remote_score)[..., None]
    trusted = by_local | accepted
    wrong = np.where(by_local, local_wrong, remote_wrong)
    known = trusted & ~np.isnan(wrong)
    return AtRungs(
        counts=known,
        wrong=known & (wrong > 0.0),
        unknown=(trusted & ~known) | unseen,
        deferred=~by_local,
        rejected=~trusted & ~unseen,
    )
