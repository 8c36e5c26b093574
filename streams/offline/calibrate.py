"""The command `calibrate`: both thresholds from a labelled sample, and what is printed about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from ...agents.supervision.arbitration import JOINT
from ...agents.supervision.calibration import NOTHING_DEFERRED, Infeasible
from ...agents.supervision.learned.deferral import DeferralModel
from ...agents.supervision.procedure import Calibration, First, Second
from ...agents.supervision.thresholds import Line, Part, Rung, Target, Thresholds, signed
from ...schemas.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """What both thresholds should do.

    Exactly one of `remote_fraction`, `cost`, `remote_even` and `local_threshold` is given, and one of
    `false_positive_rate` and `max_error`, or both.
    """

    remote_fraction: float | None = None
    cost: float | None = None  #: of 1,000 inputs; needs `price`
    remote_even: bool = False
    false_positive_rate: float | None = None
    max_error: float | None = None
    method: str | None = None
    delta: float = 0.1
    price: float = 0.0  #: of one remote call
    local_threshold: float | None = None
    joint: bool = False  #: judge by the joint score where it is better
    arbitration: bool = False  #: take the likelier of the two answers where that is better
    learned: bool = True  #: try the learned score, where the recording holds what it reads

    def targets(self) -> tuple[First, Second, str]:
        """The two targets, and the first in words. Raises `ConfigurationError` with every fault at once."""
        faults: list[str] = []
        first, words = self._first(faults)
        second = self._second(faults)
        if faults:
            raise ConfigurationError(faults)
        return first, second, words

    def _first(self, faults: list[str]) -> tuple[First, str]:
        given = [self.remote_fraction is not None, self.cost is not None, self.remote_even]
        given.append(self.local_threshold is not None)
        if sum(given) != 1:
            faults.append("say one of --remote-fraction, --cost, --remote-even and --local-threshold")
        if self.cost is not None:
            return self._for_cost(self.cost, faults)
        if self.local_threshold is not None:
            return First("threshold", self.local_threshold), f"the local threshold is {self.local_threshold:g}"
        if self.remote_even:
            return First("remote_even"), "as right as the remote alone, before anything is rejected"
        share = self.remote_fraction or 0.0
        if not 0.0 <= share <= 1.0:
            faults.append(f"--remote-fraction: must lie in 0..1 (got {share:g})")
        return First("remote_fraction", share), f"{share:.4g} of the inputs go to the remote"

    def _for_cost(self, cost: float, faults: list[str]) -> tuple[First, str]:
        if self.price <= 0:
            faults.append("--cost: needs the --price of one remote call")
        share = cost / (1000 * self.price) if self.price > 0 else 0.0
        if not share >= 0.0:
            faults.append(f"--cost: must not be negative (got {cost:g})")
        words = f"1,000 inputs cost {cost:g} at {self.price:g} a call"
        return First("remote_fraction", min(share, 1.0)), words

    def _second(self, faults: list[str]) -> Second:
        by_rate, by_error = self.false_positive_rate, self.max_error
        if by_rate is None and by_error is None:
            faults.append("say --false-positive-rate, --max-error, or both")
        method = self.method or ("ltt" if by_error is not None else "clopper-pearson")
        if (method == "ltt") != (by_error is not None):
            fits = "ltt goes with --max-error; paper and clopper-pearson with --false-positive-rate"
            faults.append(f"--method: {fits} (got {method!r})")
        for name, target in (("--max-error", by_error), ("--false-positive-rate", by_rate)):
            if target is not None and not 0.0 < target < 1.0:
                faults.append(f"{name}: must lie between 0 and 1 (got {target:g})")
        if not 0.0 < self.delta < 1.0:
            faults.append(f"--delta: must lie between 0 and 1 (got {self.delta:g})")
        if by_error is None:
            return Second(method, by_rate or 0.0, self.delta)  # type: ignore[arg-type]  # the command line takes no other
        return Second(method, by_error, self.delta, by_rate)  # type: ignore[arg-type]  # the same


_RATE: Final = "false_positive_rate"


@dataclass(frozen=True, slots=True)
class Names:
    """The names in the thresholds file and in every record."""

    local_score: str = "max_softmax"
    remote_score: str = "max_softmax"
    local_model: str = ""
    remote_model: str = ""
    version: str = ""  #: of the thresholds; where it is empty, it is made of date and digest


def thresholds_of(
    made: Calibration,
    options: CalibrationOptions,
    names: Names,
    seed: int,
    at: str,
    *,
    learned: DeferralModel | None = None,
    rungs: tuple[Rung, ...] = (),
) -> Thresholds | None:
    """The thresholds file; None where the target is infeasible."""
    if isinstance(made.remote, Infeasible):
        return None
    _, second, words = options.targets()
    parts = {name: Part(n=part.n, **part.rates()) for name, part in made.evaluations().items()}
    return signed(
        Thresholds(
            version=names.version,
            local=Line(made.local, names.local_score, names.local_model),
            remote=Line(made.remote.threshold, JOINT if made.judge.joint else names.remote_score, names.remote_model),
            first=words,
            method=second.method,
            target=Target(second.kind, second.target, None if second.method == "paper" else second.delta),
            also=None if (rate := second.false_positive_rate) is None else Target(_RATE, rate, second.delta),
            learned=learned,
            rungs=rungs,
            seed=seed,
            parts={str(name): part for name, part in parts.items()},
            made=at,
            joint=made.judge.model,
            joint_of=names.remote_score if made.judge.model else "",
            arbitration=made.judge.arbitration,
        )
    )


def as_json(made: Calibration, options: CalibrationOptions, thresholds: Thresholds | None) -> dict[str, Any]:
    """The document of `--json`: the thresholds, or why there are none."""
    _, second, words = options.targets()
    found = made.remote
    return {
        "feasible": not isinstance(found, Infeasible),
        "reason": found.reason if isinstance(found, Infeasible) else None,
        "nearest": found.nearest if isinstance(found, Infeasible) else None,
        "first": words,
        "local_threshold": made.local,
        "remote_threshold": None if isinstance(found, Infeasible) else found.threshold,
        "method": second.method,
        "target": {"kind": second.kind, "value": second.target},
        "also": None if (rate := second.false_positive_rate) is None else {"kind": _RATE, "value": rate},
        "delta": None if second.method == "paper" else second.delta,
        "joint": made.judge.joint,
        "arbitration": made.judge.arbitration,
        "reasons": list(made.judge.reasons),
        "n": {name: len(part) for name, part in made.parts.items()},
        "parts": {name: part.rates() for name, part in made.evaluations().items()},
        "version": thresholds.version if thresholds else None,
    }


_ROLES = {
    "fit": "fitted what is learned",
    "choose": "chose the first threshold",
    "certify": "certified the second",
    "report": "none of them has seen",
}


def as_table(made: Calibration, options: CalibrationOptions) -> Table:
    """The rates on each part of the sample."""
    _, _, words = options.targets()
    table = Table(title=f"Thresholds: {words}", title_justify="left")
    table.add_column("on the part that")
    for name in ("inputs", "remote", "accepted", "right", "FPR"):
        table.add_column(name, justify="right")
    for name, part in made.evaluations().items():
        rates = (part.remote_fraction, part.acceptance, part.accuracy, part.false_positive_rate)
        table.add_row(_ROLES[name], f"{part.n:,}", *("-" if rate is None else f"{rate:.2%}" for rate in rates))
    return table


def notes(made: Calibration, options: CalibrationOptions) -> list[str]:
    """The lines below the table: the thresholds and their promise, or why there is none; the joint supervisor."""
    _, second, _ = options.targets()
    return [*_promise(made, second), *_advice(made, options), *made.judge.reasons]


def _advice(made: Calibration, options: CalibrationOptions) -> list[str]:
    """What has some inputs asked, where no remote is needed for what was wanted, which leaves nothing to certify."""
    if made.remote is not NOTHING_DEFERRED:
        return []
    if options.remote_even and all((part.local.scores >= made.local).all() for part in made.parts.values()):
        return ["the local model alone is as right as the remote: --remote-fraction has some inputs asked all the same"]
    return ["take a larger --local-threshold or --remote-fraction, or more labelled inputs: then some are asked"]


def _promise(made: Calibration, second: Second) -> list[str]:
    words = {"false_positive_rate": "the right answers rejected", "error": "the trusted answers wrong"}
    what = words[second.kind]
    wanted = f"at most {second.target:g} of {what}"
    if second.false_positive_rate is not None:
        wanted += f", and at most {second.false_positive_rate:g} of {words[_RATE]}"
    if isinstance(made.remote, Infeasible):
        told = made.remote.nearest is None or second.false_positive_rate is not None  # the reason of two says it itself
        nearest = "" if told else f"; the nearest feasible target is {made.remote.nearest:.4g}"
        return [f"infeasible, {wanted}: {made.remote.reason}{nearest}"]
    lines = f"local threshold {made.local:.6g}, remote threshold {made.remote.threshold:.6g}"
    if second.method == "paper":
        return [lines, f"{second.target:g} of {what} on what it saw (the paper's rule): no promise for fresh data"]
    return [lines, f"{wanted}, with probability {1 - second.delta:g} ({second.method})"]
