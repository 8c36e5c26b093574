"""The command-line options of `calibrate` and of `fit`: what both thresholds should do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from ..console.options import Finite, Switch

if TYPE_CHECKING:
    from .calibrate import CalibrationOptions


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """What both thresholds should do, and what may be tried for it.

    Parameters
    ----------
    remote_fraction
        Share of the inputs that should go to the remote model, 0..1.
    cost
        What 1,000 inputs should cost, by the price of a remote call.
    remote_even
        As few remote calls as make the system as right as the remote model alone.
    local_threshold
        The first threshold itself.
    false_positive_rate
        Share of the right answers that may be rejected at most, 0..1.
    max_error
        Share of the trusted answers that may be wrong at most, 0..1.
    method
        Rule of the second threshold: clopper-pearson by default, ltt with --max-error; paper promises nothing.
    delta
        Probability that the promise fails.
    joint
        Judge the remote answer by both scores and by whether the answers agree, where that proves better.
    arbitration
        Take the likelier of the two answers once the remote has answered, where that proves better.
    learned
        Try the learned local score, where the recording holds class probabilities or token scores.
    seed
        Seed of the split into parts.
    version
        Name that every record carries; made of date and digest by default.
    """

    remote_fraction: float | None = None
    cost: Finite | None = None
    remote_even: Switch = False
    local_threshold: Finite | None = None
    false_positive_rate: float | None = None
    max_error: float | None = None
    method: Literal["paper", "clopper-pearson", "ltt"] | None = None
    delta: float = 0.1
    joint: Switch = False
    arbitration: Switch = False
    learned: bool = True
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0
    version: str = ""

    def at(self, price: float, *, usual: bool = False) -> CalibrationOptions:
        """What is wanted where a remote call costs so much.

        `usual`: where nothing is said, a system as right as the remote alone that rejects at most 5 % of the right
        answers. Raises `ConfigurationError` with every fault at once, before anything is read or paid.
        """
        from .calibrate import CalibrationOptions  # here, for it needs numpy: `--help` must not

        no_first = self.remote_fraction is None and self.cost is None and self.local_threshold is None
        no_second = self.false_positive_rate is None and self.max_error is None
        made = CalibrationOptions(
            remote_fraction=self.remote_fraction,
            cost=self.cost,
            remote_even=self.remote_even or (usual and no_first),
            local_threshold=self.local_threshold,
            false_positive_rate=0.05 if usual and no_second else self.false_positive_rate,
            max_error=self.max_error,
            method=self.method,
            delta=self.delta,
            price=price,
            joint=self.joint,
            arbitration=self.arbitration,
            learned=self.learned,
        )
        made.targets()
        return made
