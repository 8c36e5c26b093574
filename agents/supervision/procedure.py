"""From one labelled sample to both thresholds, without using an input twice.

fit       the joint model, where one is asked for
choose    the first threshold, and whether the joint supervisor and arbitration earn their place
certify   the second threshold, on inputs that chose nothing
report    what all of it does, on inputs that it has not seen
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .arbitration import estimate_recording, judged
from .calibration import (
    Found,
    Infeasible,
    both_promises,
    clopper_pearson,
    learn_then_test,
    local_threshold,
    paper_rule,
)
from .curve import request_accuracy
from .evaluation import Evaluation, evaluate
from .joint import JointModel, fit_joint
from .recording import Recording
from .supervisor import Supervisor
from .worth import Worth, arbitration_worth_it, joint_worth_it

#: cutoffs that are looked through for the point that is as right as the remote
_GRID = 1001

Method = Literal["paper", "clopper-pearson", "ltt"]
PartName = Literal["fit", "choose", "certify", "report"]
Parts = dict[PartName, Recording]
Rows = dict[PartName, NDArray[np.intp]]

#: shares of the sample without and with a model to fit; what is left is for the report
PLAIN_SHARES: dict[PartName, float] = {"choose": 0.4, "certify": 0.4}
FITTED_SHARES: dict[PartName, float] = {"fit": 0.3, "choose": 0.2, "certify": 0.3}
#: where a score may be learned: both parts together are what chooses without one, so that trying costs nothing
LEARNED_SHARES: dict[PartName, float] = {"fit": 0.3, "choose": 0.1, "certify": 0.4}


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
    false_positive_rate: float | None = None  #: promised besides, with `ltt`; both hold together with 1 − delta

    @property
    def kind(self) -> Literal["false_positive_rate", "error"]:
        """The rate that the target bounds."""
        return "error" if self.method == "ltt" else "false_positive_rate"


@dataclass(frozen=True, slots=True)
class ChosenJudge:
    """What the second supervisor sees of an input whose remote answer is there."""

    model: JointModel | None = None  #: None where it sees the remote's own score alone
    joint: bool = False  #: it sees the joint score
    arbitration: bool = False  #: the likelier answer is taken
    reasons: tuple[str, ...] = ()  #: why what was asked for is used, or is not

    def sees(self, recording: Recording) -> Recording:
        """The recording as it is judged."""
        if self.model is None:
            return recording
        estimates = estimate_recording(self.model, recording)
        return judged(recording, estimates, joint=self.joint, arbitration=self.arbitration)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Both thresholds, and what they do on each part."""

    local: float  #: first threshold
    remote: Found  #: second threshold, or why there is none
    parts: Parts  #: as recorded
    judge: ChosenJudge = field(default_factory=ChosenJudge)

    def evaluations(self) -> dict[PartName, Evaluation]:
        """What both supervisors do on each part; empty where there is no second threshold."""
        if isinstance(self.remote, Infeasible):
            return {}
        local, remote = Supervisor("", self.local), Supervisor("", self.remote.threshold)
        return {name: evaluate(self.judge.sees(part), local, remote) for name, part in self.parts.items()}


def split(recording: Recording, shares: dict[PartName, float], seed: int) -> Parts:
    """The parts of these shares and the report, drawn by chance. Raises `ValueError` where one would be empty."""
    return {name: recording[rows] for name, rows in split_rows(len(recording), shares, seed).items()}


def split_rows(n: int, shares: dict[PartName, float], seed: int) -> Rows:
    """Which of n inputs are in which part. Raises `ValueError` where one would be empty."""
    ends = [int(n * share) for share in np.cumsum([0.0, *shares.values()])] + [n]
    if min(np.diff(ends)) < 1:
        raise ValueError(f"a sample of {n} cannot be split into {len(shares) + 1} parts: more are needed")
    order = np.random.default_rng(seed).permutation(n)
    names: list[PartName] = [*shares, "report"]
    return {name: order[start:end] for name, start, end in zip(names, ends[:-1], ends[1:], strict=True)}


def calibrate(
    parts: Parts, first: First, second: Second, *, joint: bool = False, arbitration: bool = False
) -> Calibration:
    """Both thresholds from a sample that is split.

    Where the joint supervisor or arbitration is asked for, it is used only if it is significantly better than the
    paper's rule on the part `choose`. Raises `ValueError` for targets outside their range.
    """
    plain = parts["choose"]
    local = first_threshold(plain, first, plain)
    judge = ChosenJudge()
    if joint or arbitration:
        judge = _fitted_judge(parts, local, second, joint=joint, arbitration=arbitration)
        local = first_threshold(judge.sees(plain), first, plain)
    found = second_threshold(judge.sees(plain), judge.sees(parts["certify"]), local, second)
    return Calibration(local, found, parts, judge)


def _fitted_judge(parts: Parts, local: float, second: Second, *, joint: bool, arbitration: bool) -> ChosenJudge:
    try:
        model = fit_joint(parts["fit"])
    except ValueError as error:  # too little to learn from: a remote that is nearly always right, say
        return ChosenJudge(reasons=(f"no joint model: {error}",))
    return choose_judge(model, parts["choose"], local, second, joint=joint, arbitration=arbitration)


def choose_judge(
    model: JointModel, sample: Recording, local: float, second: Second, *, joint: bool, arbitration: bool
) -> ChosenJudge:
    """What earns its place on a sample that the model was not fitted on: arbitration first, then the joint score."""
    reasons: list[str] = []
    if arbitration:
        worth = arbitration_worth_it(sample, ChosenJudge(model, arbitration=True).sees(sample), local)
        arbitration = _kept(worth, reasons)
    if joint:
        plain = ChosenJudge(model, arbitration=arbitration).sees(sample)
        found = second_threshold(plain, plain, local, second)
        line = found.threshold if not isinstance(found, Infeasible) else float(np.median(plain.remote.scores))
        worth = joint_worth_it(plain, ChosenJudge(model, joint=True, arbitration=arbitration).sees(sample), local, line)
        joint = _kept(worth, reasons)
    return ChosenJudge(model if joint or arbitration else None, joint, arbitration, tuple(reasons))


def _kept(worth: Worth, reasons: list[str]) -> bool:
    reasons.append(worth.reason + ("" if worth.kept else "; it is left out"))
    return worth.kept


def first_threshold(sample: Recording, first: First, plain: Recording | None = None) -> float:
    """The threshold that does what is wanted on this sample; `plain` is the same as recorded, if that is not it."""
    if first.kind == "remote_even":
        level = request_accuracy(plain or sample, _GRID).level
        return request_accuracy(sample, _GRID, level).remote_even.threshold
    if first.value is None:
        raise ValueError(f"{first.kind} needs a value")
    return first.value if first.kind == "threshold" else local_threshold(sample.local.scores, first.value)


def second_threshold(pilot: Recording, sample: Recording, local: float, second: Second) -> Found:
    """The second threshold, certified on `sample`; what may be looked at beforehand is `pilot`."""
    if second.method == "paper":
        return paper_rule(sample, local, second.target)
    if second.method == "clopper-pearson":
        return clopper_pearson(sample, local, second.target, second.delta)
    if second.false_positive_rate is not None:
        return both_promises(pilot, sample, local, second.target, second.false_positive_rate, second.delta)
    return learn_then_test(pilot, sample, local, second.target, second.delta)
