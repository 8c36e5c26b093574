"""From one labelled sample to both thresholds, without using an input twice.

choose    the first threshold
certify   the second threshold, on inputs that chose nothing
report    what both do, on inputs that neither has seen
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .calibration import Found, Infeasible, clopper_pearson, learn_then_test, local_threshold, paper_rule
from .curve import request_accuracy
from .evaluation import Evaluation, evaluate
from .recording import Recording
from .supervisor import Supervisor

#: cutoffs that are looked through for the point that is as right as the remote
_GRID = 1001

Method = Literal["paper", "clopper-pearson", "ltt"]
PartName = Literal["choose", "certify", "report"]


@dataclass(frozen=True, slots=True)
class First:
    """What the first threshold is for."""

    kind: Literal["remote_fraction", "remote_even", "threshold"]
    value: float | None = None  #: share of the inputs that go to the remote, or the threshold itself; else None


@dataclass(frozen=True, slots=True)
class Second:
    """What the second threshold promises."""

    method: Method
    target: float  #: false-positive rate for `paper` and `clopper-pearson`, error among the trusted for `ltt`
    delta: float  #: probability that the promise fails; `paper` has none and ignores it

    @property
    def kind(self) -> Literal["false_positive_rate", "error"]:
        """The rate that the target bounds."""
        return "error" if self.method == "ltt" else "false_positive_rate"


@dataclass(frozen=True, slots=True)
class Shares:
    """How the sample is split."""

    choose: float = 0.4
    certify: float = 0.4  #: the rest is for the report


@dataclass(frozen=True, slots=True)
class Calibration:
    """Both thresholds, and what they do on each part."""

    local: float  #: first threshold
    remote: Found  #: second threshold, or why there is none
    parts: dict[PartName, Recording]

    def evaluations(self) -> dict[PartName, Evaluation]:
        """What both supervisors do on each part; empty where there is no second threshold."""
        if isinstance(self.remote, Infeasible):
            return {}
        local, remote = Supervisor("", self.local), Supervisor("", self.remote.threshold)
        return {name: evaluate(part, local, remote) for name, part in self.parts.items()}


def split(recording: Recording, shares: Shares, seed: int) -> dict[PartName, Recording]:
    """Three parts, drawn by chance. Raises `ValueError` where one of them would be empty."""
    n = len(recording)
    first, second = int(n * shares.choose), int(n * (shares.choose + shares.certify))
    if not 0 < first < second < n:
        raise ValueError(f"{n} labelled inputs cannot be split into three parts: more are needed")
    order = np.random.default_rng(seed).permutation(n)
    return {
        "choose": recording[order[:first]],
        "certify": recording[order[first:second]],
        "report": recording[order[second:]],
    }


def calibrate(parts: dict[PartName, Recording], first: First, second: Second) -> Calibration:
    """Both thresholds from a sample that is split. Raises `ValueError` for targets outside their range."""
    local = first_threshold(parts["choose"], first)
    return Calibration(local, second_threshold(parts["choose"], parts["certify"], local, second), parts)


def first_threshold(sample: Recording, first: First) -> float:
    """The threshold that does what is wanted on this sample."""
    if first.kind == "remote_even":
        return request_accuracy(sample, _GRID).remote_even.threshold
    if first.value is None:
        raise ValueError(f"{first.kind} needs a value")
    return first.value if first.kind == "threshold" else local_threshold(sample.local.scores, first.value)


def second_threshold(pilot: Recording, sample: Recording, local: float, second: Second) -> Found:
    """The second threshold, certified on `sample`; what may be looked at beforehand is `pilot`."""
    if second.method == "paper":
        return paper_rule(sample, local, second.target)
    if second.method == "clopper-pearson":
        return clopper_pearson(sample, local, second.target, second.delta)
    return learn_then_test(pilot, sample, local, second.target, second.delta)
