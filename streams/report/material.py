"""What a report is made from: a fit, what it was fitted on, and what its user pays. Values only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.recording import Recording
from ...agents.supervision.thresholds import Rung

#: the inputs with these ids, any JSON value each; those that are not known are left out
Inputs = Callable[[Collection[str]], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Both thresholds."""

    local: float  #: a local score below this sends the input to the remote
    remote: float  #: a remote score below this rejects the answer


@dataclass(frozen=True, slots=True)
class Promise:
    """A rate that is wanted to stay at or below a bound."""

    kind: Literal["error", "false_positive_rate"]
    at_most: float  #: 0..1
    confidence: float | None  #: probability that it does, of all that is promised together; None where nothing is


@dataclass(frozen=True, slots=True)
class Scores:
    """The local scores that there were to choose from."""

    areas: Mapping[str, float]  #: under the request-accuracy curve, by name
    chosen: str  #: the one that judges
    reason: str  #: why that one, of the free ones; empty where there was no choice
    learned: bool  #: whether the learned one judges
    learned_reason: str  #: why, or why not


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

    ids: tuple[str, ...]
    local: NDArray[np.bool_]  #: (n,), whether the local answer is right
    remote: NDArray[np.bool_]  #: (n,)
    local_scores: NDArray[np.float64]
    remote_scores: NDArray[np.float64]
    truths: tuple[str, ...] | None = None
    local_said: tuple[str, ...] | None = None
    remote_said: tuple[str, ...] | None = None
    inputs: Inputs | None = None  #: None where neither the recording nor the labelled file has them


@dataclass(frozen=True, slots=True)
class Material:
    """Everything a report tells."""

    name: str  #: what was fitted, such as the name of the labelled file
    facts: tuple[str, ...]  #: models, date, for the line below the name
    unseen: Recording  #: the part that decided nothing, as it is judged
    chosen: Pair  #: where the handles stand at first
    refused: str  #: why no second threshold keeps what is wanted; empty where one does
    remote_score: str  #: name of the score that judges remote answers
    labels: Mapping[str, int]  #: labelled inputs by part
    promises: tuple[Promise, ...]
    scores: Scores
    answers: Answers
    rungs: tuple[Rung, ...] = ()
    notes: tuple[str, ...] = ()  #: what else the fit said
    more_labels: int | None = None  #: that would tell the rates twice as well
    usage: Usage = Usage()
    toml: str = ""  #: the lines to paste; empty where there are no thresholds

    @property
    def certified(self) -> bool:
        """Whether what is wanted is promised."""
        return not self.refused and all(one.confidence is not None for one in self.promises)
