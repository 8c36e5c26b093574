"""What a report is made from: a fit, what it was fitted on, and what its user pays. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.recording import Recording


@dataclass(frozen=True, slots=True)
class Pair:
    """Both thresholds."""

    local: float  #: a local score below this sends the input to the remote
    remote: float  #: a remote score below this rejects the answer


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder."""

    pair: Pair
    error: float | None  #: share of wrong ones among the trusted answers, 0..1
    remote_fraction: float | None  #: share of the inputs that is paid for, 0..1
    acceptance: float | None  #: share of the inputs with a trusted answer, 0..1
    certified: bool  #: whether it is the pair that the promise is about


@dataclass(frozen=True, slots=True)
class Promise:
    """A rate that stays at or below a bound, or why it cannot be promised."""

    kind: Literal["error", "false_positive_rate"]
    at_most: float  #: 0..1
    confidence: float | None  #: probability that it holds; None where nothing is promised
    refused: str = ""  #: why it cannot be promised; empty where it can
    nearest: float | None = None  #: the nearest bound that can be


@dataclass(frozen=True, slots=True)
class Learned:
    """Whether learned deferral was kept."""

    kept: bool
    reason: str
    gain: float | None = None  #: of area under the curve, over the best free score
    gain_lower: float | None = None  #: its lower 5 % quantile


@dataclass(frozen=True, slots=True)
class Usage:
    """What the user pays and waits for."""

    price: float = 0.0  #: of one remote call, in a currency of the user's
    requests: int = 1_000_000  #: a month; the reader of the report types another
    local_s: float | None = None  #: mean time of a local answer; None where it was not recorded
    remote_s: float | None = None  #: mean time of a remote answer, on top of the local one


@dataclass(frozen=True, slots=True)
class Answers:
    """What both models said about every recorded input, row by row."""

    local: NDArray[np.bool_]  #: (n,), whether the local answer is right
    remote: NDArray[np.bool_]  #: (n,)
    ids: tuple[str, ...]
    truths: tuple[str, ...] | None = None
    local_said: tuple[str, ...] | None = None
    remote_said: tuple[str, ...] | None = None
    local_scores: NDArray[np.float64] | None = None
    remote_scores: NDArray[np.float64] | None = None
    inputs: tuple[str, ...] | None = None  #: as text; None where neither the recording nor the labelled file has them


@dataclass(frozen=True, slots=True)
class Material:
    """Everything a report tells."""

    name: str  #: what was fitted, such as the name of the labelled file
    facts: tuple[str, ...]  #: models, date, for the line below the name
    unseen: Recording  #: the part that neither chose nor certified anything, as it is judged
    chosen: Pair | None  #: None where no second threshold keeps the promise
    local: float  #: the first threshold, also where there is no second
    scores: tuple[str, str]  #: names of the local and the remote score
    labels: dict[str, int]  #: labelled inputs by part
    promises: tuple[Promise, ...]
    candidates: dict[str, float | None]  #: area under the curve by local score
    learned: Learned | None = None  #: None where it was not tried
    notes: tuple[str, ...] = ()  #: what else the fit said
    rungs: tuple[Rung, ...] = ()
    more_labels: int | None = None  #: that halve the distance between promised and measured
    usage: Usage = Usage()
    answers: Answers | None = None
    toml: str = ""  #: the lines to paste; empty where there are no thresholds

    @property
    def certified(self) -> bool:
        """Whether every promise is made."""
        made = [not one.refused and one.confidence is not None for one in self.promises]
        return self.chosen is not None and bool(made) and all(made)
