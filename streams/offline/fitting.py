"""From a recording and a wish to everything that is chosen: the score, both thresholds, the ladder. A pure function.

`calibrate` and `fit` print what is made here, and a report draws it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.calibration import Infeasible
from ...agents.supervision.choosing.choosing import Chosen, choose
from ...agents.supervision.choosing.ladder import ladder
from ...agents.supervision.choosing.planning import labels_to_halve
from ...agents.supervision.curve import Curve, request_accuracy
from ...agents.supervision.procedure import Calibration, calibrate
from ...agents.supervision.recording import Recording
from ...agents.supervision.thresholds import Rung, Thresholds
from ...schemas.errors import ConfigurationError
from .calibrate import CalibrationOptions, Names, as_json, thresholds_of
from .recordings.pairs import Recorded

#: cutoffs of the curve that a report draws
_GRID = 1001
#: a sample below this is too small for any promise
_FEW = 20


@dataclass(frozen=True, slots=True)
class ReportPart:
    """The inputs that decided nothing, (n,) each: what a report shows is measured on them."""

    rows: NDArray[np.intp]  #: their places in the recording, which has their ids
    local_right: NDArray[np.bool_]
    remote_right: NDArray[np.bool_]
    local_score: NDArray[np.float64]  #: the chosen score
    remote_score: NDArray[np.float64]  #: what the second threshold judges
    curve: Curve  #: before anything is rejected


@dataclass(frozen=True, slots=True)
class Fit:
    """All that was chosen from one recording, and what it does."""

    recorded: Recorded
    options: CalibrationOptions
    chosen: Chosen
    made: Calibration
    thresholds: Thresholds | None  #: for the file; None where the target is infeasible
    rungs: tuple[Rung, ...]  #: from lax to strict

    @property
    def score(self) -> str:
        """Name of the score that judges local answers: "learned" where that is kept."""
        return self.chosen.name

    @property
    def report(self) -> ReportPart:
        """The part that decided nothing."""
        part = self.made.judge.sees(self.made.parts["report"])
        return ReportPart(
            self.chosen.rows["report"],
            part.local.correct,
            part.remote.correct,
            part.local.scores,
            part.remote.scores,
            request_accuracy(part, _GRID),
        )

    def rates(self) -> dict[str, float | None]:
        """What both thresholds do on the part that decided nothing; None where there is no second threshold."""
        made = self.made.evaluations().get("report")
        names = ("remote_fraction", "error", "false_positive_rate", "acceptance", "accuracy")
        return dict.fromkeys(names) if made is None else {name: made.rates()[name] for name in names}

    @property
    def labels_to_halve(self) -> int | None:
        """How many more labels bring the bound on the promised rate half as near to the rate. None: no promise."""
        _, second, _ = self.options.targets()
        made = self.made.evaluations().get("certify")
        if made is None or second.method == "paper":
            return None
        right = made.right + made.right_rejected
        misses, of = (
            (made.answered - made.right, made.answered) if second.kind == "error" else (made.right_rejected, right)
        )
        if not of:
            return None
        delta = second.delta if second.false_positive_rate is None else second.delta / 2
        return math.ceil((labels_to_halve(misses, of, delta) / of - 1) * len(self.recorded.recording))

    def notes(self) -> list[str]:
        """The lines for people: which score and why. None where there was nothing to choose."""
        more = self.labels_to_halve
        halved = [] if more is None else [f"{more:,} more labels would make the margin of the promise half as wide"]
        if len(self.chosen.score.areas) == 1 and not self.chosen.learned.tried:
            return halved
        areas = ", ".join(f"{name} {area:.3f}" for name, area in self.chosen.score.areas.items())
        return [f"areas under the curve: {areas}", self.chosen.score.reason, self.chosen.learned.reason, *halved]

    def as_json(self) -> dict[str, Any]:
        """The document of `--json`."""
        return {
            **as_json(self.made, self.options, self.thresholds),
            "score": self.score,
            "scores": self.chosen.score.areas,
            "learned": self.chosen.learned.as_json(),
            "thresholds": None if self.thresholds is None else msgspec.to_builtins(self.thresholds),
            "rungs": msgspec.to_builtins(self.rungs),
            **self.rates(),
            "labels": len(self.recorded.recording),
            "labels_to_halve": self.labels_to_halve,
        }


def fit_recording(recorded: Recorded, options: CalibrationOptions, names: Names, seed: int, at: str) -> Fit:
    """Choose everything. `at`: date and time for the file, UTC, ISO 8601.

    Raises `ConfigurationError` for wrong options, or a sample too small to split.
    """
    first, second, _ = options.targets()
    fitted = options.joint or options.arbitration
    default = _recorded_score(recorded, names.local_score)
    try:
        chosen = choose(recorded.recording, recorded.evidence, default, seed, learn=options.learned, fitted=fitted)
        parts = {name: chosen.recording[rows] for name, rows in chosen.rows.items()}
        made = calibrate(parts, first, second, joint=options.joint, arbitration=options.arbitration)
    except ValueError as error:
        how_many = "; `bisupervised plan` says how many a promise takes" if len(recorded.recording) < _FEW else ""
        raise ConfigurationError([f"{error}{how_many}"]) from error
    rungs = _rungs(chosen, made)
    names = Names(chosen.name, names.remote_score, names.local_model, names.remote_model, names.version)
    thresholds = thresholds_of(made, options, names, seed, at, learned=chosen.learned.model, rungs=rungs)
    return Fit(recorded, options, chosen, made, thresholds, rungs)


def _recorded_score(recorded: Recorded, given: str) -> str:
    """The name of the score that is recorded as the local one: the given one, unless the recording knows better."""
    scores = recorded.evidence.scores
    own = recorded.recording.local.scores
    same = [name for name, values in scores.items() if np.array_equal(values, own)]
    return same[0] if same and given not in same else given


def _rungs(chosen: Chosen, made: Calibration) -> tuple[Rung, ...]:
    certified = None if isinstance(made.remote, Infeasible) else (made.local, made.remote.threshold)

    def seen(*names: str) -> Recording:
        return made.judge.sees(chosen.part(*names))

    return ladder(seen("choose"), seen("certify", "report"), certified)
