"""Which labelled inputs are evidence about a promise, and which of them speak against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: of the trusted answers, wrong; or of the right answers, rejected
Kind = Literal["error", "false_positive_rate"]


@dataclass(frozen=True, slots=True)
class Losses:
    """What n labelled inputs say about one promise."""

    counts: NDArray[np.bool_]  #: (n,), whether the input is evidence at all
    wrong: NDArray[np.bool_]  #: (n,), whether it speaks against the promise; never where it does not count

    @property
    def rate(self) -> float | None:
        """The rate that is promised about, 0..1; None where nothing counts."""
        return int(self.wrong.sum()) / int(self.counts.sum()) if self.counts.any() else None


def losses(kind: Kind, trusted: NDArray[np.bool_], right: NDArray[np.bool_]) -> Losses:
    """Of n inputs whose answer was `trusted` or rejected, and was `right`, whether it was trusted or not."""
    if kind == "error":
        return Losses(trusted, trusted & ~right)
    return Losses(right, right & ~trusted)
