"""Both thresholds of a demo, from a part of its data that the models have not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ...agents.supervision.calibration import Infeasible, clopper_pearson, local_threshold
from ...agents.supervision.recording import Recording
from .errors import DemoError

Data = TypeVar("Data")


@dataclass(frozen=True, slots=True)
class Split(Generic[Data]):
    """The data in three parts that share nothing."""

    training: Data  #: the models learn from it
    calibration: Data  #: the thresholds come from it
    held_out: Data  #: sent through the pipeline


@dataclass(frozen=True, slots=True)
class ThresholdTargets:
    """What the two thresholds should do."""

    remote_fraction: float  #: share of the inputs that the local supervisor should defer, 0..1
    false_positive_rate: float  #: share of the right answers that the remote supervisor may reject at most, 0..1
    delta: float  #: probability that it rejects more in the long run


@dataclass(frozen=True, slots=True)
class ThresholdPair:
    """A local score below `local` is deferred; a remote score below `remote` is rejected."""

    local: float
    remote: float


def calibrate_pair(recording: Recording, targets: ThresholdTargets, what: str) -> ThresholdPair:
    """The first threshold from one half of the recording, the second from the other half.

    Raises `DemoError` where the recording is too small to certify a second threshold; `what` names its inputs.
    """
    half = len(recording) // 2
    line = local_threshold(recording[:half].local.scores, targets.remote_fraction)
    found = clopper_pearson(recording[half:], line, targets.false_positive_rate, targets.delta)
    if isinstance(found, Infeasible):
        raise DemoError(f"these {what} certify no second threshold: {found.reason}")
    return ThresholdPair(line, found.threshold)
