"""The command `plan`: how many labels a promise takes, before anybody labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ...agents.supervision.choosing.planning import OutOfReach, Plan, labels_for_error, labels_for_rate
from ...schemas.errors import ConfigurationError

#: where nobody says which error is expected: shares of the target
_EXPECTED = (0.5, 0.7, 0.8, 0.9)
#: shares of a target rate that the threshold may use up
_USES = (0.0, 0.5, 0.7, 0.9)
#: the row that is recommended, of each kind
_RECOMMENDED = 1


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What is to be promised, and what is expected."""

    target_error: float | None = None
    false_positive_rate: float | None = None
    expected_error: float | None = None
    acceptance: float = 1.0
    accuracy: float = 0.9
    delta: float = 0.1
    power: float = 0.9

    def checked(self) -> PlanOptions:
        """The same. Raises `ConfigurationError` with every fault."""
        faults = []
        if self.target_error is None and self.false_positive_rate is None:
            faults.append("say --target-error, --false-positive-rate, or both")
        for name in ("target_error", "false_positive_rate", "delta", "power"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                faults.append(f"--{name.replace('_', '-')}: must lie between 0 and 1 (got {value:g})")
        for name in ("acceptance", "accuracy"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                faults.append(f"--{name}: must be above 0, and 1 at most (got {value:g})")
        if self.expected_error is not None and not 0.0 <= self.expected_error < (self.target_error or 0.0):
            faults.append(f"--expected-error: must be below --target-error (got {self.expected_error:g})")
        if faults:
            raise ConfigurationError(faults)
        return self


@dataclass(frozen=True, slots=True)
class Needed:
    """A row of the plan."""

    what: str  #: for people
    certifying: int | None  #: labels that certify: of trusted answers, or of right ones; None where it is out of reach
    labels: int | None  #: of the whole recording
    why: str = ""  #: why it is out of reach


@dataclass(frozen=True, slots=True)
class Planned:
    """All rows; the labels of the recommended ones keep every promise that is wanted."""

    options: PlanOptions
    for_error: tuple[Needed, ...]
    for_rate: tuple[Needed, ...]

    @property
    def labels(self) -> int | None:
        """Labels to begin with; None where a promise is out of reach."""
        chosen = [rows[min(_RECOMMENDED, len(rows) - 1)].labels for rows in (self.for_error, self.for_rate) if rows]
        known = [labels for labels in chosen if labels is not None]
        return max(known) if len(known) == len(chosen) else None

    def as_json(self) -> dict[str, Any]:
        """The document of `--json`."""
        return {
            "labels": self.labels,
            "target_error": self.options.target_error,
            "false_positive_rate": self.options.false_positive_rate,
            "delta": self.options.delta,
            "power": self.options.power,
            "for_error": [_row(row) for row in self.for_error],
            "for_false_positive_rate": [_row(row) for row in self.for_rate],
        }

    def as_table(self) -> Table:
        """A row for each thing that may be expected."""
        table = Table(title="Labels that a promise takes", title_justify="left")
        for name in ("where", "that certify", "in all"):
            table.add_column(name, justify="left" if name == "where" else "right")
        for row in (*self.for_error, *self.for_rate):
            table.add_row(row.what, *("-" if count is None else f"{count:,}" for count in (row.certifying, row.labels)))
        return table

    def notes(self) -> list[str]:
        """What to begin with, and what the figures rest on."""
        out = list(dict.fromkeys(row.why for row in (*self.for_error, *self.for_rate) if row.why))
        if self.labels is not None:
            out.append(f"begin with {self.labels:,} labelled inputs")
        return [*out, "drawn like the inputs to come; 40 % of them certify, the others choose and report"]


def make_plan(options: PlanOptions) -> Planned:
    """The plan. Raises `ConfigurationError` for wrong options."""
    options = options.checked()
    both = options.target_error is not None and options.false_positive_rate is not None
    delta = options.delta / 2 if both else options.delta  # each promise has its half
    return Planned(options, _for_error(options, delta), _for_rate(options, delta))


def _for_error(options: PlanOptions, delta: float) -> tuple[Needed, ...]:
    if (target := options.target_error) is None:
        return ()
    given = options.expected_error
    expected = [share * target for share in _EXPECTED] if given is None else [given]
    plan = Plan(acceptance=options.acceptance)
    rows = []
    for error in expected:
        what = f"{error:.4g} of the trusted answers are wrong"
        try:
            trusted = labels_for_error(target, error, delta, options.power)
            rows.append(Needed(what, trusted, plan.for_error(trusted)))
        except OutOfReach as reason:
            rows.append(Needed(what, None, None, str(reason)))
    return tuple(rows)


def _for_rate(options: PlanOptions, delta: float) -> tuple[Needed, ...]:
    if (target := options.false_positive_rate) is None:
        return ()
    plan = Plan(accuracy=options.accuracy)
    rows = []
    for use in _USES:
        what = "the threshold rejects no right answer" if not use else f"it uses {use:.0%} of the false-positive rate"
        try:
            right = labels_for_rate(target, delta, use)
            rows.append(Needed(what, right, plan.for_rate(right)))
        except OutOfReach as reason:
            rows.append(Needed(what, None, None, str(reason)))
    return tuple(rows)


def _row(row: Needed) -> dict[str, Any]:
    return {"where": row.what, "certifying": row.certifying, "labels": row.labels}
