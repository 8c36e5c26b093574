"""The command `replicate`: recompute the paper's tables from its recorded predictions.

So a reader can check that the method here is the paper's. Source: Weiss and Tonella, Adopting Two Supervisors for
Efficient Use of Large-Scale Remote Deep Neural Networks, 2023, and its replication package. `rq2_table.csv` is from
that package; the figures of RQ1 are printed on its plots.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...agents.supervision.arbitration import cross_validated, judged
from ...agents.supervision.calibration import Infeasible, local_threshold, paper_rule
from ...agents.supervision.curve import Curve, one_by_one, request_accuracy
from ...agents.supervision.evaluation import Evaluation, evaluate
from ...agents.supervision.recording import Recording, Side
from ...agents.supervision.supervisor import Supervisor
from ...schemas.errors import BiSupervisedError
from .recordings.columns import Columns, Where
from .recordings.pairs import read_recording

#: cutoffs of the grids: the paper's tables use the coarse one, its plots the fine one
TABLE_GRID, PLOT_GRID = 101, 1001
#: largest difference between figures that count as the same
TOLERANCE = 1e-9
_RATES = (0.01, 0.05, 0.1)
_INFEASIBLE = "infeasible"
VALUES = ("remote_delta", "sys_delta", "sys_obj", "sys_s05", "sys_s1", "sys_s2")

Key = tuple[str, float, str]  # case study, target rate, operating point
Row = dict[str, float | str | None]  # by the names in VALUES


class ReplicationError(BiSupervisedError):
    """There is nothing to replicate. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Published:
    """The figures on the package's plot of a case study, to three digits and whole per cents."""

    local: float
    remote: float
    auc: float
    points: Mapping[int, float]  #: per cent of remote calls -> accuracy


@dataclass(frozen=True, slots=True)
class Case:
    """One case study."""

    name: str  #: as in `rq2_table.csv`
    files: str  #: `<files>_local.csv` and `<files>_remote.csv`
    local: Columns
    remote: Columns
    published: Published
    where: Where | None = None
    fractions: tuple[float, ...] = ()  #: operating points; without any, remote-even and best of the curve


_CLASSES = Columns(id="", score="sm_confidence", prediction="prediction", truth="ground_truth")
_SQUAD = Columns(id="", score="sm_confidence", correct="exact_match"), Columns("", "gpt3_confidence", "exact_match")

CASES = (
    Case("imdb", "imdb", _CLASSES, _CLASSES, Published(0.794, 0.895, 0.804, {55: 0.895, 67: 0.900})),
    Case(
        "ImageNet",
        "imagenet",
        _CLASSES,
        _CLASSES,
        Published(0.678, 0.852, 0.777, {30: 0.802, 50: 0.839, 70: 0.850}),
        fractions=(0.3, 0.5, 0.7),
    ),
    Case(
        "SQuADv2 (possible only)",
        "squadv2",
        *_SQUAD,
        Published(0.632, 0.695, 1.021, {33: 0.695, 59: 0.722}),
        where=Where("is_possible", "True"),
    ),
    Case("SQuADv2 (all)", "squadv2", *_SQUAD, Published(0.280, 0.308, 0.843, {50: 0.308, 72: 0.320})),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, ours and the paper's."""

    case: str
    what: str
    ours: float | str | None
    paper: float | str | None
    digits: int | None = None  #: digits the paper prints; None for all of them

    @property
    def same(self) -> bool:
        """Equal within the tolerance; where the paper rounds, after the same rounding."""
        if isinstance(self.ours, float) and isinstance(self.paper, float):
            ours = self.ours if self.digits is None else round(self.ours, self.digits)
            return abs(ours - self.paper) <= TOLERANCE
        return self.ours == self.paper


def present(folder: Path) -> list[Case]:
    """The case studies whose files are in the folder. Raises `ReplicationError` where there are none."""
    found = [case for case in CASES if all(path.is_file() for path in _files(case, folder))]
    if not found:
        names = sorted({path.name for case in CASES for path in _files(case, folder)})
        raise ReplicationError(f"{folder} holds no case study: both of two files are needed, of {', '.join(names)}")
    return found


def _files(case: Case, folder: Path) -> tuple[Path, Path]:
    return folder / f"{case.files}_local.csv", folder / f"{case.files}_remote.csv"


def load_case(case: Case, folder: Path) -> Recording:
    """The recorded predictions of a case study."""
    local, remote = _files(case, folder)
    return read_recording(local, remote, case.local, case.remote, case.where).recording


def read_reference(folder: Path) -> dict[Key, Row]:
    """The paper's second table. Raises `ReplicationError` where it is missing or cannot be read."""
    path = folder / "rq2_table.csv"
    try:
        with path.open(newline="") as lines:
            return {
                (row["case_s"], float(row["target_fpr"]), row["1st_reject_rate"]): {
                    name: _value(row[name]) for name in VALUES
                }
                for row in csv.DictReader(lines)
            }
    except OSError as error:
        raise ReplicationError(f"{path}, the paper's table: cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise ReplicationError(f"{path}: is not the paper's table, for it has no column {error}") from error
    except (ValueError, TypeError) as error:  # TypeError: a row is too short
        raise ReplicationError(f"{path}: is not the paper's table: {error}") from error


def _value(text: str) -> float | str | None:
    return text if text == _INFEASIBLE else float(text) if text else None


def second_table(case: Case, recording: Recording) -> Iterator[tuple[Key, Row]]:
    """The rows of the paper's second table for one case study."""
    points = operating_points(case, request_accuracy(recording, TABLE_GRID))
    for rate in _RATES:
        yield (case.name, rate, "0.00 (local_baseline)"), _alone(recording.local, rate)
        for name, fraction in points:
            yield (case.name, rate, f"{fraction:.2f} ({name})"), _supervised(recording, fraction, rate)
        yield (case.name, rate, "1.00 (remote_baseline)"), _alone(recording.remote, rate)


def operating_points(case: Case, curve: Curve) -> list[tuple[str, float]]:
    """The paper's name of each operating point, and its share of remote calls. Two may have the same share."""
    if case.fractions:
        return [("default", fraction) for fraction in case.fractions]
    return [("remote-even", curve.remote_even.fraction), ("best", curve.best.fraction)]


def _supervised(recording: Recording, fraction: float, rate: float) -> Row:
    threshold = local_threshold(recording.local.scores, fraction)
    found = paper_rule(recording, threshold, rate)
    if isinstance(found, Infeasible):
        return {**dict.fromkeys(VALUES), "remote_delta": _INFEASIBLE}
    made = evaluate(recording, Supervisor("", threshold), Supervisor("", found.threshold))
    strictly = evaluate(recording, Supervisor("", threshold), _above(found.threshold))
    return {"remote_delta": strictly.remote_acceptance, **_system(made)}


def _alone(side: Side, rate: float) -> Row:
    """One supervised model that answers everything: every input is deferred, and only the second supervisor judges."""
    itself, everything = Recording(side, side), Supervisor("", np.inf)
    found = paper_rule(itself, np.inf, rate)
    if isinstance(found, Infeasible):
        return {**dict.fromkeys(VALUES), "remote_delta": _INFEASIBLE}
    return {"remote_delta": None, **_system(evaluate(itself, everything, _above(found.threshold)))}


def _above(threshold: float) -> Supervisor:
    """The paper counts score > threshold in these columns, and score >= threshold in the others."""
    return Supervisor("", float(np.nextafter(threshold, np.inf)))


def _system(made: Evaluation) -> Row:
    return {
        "sys_delta": made.acceptance,
        "sys_obj": made.accuracy,
        "sys_s05": made.s_beta(0.5),
        "sys_s1": made.s_beta(1.0),
        "sys_s2": made.s_beta(2.0),
    }


def figures_of(case: Case, recording: Recording, reference: Mapping[Key, Row]) -> list[Figure]:
    """Every figure of both research questions for one case study."""
    return [*_first_question(case, recording), *_second_question(case, recording, reference)]


def _first_question(case: Case, recording: Recording) -> Iterator[Figure]:
    curve, published = request_accuracy(recording, PLOT_GRID), case.published
    yield Figure(case.name, "RQ1 local only", curve.local_accuracy, published.local, 3)
    yield Figure(case.name, "RQ1 remote only", float(curve.accuracies[-1]), published.remote, 3)
    yield Figure(case.name, "RQ1 AUC", curve.auc, published.auc, 3)
    for (name, fraction), (share, accuracy) in zip(
        operating_points(case, curve), published.points.items(), strict=True
    ):
        at = curve.accuracies[int(np.argmax(curve.fractions >= fraction))]
        yield Figure(case.name, f"RQ1 {name}, share", fraction, share / 100, 2)
        yield Figure(case.name, f"RQ1 {name}, accuracy", float(at), accuracy, 3)


def _second_question(case: Case, recording: Recording, reference: Mapping[Key, Row]) -> Iterator[Figure]:
    ours = dict(second_table(case, recording))
    wanted = [key for key in reference if key[0] == case.name]
    for key in dict.fromkeys([*wanted, *ours]):
        known, made = reference.get(key, {}), ours.get(key, {})
        for value in VALUES:
            yield Figure(case.name, f"RQ2 FPR {key[1]:g}, {key[2]}, {value}", made.get(value), known.get(value))


@dataclass(frozen=True, slots=True)
class Beyond:
    """The joint supervisor and arbitration, cross-validated, beside the paper's rule on the same inputs.

    Of each pair, the first figure is the paper's rule.
    """

    case: str
    auc: tuple[float | None, float | None]  #: area under the request-accuracy curve, and with arbitration
    even: tuple[float, float]  #: share of remote calls that is as right as the remote alone, and with arbitration, 0..1
    best: tuple[float, float]  #: highest accuracy, and with arbitration, 0..1
    accepted: tuple[float, float]  #: accuracy of what the remote's own score accepts, and the joint score, 0..1


@dataclass(frozen=True, slots=True)
class Replication:
    """Everything that was recomputed."""

    figures: list[Figure]
    more: list[Beyond]
    absent: list[str]  #: case studies of the paper's table whose predictions are not there
    too_little: list[str]  #: case studies that are too small for a joint model, and why

    @property
    def different(self) -> int:
        """Figures that are not the paper's."""
        return sum(not figure.same for figure in self.figures)


def recomputed(folder: Path, begins: Callable[[str], object]) -> Replication:
    """Recompute every case study in the folder. `begins` is called with the name of each.

    Raises `ReplicationError` where there is none or no table, and `RecordingError`.
    """
    cases, reference = present(folder), read_reference(folder)
    made = Replication([], [], sorted({name for name, _, _ in reference} - {case.name for case in cases}), [])
    for case in cases:
        begins(case.name)
        recording = load_case(case, folder)
        made.figures.extend(figures_of(case, recording, reference))
        try:
            made.more.append(beyond(case, recording))
        except ValueError as error:
            made.too_little.append(f"{case.name}: {error}")
    return made


#: where the second supervisors are compared: the share that is deferred, and of these the share that is rejected
DEFERRED, REJECTED = 0.5, 0.4


def beyond(case: Case, recording: Recording) -> Beyond:
    """Go beyond the paper for one case study: five folds, each judged by a model that was fitted on the other four.

    Raises `ValueError` where there is too little to fit a model on.
    """
    estimates = cross_validated(recording)
    joint = judged(recording, estimates, joint=True, arbitration=False)
    plain = one_by_one(recording)  # a grid would add noise to the comparison
    arbitrated = one_by_one(judged(recording, estimates, joint=True, arbitration=True), plain.level)
    return Beyond(
        case.name,
        auc=(plain.auc, arbitrated.auc),
        even=(plain.remote_even.fraction, arbitrated.remote_even.fraction),
        best=(plain.best.accuracy, arbitrated.best.accuracy),
        accepted=(_accepted(recording), _accepted(joint)),
    )


def _accepted(recording: Recording) -> float:
    """Accuracy of what is accepted where `DEFERRED` of the inputs are deferred and `REJECTED` of these rejected."""
    local = local_threshold(recording.local.scores, DEFERRED)
    deferred = recording.remote.scores[recording.local.scores < local]
    made = evaluate(recording, Supervisor("", local), Supervisor("", local_threshold(deferred, REJECTED)))
    return made.accuracy or 0.0
